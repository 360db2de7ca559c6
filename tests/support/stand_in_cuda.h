// A stand-in for CUDA within LibTorch for the CPU: whoever links it has one device "cuda:0", whose operators compute on
// the host, but which is as strict as the real one. The host that touches its memory crashes; an operator that is given
// tensors of both devices throws; and what would make the host wait for the device is counted. It shows that code for
// CUDA moves its tensors as it must, with the kernels' own arithmetic and speed left aside.
#pragma once

#include <cstdint>

namespace ssl4rl::stand_in_cuda {

/// How often the host has waited for the device until now: copies between them that block, values asked for (item()),
/// results whose size only the device knows (nonzero).
[[nodiscard]] int64_t waits();

constexpr int64_t kMemory = int64_t{8} << 30;  ///< of the device, in bytes

}  // namespace ssl4rl::stand_in_cuda
