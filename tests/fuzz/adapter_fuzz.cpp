// A directory of adapters: adapter_config.json where the input begins with a brace, else adapter_model.safetensors.
#include "ssl4rl/io/file.h"
#include "ssl4rl/models/lora.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ssl4rl;
  namespace fs = std::filesystem;
  static const fs::path tiny = SSL4RL_SOURCE_DIR "/tests/data/tiny_qwen2_5_vl",
                        whole = SSL4RL_SOURCE_DIR "/tests/data/lora", folder = fuzz::folder();
  static const auto processor = std::make_shared<const models::Processor>(tiny);
  static const models::Model base(tiny, processor, at::kCPU, at::kFloat);
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const bool config = bytes.starts_with('{');
  return fuzz::guarded([&] {
    for (const bool is_config : {true, false}) {
      const char* const name = is_config ? "adapter_config.json" : "adapter_model.safetensors";
      fuzz::put(folder / name, config == is_config ? std::string(bytes) : io::read_file(whole / name));
    }
    models::Model model(processor, base.weights());
    models::load_adapters(model, folder);
  });
}
