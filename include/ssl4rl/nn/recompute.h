// Activation recomputation (Chen et al. 2016): a segment's inner results are dropped after forward and computed again
// in backward. Nothing in the supported models draws random numbers in forward, so no generator state is kept.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace ssl4rl::nn {

/// Called around a segment's computations, for one whose parameters are not always there.
struct Around {
  std::function<void()> before, after;   ///< f alone, in forward; in backward `before` again
  std::function<void()> after_backward;  ///< the parameters' gradients are in .grad
};

/// f(x), with x alone kept for backward. Gradients of parameters that f reads are accumulated into their .grad.
[[nodiscard]] at::Tensor recompute(std::function<at::Tensor(const at::Tensor&)> f, const at::Tensor& x);
/// The same for an f whose parameters come and go. Backward comes to it whether or not x requires a gradient.
[[nodiscard]] at::Tensor recompute(std::function<at::Tensor(const at::Tensor&)> f, const at::Tensor& x, Around around);

}  // namespace ssl4rl::nn
