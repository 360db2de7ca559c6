// Rotary position embedding with several position axes (M-RoPE of Qwen2-VL; with one axis it is the plain one).
// Shape suffixes: T tokens, R half of the head dimension, A axes (time, height, width).
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace ssl4rl::nn {

/// Cosines and sines of each token's angles, [T, R] each.
struct RopeTable {
  at::Tensor cos_TR, sin_TR;
};

/// 1 / theta^(2i / (2R)) for i < half: the frequencies of a head, float32 like the reference's.
[[nodiscard]] at::Tensor rope_frequencies(int64_t half, double theta);

/// Frequency i turns with the position on axis axis_of[i]. positions_AT: int64; frequencies_R: on the CPU. The angles
/// are float32 products, as in the reference; the table is float32, where the positions are.
[[nodiscard]] RopeTable rope_table(const at::Tensor& positions_AT, const at::Tensor& frequencies_R,
                                   const std::vector<int64_t>& axis_of);

/// Rotates the first `heads` heads of x_TEH [T, E, 2R] in place, by direction +1 or -1. Not differentiable by itself.
void apply_rope_(const at::Tensor& x_TEH, int64_t heads, const RopeTable& table, int direction = 1);

}  // namespace ssl4rl::nn
