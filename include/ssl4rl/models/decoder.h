// The decoder's layer. What it attends to (a packed batch, a cache) is the caller's.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "ssl4rl/models/config.h"
#include "ssl4rl/models/weights.h"

namespace ssl4rl::models {

/// (layer, qkv [T, E, H] before rotation, the callee's to change) → [T, N * H].
using Attend = std::function<at::Tensor(int64_t layer, const at::Tensor& qkv_TEH)>;

/// x_TD [T, D] → [T, D]: pre-norm attention and SwiGLU, each added to its input.
[[nodiscard]] at::Tensor decoder_layer(const TextConfig& config, const DecoderLayer& layer, int64_t index,
                                       const at::Tensor& x_TD, const Attend& attend);

}  // namespace ssl4rl::models
