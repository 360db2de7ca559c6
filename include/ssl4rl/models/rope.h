// Angles of the decoder's rotary embedding: frequencies (plain, linear, YaRN) and the axis that each turns with.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "ssl4rl/models/config.h"
#include "ssl4rl/nn/rope.h"

namespace ssl4rl::models {

/// Frequencies of a head, [R] float32; R = half of the head dimension.
[[nodiscard]] at::Tensor decoder_frequencies(const RopeConfig& rope, int64_t half);

/// The position axis (time, height, width) of each frequency.
[[nodiscard]] std::vector<int64_t> frequency_axes(const RopeConfig& rope, int64_t half);

/// The decoder's table for positions_AT [3, T] (int64), on their device.
[[nodiscard]] nn::RopeTable decoder_rope(const TextConfig& text, const at::Tensor& positions_AT);

}  // namespace ssl4rl::models
