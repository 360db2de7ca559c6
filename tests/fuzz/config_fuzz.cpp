// config.json of any family, with preprocessor and generation settings that are the same bytes.
#include "ssl4rl/models/config.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ssl4rl;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  return fuzz::guarded([&] {
    fuzz::put(fuzz::folder() / "config.json", bytes);
    // One file for all three: what one reader asks for the others pass over.
    fuzz::put(fuzz::folder() / "preprocessor_config.json", bytes);
    fuzz::put(fuzz::folder() / "generation_config.json", bytes);
    (void)models::read_model_config(fuzz::folder());
  });
}
