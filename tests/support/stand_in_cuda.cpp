#include "support/stand_in_cuda.h"
#include "support/stand_in_tensors.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace ssl4rl::stand_in_cuda {
namespace {

using at::Tensor;

const at::Device kDevice(at::kCUDA, 0);
std::atomic<int64_t> count_of_waits{0};

// What a recording under way in this thread has computed, to be done again.
using Tape = std::vector<std::function<void()>>;
thread_local Tape* tape = nullptr;

void wait_for_device() {
  TORCH_CHECK(!tape, "operation not permitted when stream is capturing");
  ++count_of_waits;
}

// ---- Memory: the host's own, at addresses that no process has.

constexpr uintptr_t kFar = uintptr_t{1} << 52;

void* far_address(void* host) { return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(host) | kFar); }
void* host_address(const void* far) { return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(far) & ~kFar); }

struct Memory final : c10::DeviceAllocator {
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, kDevice};
    const size_t rounded = (bytes + 63) / 64 * 64;
    void* const host = std::aligned_alloc(64, 64 + rounded);  // its size stands in front
    TORCH_CHECK_WITH(OutOfMemoryError, host && held + static_cast<int64_t>(rounded) <= kMemory,
                     "CUDA out of memory. Tried to allocate ", rounded, " bytes");
    *static_cast<size_t*>(host) = rounded;
    peak = std::max<int64_t>(peak, held += static_cast<int64_t>(rounded));
    return {far_address(static_cast<char*>(host) + 64), host, release, kDevice};
  }
  static void release(void* host) {
    held -= static_cast<int64_t>(*static_cast<size_t*>(host));
    std::free(host);
  }
  bool initialized() override { return set_up; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override {
    TORCH_CHECK(set_up, "Allocator not initialized for device: did you call init?");
    c10::CachingDeviceAllocator::DeviceStats stats;
    stats.allocated_bytes[0].current = stats.reserved_bytes[0].current = held;
    stats.allocated_bytes[0].peak = peak;
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override { peak = held.load(); }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex) override {
    return {static_cast<size_t>(kMemory - held), static_cast<size_t>(kMemory)};
  }
  static inline std::atomic<int64_t> held{0}, peak{0};
  static inline std::atomic<bool> set_up{false};  // by LibTorch, before the first tensor
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(host_address(to), host_address(from), bytes);
  }
};

// Of the host, where copies need not wait.
struct PinnedMemory final : at::HostAllocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* const host = std::aligned_alloc(64, (bytes + 64) / 64 * 64);
    TORCH_CHECK(host, "out of memory");
    const std::lock_guard lock(mutex());
    blocks().insert({reinterpret_cast<uintptr_t>(host), bytes});
    return {host, host, forget, at::kCPU};
  }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
  bool record_event(void*, void*, c10::Stream) override { return true; }
  void empty_cache() override {}
  at::HostStats get_stats() override { return {}; }
  void reset_accumulated_stats() override {}
  void reset_peak_stats() override {}

  static bool holds(const void* pointer) {
    const std::lock_guard lock(mutex());
    const auto address = reinterpret_cast<uintptr_t>(pointer);
    auto block = blocks().upper_bound({address, SIZE_MAX});
    return block != blocks().begin() && address < std::prev(block)->first + std::prev(block)->second;
  }

 private:
  static void forget(void* host) {
    const std::lock_guard lock(mutex());
    blocks().erase(blocks().lower_bound({reinterpret_cast<uintptr_t>(host), 0}));
    std::free(host);
  }
  static std::mutex& mutex() {
    static std::mutex* const all = new std::mutex;
    return *all;
  }
  static std::set<std::pair<uintptr_t, size_t>>& blocks() {
    static auto* const all = new std::set<std::pair<uintptr_t, size_t>>;
    return *all;
  }
};

Memory memory;
PinnedMemory pinned_memory;

// ---- Random numbers: the host's, in a generator that says it is the device's.

