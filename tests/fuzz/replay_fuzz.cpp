// Recorded rollouts (rollout.replay) and conversations to imitate (sft.data).
#include "../../src/cli/training_data.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ssl4rl;
  static const auto processor =
      std::make_shared<const models::Processor>(SSL4RL_SOURCE_DIR "/tests/data/tiny_qwen2_5_vl");
  const auto file = fuzz::folder() / "lines.jsonl";
  fuzz::put(file, {reinterpret_cast<const char*>(data), size});
  fuzz::guarded([&] { (void)cli::read_replay(file, *processor, {}); });
  const std::string replay = fuzz::outcome();
  fuzz::guarded([&] {
    const cli::Conversations conversations(file, processor, 1);
    (void)conversations(0);
  });
  fuzz::outcome() = replay + fuzz::outcome();
  return 0;
}
