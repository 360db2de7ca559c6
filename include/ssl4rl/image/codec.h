// Image files in and out (by OpenCV, CMYK JPEGs by libjpeg). Decoding gives what Pillow's convert("RGB") gives: alpha
// dropped, palettes and grey levels expanded.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "ssl4rl/image/image.h"

namespace ssl4rl::image {

enum class Orientation {
  kApply,   ///< turn upright by the EXIF tag, as for image files
  kIgnore,  ///< as stored, as for images embedded in benchmarks
};

/// Throws Error ("cannot be decoded: …") on anything that is not a whole image.
[[nodiscard]] Image decode(std::string_view bytes, Orientation orientation);
/// The same from a file; the error names it.
[[nodiscard]] Image load(const std::filesystem::path& path, Orientation orientation = Orientation::kApply);

/// 8-bit RGB PNG without text chunks.
[[nodiscard]] std::string encode_png(const Image& image);
[[nodiscard]] std::string encode_jpeg(const Image& image, int quality);

/// Whether a file's name ends like an image's that `load` can read (.jpg, .png, .webp, …).
[[nodiscard]] bool is_image_name(const std::filesystem::path& path);

}  // namespace ssl4rl::image
