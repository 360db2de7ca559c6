// Activation recomputation (Chen et al. 2016): a segment's inner results are dropped after forward and computed again
// in backward. Nothing in the supported models draws random numbers in forward, so no generator state is kept.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace ssl4rl::nn {

/// f(x), with x alone kept for backward. Gradients of parameters that f reads are accumulated into their .grad.
[[nodiscard]] at::Tensor recompute(std::function<at::Tensor(const at::Tensor&)> f, const at::Tensor& x);

}  // namespace ssl4rl::nn
