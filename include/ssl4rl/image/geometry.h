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

/// Where an output pixel lies in the source: (a·x + b·y + c, d·x + e·y + f), for pixel centres at (x + ½, y + ½).
struct Affine {
  double a = 1, b = 0, c = 0, d = 0, e = 1, f = 0;

  /// The map of a picture turned counter-clockwise by `degrees` and enlarged by `zoom`: the point (from_x, from_y) of
  /// the source comes to (to_x, to_y).
  [[nodiscard]] static Affine turn(double degrees, double from_x, double from_y, double to_x, double to_y,
                                   double zoom = 1);
  struct Point {
    double x = 0, y = 0;
  };
  [[nodiscard]] Point operator()(double x, double y) const { return {a * x + b * y + c, d * x + e * y + f}; }
};
/// Samples a picture with Lanczos weights (a = 3), for scales near 1. No fill: what lies outside the image repeats its
/// border.
[[nodiscard]] Image warp(const Image& image, const Affine& map, int width, int height);

}  // namespace ssl4rl::image
