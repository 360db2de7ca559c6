// A checkpoint's manifest and state, as a resume reads them.
#include "ssl4rl/train/checkpoint.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ssl4rl;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto run = fuzz::folder() / "run", step = run / "checkpoints/step-000001";
  std::filesystem::create_directories(step / "trainer");
  fuzz::put(step / "manifest.json", bytes);
  fuzz::put(step / "trainer/state.json", bytes);
  (void)train::damage_of(step);
  return fuzz::guarded([&] { (void)train::read_state(step); });
}
