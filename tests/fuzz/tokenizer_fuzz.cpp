// tokenizer.json, and encoding and decoding with what could be read.
#include "ssl4rl/text/tokenizer.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ssl4rl;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  return fuzz::guarded([&] {
    const auto file = fuzz::folder() / "tokenizer.json";
    fuzz::put(file, bytes);
    const text::Tokenizer tokenizer(file);
    for (const std::string_view sample : {std::string_view("Hello <|im_start|>it's 旋转 e\xCC\x81\n\n x"),
                                          bytes.substr(0, std::min<size_t>(size, 512))}) {
      const auto ids = tokenizer.encode(sample);
      (void)tokenizer.decode(ids);
      (void)tokenizer.decode(ids, false);
    }
  });
}
