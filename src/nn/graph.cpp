#include "ssl4rl/nn/graph.h"

namespace ssl4rl::nn {

std::unique_ptr<Graph> record_on_cuda(const std::function<at::Tensor()>& work);  // graph_cuda.cpp

namespace {

class Repetition final : public Graph {
 public:
  explicit Repetition(std::function<at::Tensor()> work) : work_(std::move(work)) {}
  at::Tensor replay() override { return work_(); }

 private:
  std::function<at::Tensor()> work_;
};

}  // namespace

std::unique_ptr<Graph> record(at::Device device, std::function<at::Tensor()> work) {
#ifdef SSL4RL_CUDA
  if (device.is_cuda()) return record_on_cuda(work);
#endif
  (void)device;
  (void)work();
  return std::make_unique<Repetition>(std::move(work));
}

}  // namespace ssl4rl::nn