struct FarGenerator final : at::CPUGeneratorImpl {
  FarGenerator() {
    device_ = kDevice;
    key_set_ = c10::DispatchKeySet(c10::DispatchKey::CUDA);
  }
  FarGenerator* clone_impl() const override {
    auto* const copy = new FarGenerator;
    copy->set_state(*get_state());
    return copy;
  }
};

struct Hooks final : at::CUDAHooksInterface {
  explicit Hooks(at::CUDAHooksArgs) {}
  void init() const override { Memory::set_up = true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  int getNumGPUs() const override { return 1; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex current_device() const override { return 0; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  void deviceSynchronize(c10::DeviceIndex) const override { wait_for_device(); }
  bool isPinnedPtr(const void* data) const override { return PinnedMemory::holds(data); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &pinned_memory; }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    static const at::Generator generator = at::make_generator<FarGenerator>();
    return generator;
  }
  at::Generator getNewGenerator(c10::DeviceIndex) const override { return at::make_generator<FarGenerator>(); }
};

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return at::kCUDA; }
  c10::Device exchangeDevice(c10::Device) const override { return kDevice; }
  c10::Device getDevice() const override { return kDevice; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, kDevice); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, kDevice); }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, c10::DeviceIndex) const noexcept override {}
};

// ---- Operators: the CPU's, on tensors over the same memory.

}  // namespace

Tensor near(const Tensor& x) {
  if (!x.defined() || !x.is_cuda()) return x;
  const at::Storage& storage = x.storage();
  const Tensor whole =
      at::from_blob(host_address(storage.data()), {static_cast<int64_t>(storage.nbytes() / x.itemsize())},
                    at::TensorOptions().dtype(x.scalar_type()));
  const at::NoGradGuard no_grad;
  return whole.as_strided(x.sizes(), x.strides(), x.storage_offset());
}

Tensor far_like(const Tensor& host) {
  const auto options = at::TensorOptions().dtype(host.scalar_type()).device(kDevice);
  const Tensor far = host.is_non_overlapping_and_dense() ? at::empty_strided(host.sizes(), host.strides(), options)
                                                         : at::empty(host.sizes(), options);
  near(far).copy_(host);
  return far;
}

namespace {

// The device's tensor over the part of `base` that `host` is a view of.
Tensor far_view(const Tensor& host, const Tensor& base) {
  Tensor view = at::detail::make_tensor<c10::TensorImpl>(c10::TensorImpl::VIEW, c10::Storage(base.storage()),
                                                         base.key_set(), host.dtype());
  const auto offset =
      static_cast<const char*>(host.const_data_ptr()) - static_cast<const char*>(host_address(base.storage().data()));
  view.unsafeGetTensorImpl()->set_storage_offset(host.numel() == 0 ? base.storage_offset()
                                                                   : offset / static_cast<int64_t>(host.itemsize()));
  view.unsafeGetTensorImpl()->set_sizes_and_strides(host.sizes(), host.strides());
  return view;
}

// One call: the arguments as they came and as the host's kernel gets them.
class Call {
 public:
  Call(const c10::OperatorHandle& op, torch::jit::Stack& stack)
      : schema_(op.schema()), stack_(stack), first_(stack.size() - schema_.arguments().size()) {
    given_.assign(stack.begin() + static_cast<ptrdiff_t>(first_), stack.end());
    for (size_t i = 0; i < given_.size(); ++i) stack_[first_ + i] = to_host(given_[i], written(i));
    check();
    op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &stack_);
    const size_t begin = stack_.size() - schema_.returns().size();
    for (const auto& [far, host] : outputs_) enlarge(far, host);
    for (const auto& [far, host] : generators_) at::Generator(far).set_state(host.get_state());
    for (size_t r = 0; r < schema_.returns().size(); ++r) stack_[begin + r] = to_device(stack_[begin + r], r);
  }

 private:
  [[nodiscard]] bool written(size_t argument) const {
    const auto* const alias = schema_.arguments()[argument].alias_info();
    return alias && alias->isWrite();
  }

