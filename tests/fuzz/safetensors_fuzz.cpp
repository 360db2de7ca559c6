// A safetensors file, and every tensor in it.
#include <ATen/ATen.h>

#include "ssl4rl/io/safetensors.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ssl4rl;
  return fuzz::guarded([&] {
    const auto path = fuzz::folder() / "model.safetensors";
    fuzz::put(path, {reinterpret_cast<const char*>(data), size});
    const io::SafetensorsFile file(path);
    for (const auto& [name, info] : file.tensors()) {
      const at::Tensor tensor = file.tensor(name);
      if (tensor.numel() > 0) (void)tensor.to(at::kDouble).sum().item<double>();
      file.release(name);
    }
  });
}
