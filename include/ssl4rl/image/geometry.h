// Crops, turns and mirrors. Turns are counter-clockwise, as the eye sees them.
#pragma once

#include "ssl4rl/image/image.h"

namespace ssl4rl::image {

/// The pixels of a box that lies inside the image.
[[nodiscard]] Image crop(const Image& image, const Box& box);
/// The largest square around the centre.
[[nodiscard]] Box centre_square(const Image& image);

/// Turned counter-clockwise by quarter_turns × 90°; exact.
[[nodiscard]] Image rotate_quarters(const Image& image, int quarter_turns);
[[nodiscard]] Image mirror_horizontally(const Image& image);
[[nodiscard]] Image mirror_vertically(const Image& image);

/// Pillow's Image.rotate(degrees, expand=True): nearest neighbour, black corners, canvas grown to fit.
[[nodiscard]] Image rotate_expand(const Image& image, int degrees);
/// Size of the largest axis-aligned rectangle inside a width × height rectangle turned by `degrees`, truncated to
/// integers as SSL4RL's makerotation scripts do (so 90° on 640×480 gives 479×640).
struct Size {
  int width = 0, height = 0;
};
[[nodiscard]] Size largest_inscribed_rectangle(int width, int height, int degrees);

/// The square of `side` pixels around (centre_x, centre_y) of the image turned counter-clockwise by `degrees` about
/// that point, sampled with Lanczos weights (a = 3). No fill: what lies outside the image repeats its border.
[[nodiscard]] Image rotated_square(const Image& image, double centre_x, double centre_y, int side, double degrees);

}  // namespace ssl4rl::image
