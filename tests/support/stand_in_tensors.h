// Within the stand-in for CUDA: its tensors as the host computes with them.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

namespace ssl4rl::stand_in_cuda {

/// A tensor of the host over the same memory.
[[nodiscard]] at::Tensor near(const at::Tensor& x);
/// A copy of the host's tensor on the device.
[[nodiscard]] at::Tensor far_like(const at::Tensor& host);

// Flash attention over segments, with the demands of LibTorch's CUDA kernels (stand_in_flash.cpp).
void flash_forward(const c10::OperatorHandle& op, torch::jit::Stack* stack);
void flash_backward(const c10::OperatorHandle& op, torch::jit::Stack* stack);

}  // namespace ssl4rl::stand_in_cuda
