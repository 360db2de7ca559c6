// CMYK JPEGs by libjpeg itself: OpenCV's conversion differs from Pillow's by one level.
#pragma once

#include <string_view>

#include "ssl4rl/image/image.h"

namespace ssl4rl::image {

/// A JPEG of four components (CMYK or YCCK), converted to RGB as Pillow does. Throws Error.
[[nodiscard]] Image decode_cmyk_jpeg(std::string_view bytes);

}  // namespace ssl4rl::image
