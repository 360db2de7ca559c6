#include "runtime.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "ssl4rl/base/error.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/hash.h"
#include "ssl4rl/io/safetensors.h"
#include "ssl4rl/models/lora.h"

#ifdef SSL4RL_CUDA
#include <c10/core/AllocatorConfig.h>
#include <c10/cuda/CUDAFunctions.h>
#endif

namespace ssl4rl::cli {
namespace fs = std::filesystem;
namespace {

// LibTorch's own choice (the cores of the process's affinity, or OMP_NUM_THREADS), but no more than the quota of its
// control group, as in a container. `train` may choose fewer by trial.
int usable_threads() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");  // "max 100000" without a limit
  double quota = 0, period = 0;
  const int threads = at::get_num_threads();
  if (!(file >> quota >> period) || period <= 0) return threads;
  return std::clamp(static_cast<int>(std::ceil(quota / period)), 1, threads);
}

#ifdef SSL4RL_CUDA
constexpr bool kCudaBuild = true;

std::string why_no_cuda() {
  try {
    (void)c10::cuda::device_count_ensure_non_zero();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "the driver gives no reason";
}

void set_up_cuda(at::Device device) {
  c10::cuda::set_device(device.index());
  // Tensors of a step differ in size from those of the last: blocks that grow and shrink leave no holes.
  if (!std::getenv("PYTORCH_CUDA_ALLOC_CONF") && !std::getenv("PYTORCH_ALLOC_CONF"))
    c10::CachingAllocator::setAllocatorSettings("expandable_segments:True");
  // Parts of a long sum are added in float32.
  at::globalContext().setAllowBF16ReductionCuBLAS(/*allow_reduced_precision=*/false);
}
#else
constexpr bool kCudaBuild = false;

std::string why_no_cuda() { return "this build is for the CPU (scripts/build.sh cuda makes one for GPUs)"; }
void set_up_cuda(at::Device) {}
#endif

at::Device choose_device(const std::string& name, const train::Place& place) {
  const bool cuda = at::globalContext().hasCUDA();
  if (name == "cpu" || (name == "auto" && !cuda)) return at::kCPU;
  // Several processes on a machine take a GPU each; SLURM may show each its own alone.
  const auto next_gpu = [&] {
    return at::Device(at::kCUDA,
                      static_cast<c10::DeviceIndex>(static_cast<size_t>(place.local_rank) % at::getNumGPUs()));
  };
  if (name == "auto") return next_gpu();
  at::Device device(at::kCPU);
  try {
    device = at::Device(name);
  } catch (const c10::Error&) {
    fail("device \"{}\": expected auto, cpu, cuda or cuda:N", name);
  }
  if (device.is_cpu()) return device;
  if (!device.is_cuda()) fail("device \"{}\": expected auto, cpu, cuda or cuda:N", name);
  if (!cuda) fail("device \"{}\": no CUDA device can be used: {}", name, why_no_cuda());
  return device.has_index() ? device : next_gpu();
}

// A process's part of the cores that several share; nothing to say for a process alone.
std::optional<int64_t> fair_threads(const train::Place& place) {
  if (place.ranks == 1 || std::getenv("OMP_NUM_THREADS")) return {};
  if (const char* const cores = std::getenv("SLURM_CPUS_PER_TASK")) return std::max(1, std::atoi(cores));
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return {};
  return std::max(1, CPU_COUNT(&cores) / place.local_ranks);
}

}  // namespace

Runtime choose_runtime(App& app, const std::string& device, const std::string& dtype, std::optional<int64_t> threads) {
  const train::Place& place = app.communicator().place();
  const std::string name = app.options().device.value_or(device);
  Runtime runtime{choose_device(name, place)};
  if (kCudaBuild && name == "auto" && runtime.device.is_cpu())
    app.log().warn("computing on the CPU: {}", why_no_cuda());
  const std::string type = app.options().dtype.value_or(dtype);
  if (runtime.device.is_cuda()) set_up_cuda(runtime.device);
  if (type == "bfloat16" || (type == "auto" && runtime.device.is_cuda())) runtime.dtype = at::kBFloat16;
  if (app.options().threads) threads = app.options().threads;
  if (!threads) threads = fair_threads(place);
  at::set_num_threads(threads ? static_cast<int>(*threads) : usable_threads());
  return runtime;
}

Runtime choose_runtime(App& app) { return choose_runtime(app, "auto", "auto", {}); }

const char* type_name(at::ScalarType type) { return type == at::kBFloat16 ? "bfloat16" : "float32"; }

std::unique_ptr<models::Model> load_model(App& app, const fs::path& folder,
                                          std::shared_ptr<const models::Processor> processor, const Runtime& runtime,
                                          const models::Loaded& loaded) {
  const bool adapters = models::is_adapter_directory(folder);
  auto model =
      std::make_unique<models::Model>(adapters ? models::base_of_adapters(folder) : folder, std::move(processor),
                                      runtime.device, runtime.dtype, adapters ? models::Loaded() : loaded);
  if (adapters) {
    models::load_adapters(*model, folder);
    models::merge_adapters(*model);
    if (loaded)
      for (const auto& parameter : model->parameters()) loaded(parameter);
  }
  int64_t values = 0;
  for (const auto& parameter : model->parameters()) values += parameter.tensor->numel();
  app.log().info("loaded {}: {} with {} parameters, {} on {}{}", folder.string(), model->config().model_type,
                 count_text(static_cast<double>(values)), type_name(runtime.dtype), runtime.device.str(),
                 runtime.device.is_cpu() ? fmt::format(", {} threads", at::get_num_threads()) : "");
  return model;
}

std::unique_ptr<models::Model> load_model(App& app, const fs::path& folder, const Runtime& runtime) {
  return load_model(app, folder, std::make_shared<const models::Processor>(folder), runtime);
}

std::string model_fingerprint(const fs::path& folder) {
  if (models::is_adapter_directory(folder))
    return model_fingerprint(models::base_of_adapters(folder)) +
           io::sha256_hex_of_file(folder / "adapter_model.safetensors");
  constexpr uintmax_t kWhole = uintmax_t{2} << 30;  // larger files are known by their header, size and time
  io::Sha256 hash;
  hash.update(io::read_file(folder / "config.json"));
  hash.update(io::read_file(folder / "tokenizer.json"));
  const io::SafetensorsModel weights(folder);
  for (const auto& file : weights.files()) {
    const auto size = fs::file_size(file.path());
    if (size <= kWhole) {
      hash.update(io::sha256_hex_of_file(file.path()));
      continue;
    }
    hash.update(fmt::format("{} {} {}", file.path().filename().string(), size,
                            fs::last_write_time(file.path()).time_since_epoch().count()));
    for (const auto& [name, info] : file.tensors()) hash.update(fmt::format("{} {} {}", name, info.dtype, info.begin));
  }
  return io::hex(hash.digest());
}

int data_threads(std::optional<int64_t> given) {
  return static_cast<int>(given.value_or(std::max(1u, std::thread::hardware_concurrency() / 2)));
}

}  // namespace ssl4rl::cli
