// RMSNorm (Zhang & Sennrich 2019): y = x / sqrt(mean(x²) + eps) * weight.
#pragma once

#include <ATen/core/Tensor.h>

namespace ssl4rl::nn {

/// x_TD [T, D], weight_D [D] → [T, D]. Differentiable.
[[nodiscard]] at::Tensor rms_norm(const at::Tensor& x_TD, const at::Tensor& weight_D, double eps);

}  // namespace ssl4rl::nn
