// SwiGLU (Shazeer 2020): silu(gate) * up.
#pragma once

#include <ATen/core/Tensor.h>

namespace ssl4rl::nn {

/// gate_up_TF2 [T, 2F] holds gate, then up → [T, F]. Differentiable; backward may turn gate_up into its gradient, so it
/// must be the caller's to give away.
[[nodiscard]] at::Tensor swiglu(const at::Tensor& gate_up_TF2);

}  // namespace ssl4rl::nn
