// Work on a device that is recorded once and then repeated without the host's part in it: CUDA graphs. On the CPU it is
// simply done again, so that whatever is recorded can be tested there.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>

namespace ssl4rl::nn {

class Graph {
 public:
  virtual ~Graph() = default;
  /// Does the work on what its tensors hold now. The result holds until another graph of the recorder is replayed or
  /// recorded.
  [[nodiscard]] virtual at::Tensor replay() = 0;
};

/// Makes the graphs of one device, which share the memory for what they make, since one runs after the other.
class GraphRecorder {
 public:
  using Work = std::function<at::Tensor()>;
  using Warn = std::function<void(const std::string&)>;

  explicit GraphRecorder(Warn warn) : warn_(std::move(warn)) {}
  virtual ~GraphRecorder() = default;

  /// Records `work`, which must read and write tensors that stay in their places (those that it makes itself apart),
  /// must not ask for values, and has been done before. Nothing, after one warning, once a recording has failed: the
  /// device is as it was then.
  [[nodiscard]] std::unique_ptr<Graph> record(const Work& work);

 protected:
  [[nodiscard]] virtual std::unique_ptr<Graph> make(const Work& work) = 0;

 private:
  Warn warn_;
  bool failed_ = false;
};

[[nodiscard]] std::shared_ptr<GraphRecorder> make_graph_recorder(at::Device device, GraphRecorder::Warn warn = {});

}  // namespace ssl4rl::nn
