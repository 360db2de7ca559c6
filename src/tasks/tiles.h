// Pictures cut into a grid of equal tiles, for the tasks that change one composite picture. Not for others.
#pragma once

#include <vector>

#include "draft.h"

namespace ssl4rl::tasks {

struct Grid {
  int64_t rows = 2, cols = 2;
  double trim = 0;  ///< share of a tile's shorter side that is cut from each of its edges

  [[nodiscard]] int64_t tiles() const { return rows * cols; }
  void describe(config::Section& section);
  /// The boxes of the tiles, row by row, inside a part of a picture. Throws Unusable where they would be too small.
  [[nodiscard]] std::vector<image::Box> boxes(const image::Box& part) const;
  /// The tiles put together without gaps.
  [[nodiscard]] image::Image compose(const std::vector<image::Image>& tiles) const;
};

/// The least mean difference of two pictures that the eye is expected to tell apart, in grey levels.
inline constexpr double kVisible = 2;

}  // namespace ssl4rl::tasks
