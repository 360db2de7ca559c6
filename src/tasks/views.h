// Augmented views of a picture, for contrastive and similarity: SimCLR's changes, and the reference's strong ones. Not
// for others.
#pragma once

#include <string>

#include "ssl4rl/base/config.h"
#include "ssl4rl/base/rng.h"
#include "ssl4rl/image/image.h"

namespace ssl4rl::tasks {

struct Views {
  enum class Augment { kWeak, kStrong };
  Augment augment = Augment::kWeak;
  int64_t size = 224;
  std::optional<double> min_area;  ///< of the crop; unset: 0.08

  struct View {
    image::Image pixels;
    image::Box box;
    bool flipped = false;
  };

  void describe(config::Section& section);
  void check(const std::string& task) const;
  [[nodiscard]] View draw(const image::Image& picture, Rng& rng) const;
};

}  // namespace ssl4rl::tasks
