// tokenizer.model, or, where the input begins with a brace, the lists of added tokens beside a whole one.
#include "ssl4rl/io/file.h"
#include "ssl4rl/text/tokenizer.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ssl4rl;
  static const std::string whole = io::read_file(SSL4RL_SOURCE_DIR "/tests/data/fuzz/sentencepiece/small.model");
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  return fuzz::guarded([&] {
    const auto file = fuzz::folder() / "tokenizer.model";
    const bool added = bytes.starts_with('{');
    fuzz::put(file, added ? std::string_view(whole) : bytes);
    for (const char* name : {"added_tokens.json", "tokenizer_config.json"})
      fuzz::put(fuzz::folder() / name, added ? bytes : std::string_view("{}"));
    const text::Tokenizer tokenizer(file);
    for (const std::string_view sample : {std::string_view("the  picture, naïve 旋转 😀\n 90<end_of_turn>x"),
                                          bytes.substr(0, std::min<size_t>(size, 512))}) {
      const auto ids = tokenizer.encode(sample);
      (void)tokenizer.decode(ids);
      (void)tokenizer.decode(ids, false);
    }
    std::vector<int64_t> all(static_cast<size_t>(std::min<int64_t>(tokenizer.size(), 4096)));
    for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
    (void)tokenizer.decode(all, false);
  });
}
