// Recording by LibTorch's CUDAGraph; part of CUDA builds alone.
#include <ATen/ATen.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "ssl4rl/base/error.h"
#include "ssl4rl/nn/graph.h"

namespace ssl4rl::nn {
namespace {

class Recording final : public Graph {
 public:
  explicit Recording(const std::function<at::Tensor()>& work) {
    // Nothing can be recorded on the default stream. What is still under way there comes first, and the work once
    // before it is recorded: libraries set themselves up when they are used for the first time.
    const c10::cuda::CUDAStream side = c10::cuda::getStreamFromPool();
    c10::cuda::getCurrentCUDAStream().synchronize();
    {
      const c10::cuda::CUDAStreamGuard on_side(side);
      (void)work();
      side.synchronize();
      graph_.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
      result_ = work();
      graph_.capture_end();
    }
    side.synchronize();
  }

  at::Tensor replay() override {
    graph_.replay();
    return result_;
  }

 private:
  at::cuda::CUDAGraph graph_;
  at::Tensor result_;
};

}  // namespace

std::unique_ptr<Graph> record_on_cuda(const std::function<at::Tensor()>& work) {
  try {
    return std::make_unique<Recording>(work);
  } catch (const c10::Error& error) {
    fail("a decoding step could not be recorded as a CUDA graph ({}); leave out rollout.cuda_graphs",
         error.what_without_backtrace());
  }
}

}  // namespace ssl4rl::nn
