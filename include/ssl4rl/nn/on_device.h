// What the host makes, on the device that computes with it.
#pragma once

#include <ATen/ATen.h>

#include <vector>

namespace ssl4rl::nn {

/// `host`, a tensor of the CPU, on `device`. The host does not wait: what is copied is pinned until it has been.
[[nodiscard]] inline at::Tensor on_device(const at::Tensor& host, at::Device device) {
  if (device.is_cpu()) return host;
  return host.pin_memory().to(device, /*non_blocking=*/true);
}

/// These values as a tensor [n] on `device`.
template <typename T>
[[nodiscard]] at::Tensor on_device(const std::vector<T>& values, at::Device device) {
  return on_device(at::tensor(values), device);
}

}  // namespace ssl4rl::nn
