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

TEST_F(Training, ARunThatTheDeviceHasNoRoomForIsRefusedAndOneThatRunsOutSaysWhatHelps) {
  const TemporaryFolder folder;
  const auto hold = [](int64_t left) {
    return at::empty({stand_in_cuda::kMemory - left}, at::TensorOptions().dtype(at::kByte).device(at::kCUDA));
  };
  const auto error_of_run = [&](int64_t left, int status) {
    const at::Tensor held = hold(left);
    testing::internal::CaptureStderr();
    EXPECT_EQ(run_training(folder.path(), small_run(images(), {{"model.device", "cuda"}, {"train.steps", 1}})), status);
    return testing::internal::GetCapturedStderr();
  };
  const std::string refused = error_of_run(100000, 2), ran_out = error_of_run(4000000, 1);
  EXPECT_NE(refused.find("weights, gradients and optimiser need"), std::string::npos) << refused;
  EXPECT_NE(ran_out.find("error: out of memory on the device: CUDA out of memory"), std::string::npos) << ran_out;
  EXPECT_NE(ran_out.find("lower train.micro_batch_tokens"), std::string::npos) << ran_out;
}

}  // namespace
}  // namespace ssl4rl
