// Resampling, equal to Image.resize of Pillow 13 bit for bit (libImaging/Resample.c): fixed-point weights of 22 bits,
// rounding to 8 bits after each pass. The horizontal pass comes first, but for pictures whose height shrinks by more
// than twice the pixels that the width does (Pillow's pull request 9549; Pillow 12 and older always went horizontally
// first, which moves single grey levels of such pictures).
#pragma once

#include "ssl4rl/image/image.h"

namespace ssl4rl::image {

enum class Filter { kBox, kBilinear, kBicubic, kLanczos };

[[nodiscard]] Image resize(const Image& image, int width, int height, Filter filter);

}  // namespace ssl4rl::image
