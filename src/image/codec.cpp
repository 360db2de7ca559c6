#include "ssl4rl/image/codec.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"

namespace ssl4rl::image {
namespace {

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

}  // namespace

Image decode(std::string_view bytes, Orientation orientation) {
  static std::once_flag once;
  std::call_once(once, [] { cv::setNumThreads(1); });  // we decode on threads of our own
  if (bytes.empty()) fail("cannot be decoded: the file is empty");
  if (bytes.starts_with("\xFF\xD8") && !jpeg_is_whole(bytes)) fail("cannot be decoded: the JPEG data is cut off");
  if (bytes.starts_with("\x89PNG\r\n\x1A\n") && !png_is_whole(bytes))
    fail("cannot be decoded: the PNG data is cut off");
  const cv::Mat raw(1, static_cast<int>(bytes.size()), CV_8UC1, const_cast<char*>(bytes.data()));
  cv::Mat bgr;
  try {
    bgr = cv::imdecode(
        raw, orientation == Orientation::kApply ? cv::IMREAD_COLOR : cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION);
  } catch (const cv::Exception& e) {
    fail("cannot be decoded: {}", e.err);
  }
  if (bgr.empty()) fail("cannot be decoded: not an image, or damaged");
  return from_bgr(bgr);
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
