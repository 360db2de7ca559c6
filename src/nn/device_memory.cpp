#include "ssl4rl/nn/device_memory.h"

#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>

#include "ssl4rl/base/memory.h"

namespace ssl4rl::nn {
namespace {

c10::CachingDeviceAllocator::DeviceStats stats_of(c10::Device device) {
  return c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
}

constexpr size_t kAll = 0;  // a statistic's sum over small and large blocks

}  // namespace

std::optional<int64_t> memory_left(c10::Device device) {
  if (device.is_cpu()) return available_memory();
  const auto [free, total] = c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index());
  const auto stats = stats_of(device);
  return static_cast<int64_t>(free) + stats.reserved_bytes[kAll].current - stats.allocated_bytes[kAll].current;
}

int64_t memory_peak(c10::Device device) {
  return device.is_cpu() ? peak_memory() : stats_of(device).allocated_bytes[kAll].peak;
}

void reset_memory_peak(c10::Device device) {
  if (device.is_cpu()) return reset_peak_memory();
  c10::getDeviceAllocator(device.type())->resetPeakStats(device.index());
}

}  // namespace ssl4rl::nn
