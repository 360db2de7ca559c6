#include "jpeg_cmyk.h"

#include <csetjmp>
#include <cstdio>

extern "C" {
#include <jpeglib.h>
}

#include "ssl4rl/base/error.h"

namespace ssl4rl::image {
namespace {

struct ErrorHandler {
  jpeg_error_mgr base;
  std::jmp_buf jump;
};

[[noreturn]] void on_error(j_common_ptr info) { std::longjmp(reinterpret_cast<ErrorHandler*>(info->err)->jump, 1); }
void on_message(j_common_ptr) {}

// Nothing with a destructor lives here: libjpeg leaves by longjmp. `samples` points to where it has put the rows so
// far.
bool read_rows(jpeg_decompress_struct& info, ErrorHandler& errors, std::string_view bytes, Image& image,
               std::vector<uint8_t>& row) {
  if (setjmp(errors.jump) != 0) return false;
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&info, TRUE);
  info.out_color_space = JCS_CMYK;
  jpeg_start_decompress(&info);
  image = Image(static_cast<int>(info.output_width), static_cast<int>(info.output_height));
  row.resize(size_t{info.output_width} * 4);
  for (int y = 0; y < image.height; ++y) {
    JSAMPROW samples = row.data();
    jpeg_read_scanlines(&info, &samples, 1);
    uint8_t* out = image.row(y);
    for (int x = 0; x < image.width; ++x, samples += 4)
      for (int c = 0; c < 3; ++c) {
        // Files hold inverted values (Adobe's convention); Pillow: nk − C · nk / 255, rounded.
        const int nk = samples[3], t = (255 - samples[c]) * nk + 128;
        *out++ = static_cast<uint8_t>(std::max(0, nk - ((t + (t >> 8)) >> 8)));
      }
  }
  jpeg_finish_decompress(&info);
  return true;
}

}  // namespace

Image decode_cmyk_jpeg(std::string_view bytes) {
  jpeg_decompress_struct info{};
  ErrorHandler errors{};
  info.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = on_error;
  errors.base.output_message = on_message;
  Image image;
  std::vector<uint8_t> row;
  const bool done = read_rows(info, errors, bytes, image, row);
  char message[JMSG_LENGTH_MAX] = "";
  if (!done) errors.base.format_message(reinterpret_cast<j_common_ptr>(&info), message);
  jpeg_destroy_decompress(&info);
  if (!done) fail("cannot be decoded: {}", message);
  return image;
}

}  // namespace ssl4rl::image
