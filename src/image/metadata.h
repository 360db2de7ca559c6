// What stands beside the pixels in an image file: its orientation, and the shape of a TIFF.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ssl4rl::image {

enum class Format { kJpeg, kPng, kWebp, kTiff, kOther };

[[nodiscard]] Format format_of(std::string_view bytes);

struct Dimensions {
  uint64_t width = 0, height = 0;
};
/// As the header of a JPEG, PNG, WebP, TIFF or BMP says; nothing where it cannot be found.
[[nodiscard]] std::optional<Dimensions> dimensions_of(std::string_view bytes);

/// The EXIF orientation (1 to 8) of a JPEG, PNG, WebP or TIFF, else the one in its XMP, else 1, as Pillow's getexif
/// finds it.
[[nodiscard]] int orientation_of(std::string_view bytes);

/// The first value of a tag of a TIFF's first directory.
[[nodiscard]] std::optional<uint32_t> tiff_tag(std::string_view tiff, uint16_t tag);

/// Colour components of a JPEG (1 grey, 3 colour, 4 CMYK); 0 where they cannot be found.
[[nodiscard]] int jpeg_components(std::string_view bytes);

}  // namespace ssl4rl::image
