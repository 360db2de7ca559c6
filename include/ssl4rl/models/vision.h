// The vision tower: patches → image tokens.
// Shape suffixes: P patches, M image tokens (merged patches), D model width.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "ssl4rl/models/block.h"
#include "ssl4rl/models/config.h"
#include "ssl4rl/models/image_processor.h"
#include "ssl4rl/models/weights.h"

namespace ssl4rl::models {

/// How the patches of some images lie in the tower, so that every attention window is a run of rows.
struct VisionLayout {
  std::vector<int64_t> order;           ///< merged units (blocks of patches) in window order
  std::vector<int64_t> window_lengths;  ///< patches of each window
  std::vector<int64_t> image_lengths;   ///< patches of each frame of each image
  std::vector<int64_t> rows, columns;   ///< patch coordinates, in window order
};

/// Without windows the units keep their order. Windows of one size stand together (their order does not matter to the
/// result), so that they go through attention in one call.
[[nodiscard]] VisionLayout vision_layout(const VisionConfig& config, std::span<const Grid> grids);

/// patches [P, patch values] of all images, one after the other. Differentiable in the weights.
[[nodiscard]] VisionFeatures vision_tower(const VisionConfig& config, const VisionWeights& weights,
                                          const at::Tensor& patches, std::span<const Grid> grids,
                                          const BlockRunner& runner);

}  // namespace ssl4rl::models
