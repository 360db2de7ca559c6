#include "ssl4rl/nn/graph.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

namespace ssl4rl::nn {

std::shared_ptr<GraphRecorder> make_cuda_recorder(at::Device device, GraphRecorder::Warn warn);  // graph_cuda.cpp

namespace {

class Repetition final : public Graph {
 public:
  explicit Repetition(GraphRecorder::Work work) : work_(std::move(work)) {}
  at::Tensor replay() override { return work_(); }

 private:
  GraphRecorder::Work work_;
};

class Repeater final : public GraphRecorder {
 public:
  using GraphRecorder::GraphRecorder;

 private:
  std::unique_ptr<Graph> make(const Work& work) override { return std::make_unique<Repetition>(work); }
};

}  // namespace

std::unique_ptr<Graph> GraphRecorder::record(const Work& work) {
  if (failed_) return nullptr;
  std::string reason;
  try {
    return make(work);
  } catch (const c10::Error& error) {
    reason = error.what_without_backtrace();
  } catch (const std::exception& error) {
    reason = error.what();
  }
  failed_ = true;
  if (warn_) warn_(fmt::format("decoding steps are no longer recorded, since one could not be: {}", reason));
  return nullptr;
}

std::shared_ptr<GraphRecorder> make_graph_recorder(at::Device device, GraphRecorder::Warn warn) {
#ifdef SSL4RL_CUDA
  if (device.is_cuda()) return make_cuda_recorder(device, std::move(warn));
#endif
  (void)device;
  return std::make_shared<Repeater>(std::move(warn));
}

}  // namespace ssl4rl::nn
