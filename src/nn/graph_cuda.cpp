// Recording by LibTorch's CUDAGraph; part of CUDA builds alone.
#include <ATen/ATen.h>
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "ssl4rl/nn/graph.h"

namespace ssl4rl::nn {
namespace {

using MemoryPool = std::shared_ptr<const c10::cuda::MempoolId_t>;

class Recording final : public Graph {
 public:
  // On the current stream, which is not the default one.
  Recording(const GraphRecorder::Work& work, MemoryPool pool) : pool_(std::move(pool)) {
    try {
      graph_.capture_begin(*pool_, cudaStreamCaptureModeThreadLocal);
      const at::Tensor made = work();
      graph_.capture_end();
      // Not its owner: the pool stays while a graph does, and another recording may use the place.
      result_ = at::from_blob(made.mutable_data_ptr(), made.sizes(), made.strides(), made.options());
    } catch (...) {
      abandon(c10::cuda::current_device());
      throw;
    }
  }

  at::Tensor replay() override {
    graph_.replay();
    return result_;
  }

 private:
  // Wherever it failed, the stream takes work again and the allocators give other memory. What has ended already says
  // so by an exception.
  void abandon(c10::DeviceIndex device) noexcept {
    const auto attempt = [](const auto& ending) {
      try {
        ending();
      } catch (const std::exception&) {
      }
    };
    attempt([&] { graph_.capture_end(); });
    attempt([&] {
      c10::cuda::CUDACachingAllocator::endAllocateToPool(device, *pool_);
      c10::cuda::CUDACachingAllocator::releasePool(device, *pool_);
    });
    attempt([&] {
      at::HostAllocator* const host = at::getHostAllocator(at::kCUDA);
      host->end_allocate_to_pool(*pool_);
      host->release_pool(*pool_);
    });
  }

  const MemoryPool pool_;
  at::cuda::CUDAGraph graph_;
  at::Tensor result_;
};

class CudaRecorder final : public GraphRecorder {
 public:
  CudaRecorder(at::Device device, Warn warn)
      : GraphRecorder(std::move(warn)), side_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index())) {}

 private:
  // Nothing can be recorded on the default stream; the other one is of the device and makes it the current one.
  std::unique_ptr<Graph> make(const Work& work) override {
    MemoryPool pool = pool_.lock();
    if (!pool) pool_ = pool = std::make_shared<const c10::cuda::MempoolId_t>(at::cuda::graph_pool_handle());
    if (!warm_) c10::cuda::getCurrentCUDAStream(side_.device_index()).synchronize();
    const c10::cuda::CUDAStreamGuard on_side(side_);
    if (!warm_) {  // libraries set themselves up for a stream when they are used there for the first time
      (void)work();
      side_.synchronize();
      warm_ = true;
    }
    return std::make_unique<Recording>(work, std::move(pool));
  }

  const c10::cuda::CUDAStream side_;
  std::weak_ptr<const c10::cuda::MempoolId_t>
      pool_;  // the graphs' own: LibTorch takes no name of one again that has gone
  bool warm_ = false;
};

}  // namespace

std::shared_ptr<GraphRecorder> make_cuda_recorder(at::Device device, GraphRecorder::Warn warn) {
  return std::make_shared<CudaRecorder>(device, std::move(warn));
}

}  // namespace ssl4rl::nn
