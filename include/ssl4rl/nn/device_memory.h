// Memory of the device that tensors lie on: the host's, or a GPU's. Bytes.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <optional>

namespace ssl4rl::nn {

/// What this process could still take: of a GPU, what is free and what LibTorch keeps of freed tensors. Unknown where
/// the system does not say.
[[nodiscard]] std::optional<int64_t> memory_left(c10::Device device);
/// The most that was held at once since the start or the last reset: by the process, or on a GPU by its tensors.
[[nodiscard]] int64_t memory_peak(c10::Device device);
void reset_memory_peak(c10::Device device);

}  // namespace ssl4rl::nn
