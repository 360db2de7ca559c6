#include "ssl4rl/image/codec.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "jpeg_cmyk.h"
#include "metadata.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/image/geometry.h"
#include "ssl4rl/io/file.h"

namespace ssl4rl::image {
namespace {

constexpr uint64_t kMostPixels = 178'956'970;  // what Pillow refuses as a "decompression bomb"

// libjpeg fills what is missing of a cut-off file with grey and only warns; Pillow refuses it, and so do we. True if
// the data of a JPEG runs to its end-of-image marker.
bool jpeg_is_whole(std::string_view bytes) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  size_t at = 2;
  while (at + 4 <= bytes.size()) {
    if (byte(at) != 0xFF) return true;  // not plain JPEG structure: leave the verdict to the decoder
    const uint8_t marker = byte(at + 1);
    if (marker == 0xFF) {
      ++at;
      continue;
    }
    if (marker == 0xD9) return true;
    at += 2 + static_cast<size_t>(byte(at + 2)) * 256 + byte(at + 3);
    if (marker != 0xDA) continue;
    // Entropy-coded data: up to a marker that is neither a stuffed zero nor a restart.
    while (at + 1 < bytes.size() &&
           !(byte(at) == 0xFF && byte(at + 1) != 0 && (byte(at + 1) < 0xD0 || byte(at + 1) > 0xD7)))
      ++at;
  }
  return at + 2 <= bytes.size() && byte(at) == 0xFF && byte(at + 1) == 0xD9;
}

// The same for PNG: its chunks run to IEND. (libpng would print a message of its own.)
bool png_is_whole(std::string_view bytes) {
  for (size_t at = 8; at + 12 <= bytes.size();) {
    size_t length = 0;
    for (size_t i = 0; i < 4; ++i) length = length * 256 + static_cast<uint8_t>(bytes[at + i]);
    if (bytes.substr(at + 4, 4) == "IEND") return true;
    at += 12 + length;
  }
  return false;
}

Image from_bgr(const cv::Mat& bgr) {
  Image image(bgr.cols, bgr.rows);
  cv::Mat rgb(bgr.rows, bgr.cols, CV_8UC3, image.pixels.data());
  cv::cvtColor(bgr, rgb, cv::COLOR_BGR2RGB);
  return image;
}

std::string encode(const Image& image, const char* extension, const std::vector<int>& parameters) {
  const cv::Mat rgb(image.height, image.width, CV_8UC3, const_cast<uint8_t*>(image.pixels.data()));
  cv::Mat bgr;
  cv::cvtColor(rgb, bgr, cv::COLOR_RGB2BGR);
  std::vector<uint8_t> bytes;
  SSL4RL_CHECK(cv::imencode(extension, bgr, bytes, parameters), "cannot encode {}", extension);
  return {bytes.begin(), bytes.end()};
}

// 16-bit grey as Pillow's mode "I;16" becomes RGB: cut at 255, not scaled.
Image from_grey16(const cv::Mat& grey) {
  if (grey.type() != CV_16UC1) fail("cannot be decoded: expected 16 bits a pixel");
  Image image(grey.cols, grey.rows);
  uint8_t* out = image.pixels.data();
  for (int y = 0; y < grey.rows; ++y)
    for (int x = 0; x < grey.cols; ++x, out += 3)
      std::fill_n(out, 3, static_cast<uint8_t>(std::min<uint16_t>(grey.at<uint16_t>(y, x), 255)));
  return image;
}

cv::Mat decode_by_opencv(std::string_view bytes, int flags) {
  static std::once_flag once;
  std::call_once(once, [] { cv::setNumThreads(1); });  // we decode on threads of our own
  const cv::Mat raw(1, static_cast<int>(bytes.size()), CV_8UC1, const_cast<char*>(bytes.data()));
  cv::Mat decoded;
  try {
    decoded = cv::imdecode(raw, flags);
  } catch (const cv::Exception& e) {
    fail("cannot be decoded: {}", e.err);
  }
  if (decoded.empty()) fail("cannot be decoded: not an image, or damaged");
  return decoded;
}

// Upright by an EXIF orientation.
Image turned(Image&& image, int orientation) {
  switch (orientation) {
    case 2:
      return mirror_horizontally(image);
    case 3:
      return rotate_quarters(image, 2);
    case 4:
      return mirror_vertically(image);
    case 5:
      return mirror_horizontally(rotate_quarters(image, 3));
    case 6:
      return rotate_quarters(image, 3);
    case 7:
      return mirror_horizontally(rotate_quarters(image, 1));
    case 8:
      return rotate_quarters(image, 1);
    default:
      return std::move(image);
  }
}

// TIFFs are turned upright always, as Pillow does; OpenCV does it itself where it converts to colour.
Image decode_tiff(std::string_view bytes) {
  constexpr uint16_t kBits = 258, kPhotometric = 262, kSamples = 277;
  const uint32_t bits = tiff_tag(bytes, kBits).value_or(1), photometric = tiff_tag(bytes, kPhotometric).value_or(1),
                 samples = tiff_tag(bytes, kSamples).value_or(1);
  if (samples == 4 && photometric == 2)
    fail("cannot be decoded: a TIFF with an alpha channel is not supported");  // OpenCV multiplies it in
  if (bits == 16 && samples == 1 && photometric == 1)
    return turned(from_grey16(decode_by_opencv(bytes, cv::IMREAD_GRAYSCALE | cv::IMREAD_ANYDEPTH)),
                  orientation_of(bytes));
  return from_bgr(decode_by_opencv(bytes, cv::IMREAD_COLOR));
}

bool is_grey16_png(std::string_view bytes) { return bytes.size() > 26 && bytes[24] == 16 && bytes[25] == 0; }

Image decode_as_stored(std::string_view bytes, Format format) {
  constexpr int kColour = cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION;
  if (format == Format::kJpeg && jpeg_components(bytes) == 4) return decode_cmyk_jpeg(bytes);
  if (format == Format::kPng && is_grey16_png(bytes))
    return from_grey16(
        decode_by_opencv(bytes, cv::IMREAD_GRAYSCALE | cv::IMREAD_ANYDEPTH | cv::IMREAD_IGNORE_ORIENTATION));
  return from_bgr(decode_by_opencv(bytes, kColour));
}

}  // namespace