  at::IValue to_host(const at::IValue& value, bool written) {
    if (value.isTensor()) return to_host(value.toTensor(), written);
    if (value.isTensorList()) {
      c10::List<Tensor> all;
      for (const Tensor& x : value.toTensorVector()) all.push_back(to_host(x, written));
      return all;
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> all;
      for (const std::optional<Tensor>& x : value.toOptionalTensorVector()) {
        all.push_back(x && x->defined() ? std::optional(near(*x)) : x);
        indices_wait_ = indices_wait_ || (x && x->defined() && (x->is_cpu() || x->scalar_type() == at::kBool));
      }
      return all;
    }
    if (value.isDevice()) return at::Device(at::kCPU);
    if (value.isGenerator()) {
      generators_.emplace_back(value.toGenerator(), at::make_generator<at::CPUGeneratorImpl>());
      generators_.back().second.set_state(value.toGenerator().get_state());
      return generators_.back().second;
    }
    return value;
  }
  Tensor to_host(const Tensor& x, bool written) {
    if (!x.defined()) return x;
    if (x.is_cpu() && x.dim() > 0) host_tensor_ = true;
    if (!x.is_cuda() || !written || x.numel() > 0) return near(x);
    // An output that the kernel makes as large as it needs.
    outputs_.emplace_back(x, at::empty({0}, at::TensorOptions().dtype(x.scalar_type())));
    return outputs_.back().second;
  }

  void check() const {
    const std::string& name = schema_.name();
    TORCH_CHECK(!host_tensor_, name, ": expected all tensors to be on the same device, found cuda:0 and cpu");
    static const std::set<std::string> unknown_sizes{"aten::nonzero", "aten::masked_select", "aten::_unique2",
                                                     "aten::unique_consecutive", "aten::repeat_interleave"};
    const bool value = schema_.returns().size() == 1 &&
                       !schema_.returns()[0].type()->isSubtypeOf(*c10::AnyListType::get()) &&
                       schema_.returns()[0].type()->kind() == c10::TypeKind::BoolType;
    if (unknown_sizes.count(name) || indices_wait_ || value) wait_for_device();
  }

  static void enlarge(const Tensor& far, const Tensor& host) {
    const Tensor whole = far_like(host.contiguous());
    far.unsafeGetTensorImpl()->set_storage_keep_dtype(whole.storage());
    far.unsafeGetTensorImpl()->set_storage_offset(0);
    far.unsafeGetTensorImpl()->set_sizes_and_strides(whole.sizes(), whole.strides());
  }

  at::IValue to_device(const at::IValue& value, size_t number) const {
    const auto* const alias = schema_.returns()[number].alias_info();
    if (value.isTensorList()) {
      c10::List<Tensor> all;
      for (const Tensor& x : value.toTensorVector()) all.push_back(far_like(x));
      return all;
    }
    if (!value.isTensor() || !value.toTensor().defined()) return value;
    if (!alias) return far_like(value.toTensor());
    for (size_t i = 0; i < given_.size(); ++i) {
      const auto* const same = schema_.arguments()[i].alias_info();
      if (same && *same == *alias)
        return alias->isWrite() ? given_[i] : far_view(value.toTensor(), given_[i].toTensor());
    }
    TORCH_CHECK(false, schema_.name(), ": what does its result alias?");
  }

  const c10::FunctionSchema& schema_;
  torch::jit::Stack& stack_;
  const size_t first_;
  std::vector<at::IValue> given_;
  std::vector<std::pair<Tensor, Tensor>> outputs_;
  std::vector<std::pair<at::Generator, at::Generator>> generators_;
  bool host_tensor_ = false, indices_wait_ = false;
};

void compute_on_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) { Call(op, *stack); }

