// What only the stand-in can tell: how often the host waits, and what is done with a device of a known size.
#include "device/training.h"
#include "ssl4rl/rollout/engine.h"
#include "support/stand_in_cuda.h"

namespace ssl4rl {
namespace {
using Training = DeviceTraining;

// All that micro-batches need is sent ahead, and all that the host wants to know is read after the last one.
TEST_F(Training, TheHostDoesNotWaitWithinAMicroBatch) {
  const auto waits = [&](int64_t tokens) {
    const int64_t before = stand_in_cuda::waits();
    (void)run("cuda", {{"algorithm.name", "ppo"},
                       {"algorithm.critic", "separate"},
                       {"algorithm.beta", 0.1},
                       {"algorithm.entropy_coef", 0.01},
                       {"train.micro_batch_tokens", tokens}});
    return stand_in_cuda::waits() - before;
  };
  EXPECT_EQ(waits(150), waits(100000));
}

TEST_F(Training, ADecodingStepWaitsOnce) {
  const auto waits = [&](int64_t tokens) {
    const int64_t before = stand_in_cuda::waits();
    (void)run("cuda", {{"rollout.max_completion_length", tokens}, {"rollout.temperature", 100}});
    return stand_in_cuda::waits() - before;
  };
  EXPECT_EQ(waits(20) - waits(10), 2 * 10);
}

TEST_F(Training, RolloutsMayTakeMostOfTheDevicesMemory) {
  const auto cache = [](at::Device device) {
    const models::Model model(start(), std::make_shared<const models::Processor>(start()), device, at::kFloat);
    return rollout::limits_for(model, {}).cache_tokens *
           rollout::cache_bytes_per_token(model.config().text, at::kFloat);
  };
  const auto size = static_cast<double>(stand_in_cuda::kMemory);
  EXPECT_NEAR(static_cast<double>(cache(at::kCUDA)), size / 4, 0.01 * size);
  EXPECT_LE(cache(at::kCPU), int64_t{4} << 30);
}

}  // namespace
}  // namespace ssl4rl
