// Which body of a primitive serves a tensor, and how work is cut for threads; shared inside nn.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>

namespace ssl4rl::nn {

/// Float32 on the CPU: the fused loops of kernels.h apply. Everything else goes through ATen's operators.
inline bool on_cpu_float(const at::Tensor& x) { return x.device().is_cpu() && x.scalar_type() == at::kFloat; }

/// Rows to give one thread at least, so that a task touches some 16k values.
inline int64_t rows_per_task(int64_t width) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(width, 1)); }

}  // namespace ssl4rl::nn
