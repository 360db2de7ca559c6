// Marks and shapes drawn onto pictures (by OpenCV, anti-aliased).
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "ssl4rl/image/image.h"

namespace ssl4rl::image {

using Colour = std::array<uint8_t, 3>;  ///< red, green, blue

enum class Shape { kCircle, kSquare, kTriangle };

/// A filled shape with a dark and a light outline, so that it stands out on any ground. It lies within `radius` of its
/// centre; `turn` rotates squares and triangles, in degrees.
void draw_shape(Image& image, Shape shape, double x, double y, double radius, double turn, const Colour& colour);

/// A black and white ring around a point, and a number in a white disc beside it (none if `label` is empty).
void mark_point(Image& image, double x, double y, double radius, const std::string& label);

}  // namespace ssl4rl::image
