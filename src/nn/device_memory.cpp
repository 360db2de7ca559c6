#include "ssl4rl/nn/device_memory.h"

#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>

#include "ssl4rl/base/memory.h"

namespace ssl4rl::nn {
namespace {

// It answers only once the device is set up, which the first tensor there does otherwise.
c10::DeviceAllocator& allocator_of(c10::Device device) {
  at::globalContext().lazyInitDevice(device.type());
  return *c10::getDeviceAllocator(device.type());
}

constexpr size_t kAll = 0;  // a statistic's sum over small and large blocks

}  // namespace

std::optional<int64_t> memory_left(c10::Device device) {
  if (device.is_cpu()) return available_memory();
  const auto [free, total] = allocator_of(device).getMemoryInfo(device.index());
  const auto stats = allocator_of(device).getDeviceStats(device.index());
  return static_cast<int64_t>(free) + stats.reserved_bytes[kAll].current - stats.allocated_bytes[kAll].current;
}

int64_t memory_peak(c10::Device device) {
  return device.is_cpu() ? peak_memory()
                         : allocator_of(device).getDeviceStats(device.index()).allocated_bytes[kAll].peak;
}

void reset_memory_peak(c10::Device device) {
  if (device.is_cpu()) return reset_peak_memory();
  allocator_of(device).resetPeakStats(device.index());
}

}  // namespace ssl4rl::nn
