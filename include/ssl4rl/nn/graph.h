// Work on a device that is recorded once and then repeated without the host's part in it: CUDA graphs. On the CPU it is
// simply done again, so that whatever is recorded can be tested there.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>

namespace ssl4rl::nn {

class Graph {
 public:
  virtual ~Graph() = default;
  /// Does the work on what its tensors hold now. The result lies where the last one did.
  [[nodiscard]] virtual at::Tensor replay() = 0;
};

/// Records `work`, which must read and write tensors that stay in their places (those that it makes itself apart), and
/// must not ask for values. It is done once or more before this returns. Throws Error where CUDA cannot record it.
[[nodiscard]] std::unique_ptr<Graph> record(at::Device device, std::function<at::Tensor()> work);

}  // namespace ssl4rl::nn
