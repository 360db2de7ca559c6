// Comparing tensors in tests.
#pragma once

#include <ATen/ATen.h>

namespace ssl4rl {

/// The largest absolute difference, in double.
inline double difference(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return INFINITY;
  return a.numel() == 0 ? 0 : (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace ssl4rl