Tensor empty(c10::IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>,
             std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                   c10::dtype_or_default(type), format);
}
Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<at::ScalarType> type,
                     std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &memory, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                           c10::dtype_or_default(type));
}
Tensor& copy_(Tensor& to, const Tensor& from, bool non_blocking) {
  const Tensor& host = to.is_cuda() ? from : to;
  if (host.is_cpu() && (tape || !(non_blocking && PinnedMemory::holds(host.const_data_ptr())))) wait_for_device();
  near(to).copy_(near(from));
  if (tape) tape->push_back([to, from] { near(to).copy_(near(from)); });
  return to;
}
at::Scalar local_scalar(const Tensor& x) {
  wait_for_device();
  return near(x).item();
}
void mm_wide(const c10::OperatorHandle&, torch::jit::Stack* stack) {
  const auto type = torch::jit::pop(*stack).toScalarType();
  const Tensor b = torch::jit::pop(*stack).toTensor(), a = torch::jit::pop(*stack).toTensor();
  TORCH_CHECK(type == at::kFloat && a.scalar_type() != type, "mm: out_dtype only from a shorter type to float32");
  stack->emplace_back(far_like(at::mm(near(a).to(type), near(b).to(type))));
}

// ---- Recordings.

// A boxed operator that a recording repeats on the tensors that it was given, with its results where they were.
template <void (*kernel)(const c10::OperatorHandle&, torch::jit::Stack*)>
void recorded(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  if (!tape) return kernel(op, stack);
  const auto arguments = static_cast<ptrdiff_t>(op.schema().arguments().size());
  const torch::jit::Stack given(stack->end() - arguments, stack->end());
  kernel(op, stack);
  const auto returns = static_cast<ptrdiff_t>(op.schema().returns().size());
  const torch::jit::Stack results(stack->end() - returns, stack->end());
  tape->push_back([op, given, results] {
    torch::jit::Stack again = given;
    kernel(op, &again);
    for (size_t r = 0; r < results.size(); ++r) {
      if (op.schema().returns()[r].alias_info() || !results[r].isTensor() || !results[r].toTensor().defined()) continue;
      near(results[r].toTensor()).copy_(near(again[r].toTensor()));
    }
  });
}

class Recording final : public nn::Graph {
 public:
  explicit Recording(const nn::GraphRecorder::Work& work) {
    tape = &tape_;
    try {
      result_ = work();
    } catch (...) {
      tape = nullptr;
      throw;
    }
    tape = nullptr;
  }
  Tensor replay() override {
    for (const auto& again : tape_) again();
    return result_;
  }

 private:
  Tape tape_;
  Tensor result_;
};

class Recorder final : public nn::GraphRecorder {
 public:
  using GraphRecorder::GraphRecorder;

 private:
  std::unique_ptr<nn::Graph> make(const Work& work) override { return std::make_unique<Recording>(work); }
};

}  // namespace

int64_t waits() { return count_of_waits; }

std::shared_ptr<nn::GraphRecorder> make_recorder() { return std::make_shared<Recorder>(nullptr); }

}  // namespace ssl4rl::stand_in_cuda

namespace {
namespace far = ssl4rl::stand_in_cuda;

[[maybe_unused]] const bool registered = [] {
  c10::SetAllocator(at::kCUDA, &far::memory);
  at::setHostAllocator(at::kCUDA, &far::pinned_memory);
  c10::impl::registerDeviceGuard(at::kCUDA, new far::Guard);
  at::CUDAHooksRegistry()->Register("CUDAHooks",
                                    [](at::CUDAHooksArgs arguments) -> std::unique_ptr<at::CUDAHooksInterface> {
                                      return std::make_unique<far::Hooks>(arguments);
                                    });
  return true;
}();

TORCH_LIBRARY_IMPL(_, CUDA, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&far::recorded<far::compute_on_host>>());
}
TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", far::empty);
  m.impl("empty_strided", far::empty_strided);
  m.impl("copy_", far::copy_);
  m.impl("_local_scalar_dense", far::local_scalar);
  m.impl("mm.dtype", torch::CppFunction::makeFromBoxedFunction<&far::recorded<far::mm_wide>>());
  m.impl("_flash_attention_forward", torch::CppFunction::makeFromBoxedFunction<&far::recorded<far::flash_forward>>());
  m.impl("_flash_attention_backward", torch::CppFunction::makeFromBoxedFunction<&far::flash_backward>());
}

}  // namespace
