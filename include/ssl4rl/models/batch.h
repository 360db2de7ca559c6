// Groups of prompt and completions packed into one row of tokens, ready for one forward.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <span>
#include <vector>

#include "ssl4rl/models/processor.h"
#include "ssl4rl/nn/layout.h"

namespace ssl4rl::models {

/// A prompt and the completions that share it. Completions must not be empty.
struct PackedGroup {
  const Prompt* prompt;
  std::vector<std::span<const int64_t>> completions;
};

struct PackedBatch {
  nn::Layout layout;
  at::Tensor ids_T;         ///< int64
  at::Tensor positions_AT;  ///< [3, T] int64
  at::Tensor image_rows_M;  ///< rows of ids_T that image tokens fill, in the images' order; int64
  at::Tensor patches;       ///< all images' patches; undefined without images, and where their features are known
  std::vector<Grid> grids;
  std::optional<VisionFeatures> features;
  /// For each completion token, in packed order: the row whose output predicts it, and the token itself; int64.
  at::Tensor logit_rows_n, targets_n;
};

[[nodiscard]] PackedBatch pack(std::span<const PackedGroup> groups, int64_t image_id, at::Device device);

}  // namespace ssl4rl::models
