// Which body of a primitive serves a tensor, and how work is cut for threads; shared inside nn.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>

namespace ssl4rl::nn {

/// Float32 on the CPU: the fused loops of kernels.h apply. Everything else goes through ATen's operators.
inline bool on_cpu_float(const at::Tensor& x) { return x.device().is_cpu() && x.scalar_type() == at::kFloat; }

/// The type that sums are kept in.
inline at::ScalarType wide_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// a · b as it was summed, in the wide type: unrounded where the device's product can give it so.
inline at::Tensor wide_product(const at::Tensor& a, const at::Tensor& b) {
  const at::ScalarType wide = wide_type(a);
  return a.is_cuda() && a.scalar_type() != wide ? at::mm(a, b, wide) : at::mm(a, b).to(wide);
}

/// Rows to give one thread at least, so that a task touches some 16k values.
inline int64_t rows_per_task(int64_t width) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(width, 1)); }

}  // namespace ssl4rl::nn
