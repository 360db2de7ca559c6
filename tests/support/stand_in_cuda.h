// A stand-in for CUDA within LibTorch for the CPU: whoever links it has one device "cuda:0", whose operators compute on
// the host, but which is as strict as the real one. The host that touches its memory crashes; an operator that is given
// tensors of both devices throws; and what would make the host wait for the device is counted. It shows that code for
// CUDA moves its tensors as it must, with the kernels' own arithmetic and speed left aside.
#pragma once

#include <cstdint>
#include <memory>

#include "ssl4rl/nn/graph.h"

namespace ssl4rl::stand_in_cuda {

/// How often the host has waited for the device until now: copies between them that block, values asked for (item()),
/// results whose size only the device knows (nonzero).
[[nodiscard]] int64_t waits();

constexpr int64_t kMemory = int64_t{8} << 30;  ///< of the device, in bytes

/// Records as CUDA graphs do: a replay computes with the tensors of the recording, wherever the program has others by
/// then, and what the host would do or wait for in between cannot be recorded.
[[nodiscard]] std::shared_ptr<nn::GraphRecorder> make_recorder();

}  // namespace ssl4rl::stand_in_cuda