Image decode(std::string_view bytes, Orientation orientation) {
  if (bytes.empty()) fail("cannot be decoded: the file is empty");
  const Format format = format_of(bytes);
  if (format == Format::kJpeg && !jpeg_is_whole(bytes)) fail("cannot be decoded: the JPEG data is cut off");
  if (format == Format::kPng && !png_is_whole(bytes)) fail("cannot be decoded: the PNG data is cut off");
  if (const auto size = dimensions_of(bytes); size && size->width * size->height > kMostPixels)
    fail("cannot be decoded: {}×{} pixels, more than the limit of {}", size->width, size->height, kMostPixels);
  if (format == Format::kTiff) return decode_tiff(bytes);
  Image image = decode_as_stored(bytes, format);
  return orientation == Orientation::kApply ? turned(std::move(image), orientation_of(bytes)) : image;
}

Image load(const std::filesystem::path& path, Orientation orientation) {
  const std::string bytes = io::read_file(path);
  try {
    return decode(bytes, orientation);
  } catch (const Error& e) {
    fail("{}: {}", path.string(), e.what());
  }
}

std::string encode_png(const Image& image) { return encode(image, ".png", {}); }

std::string encode_jpeg(const Image& image, int quality) {
  return encode(image, ".jpg", {cv::IMWRITE_JPEG_QUALITY, quality});
}

bool is_image_name(const std::filesystem::path& path) {
  static constexpr std::array kExtensions{".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"};
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

}  // namespace ssl4rl::image
