// The small files beside a model: a chat template, or, where the input begins with a brace, the JSON that may hold one
// and the picture's settings.
#include "ssl4rl/models/processor.h"

#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ssl4rl;
  namespace fs = std::filesystem;
  static const fs::path tiny = SSL4RL_SOURCE_DIR "/tests/data/tiny_qwen2_5_vl", folder = [] {
    const fs::path copy = fuzz::folder() / "model";
    fs::copy(tiny, copy);
    fs::remove(copy / "chat_template.jinja");
    return copy;
  }();
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const bool json = bytes.starts_with('{');
  return fuzz::guarded([&] {
    fs::remove(folder / "chat_template.jinja");
    for (const char* name : {"chat_template.json", "tokenizer_config.json", "preprocessor_config.json"}) {
      fs::remove(folder / name);
      if (json)
        fuzz::put(folder / name, bytes);
      else if (fs::exists(tiny / name))
        fs::copy(tiny / name, folder / name);
    }
    if (!json) fuzz::put(folder / "chat_template.jinja", bytes);
    const models::Processor processor(folder);
    const std::vector<text::Message> messages{{"user", {{text::ContentPart::Kind::kText, "What <|im_end|>?"}}}};
    (void)processor.encode(messages, {});
  });
}
