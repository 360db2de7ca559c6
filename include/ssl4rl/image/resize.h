// Resampling, equal to Pillow's Image.resize bit for bit (libImaging/Resample.c): fixed-point weights of 22 bits,
// horizontal pass first, rounding to 8 bits after each pass.
#pragma once

#include "ssl4rl/image/image.h"

namespace ssl4rl::image {

enum class Filter { kBox, kBilinear, kBicubic, kLanczos };

[[nodiscard]] Image resize(const Image& image, int width, int height, Filter filter);

}  // namespace ssl4rl::image
