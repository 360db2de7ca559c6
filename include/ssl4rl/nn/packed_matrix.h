// A weight laid out for products with few rows, as in decoding: panels of 32 output columns that are read once from
// front to back. Float32 on the CPU only.
//
// A row of a product depends on that row alone, bit for bit: not on the rows beside it, their number, the threads, or
// whether the panels were made before or on the fly. So what is sampled does not depend on what is sampled beside it.
// Shape suffixes: T rows, N outputs, K inputs.
#pragma once

#include <ATen/core/Tensor.h>

namespace ssl4rl::nn {

class PackedMatrix {
 public:
  PackedMatrix() = default;
  /// weight_NK [N, K]. keep_panels: hold the panels, which takes as much memory as the weight; else every product makes
  /// them anew, which is slower with few rows. The weight must not change while it is in use.
  explicit PackedMatrix(const at::Tensor& weight_NK, bool keep_panels = true);

  [[nodiscard]] bool defined() const { return weight_NK_.defined(); }
  /// x_TK [T, K] and bias_N [N] (may be undefined) → x Wᵀ + bias [T, N]. Not differentiable.
  [[nodiscard]] at::Tensor multiply(const at::Tensor& x_TK, const at::Tensor& bias_N) const;

  /// What the panels of a weight take, in bytes.
  [[nodiscard]] static int64_t panel_bytes(const at::Tensor& weight_NK);

 private:
  at::Tensor weight_NK_, panels_;
};

/// Whether a weight can be packed: a float32 matrix on the CPU.
[[nodiscard]] bool can_pack(const at::Tensor& weight);

}  // namespace ssl4rl::nn
