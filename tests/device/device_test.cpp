// The program on a device whose memory the host cannot reach (support/stand_in_cuda.h), against the same on the host.
#include <gtest/gtest.h>

#include "ssl4rl/rollout/engine.h"
#include "support/family_cases.h"
#include "support/images.h"
#include "support/model_checks.h"
#include "support/stand_in_cuda.h"
#include "support/training.h"

namespace ssl4rl {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::json;

class Family : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { write_family(folder_.path(), fixture_); }
  [[nodiscard]] models::Model load(at::Device device, at::ScalarType type) const {
    return {folder_.path(), std::make_shared<const models::Processor>(folder_.path()), device, type};
  }
  const nlohmann::ordered_json& fixture_ = family_fixture(GetParam());

 private:
  TemporaryFolder folder_;
};

TEST_P(Family, LogProbsAndGreedyTextsInFloat32EqualTransformers) {
  expect_parity(load(at::kCUDA, at::kFloat), parse_model_cases(fixture_["cases"]), 2e-5);
}

// Varlen flash attention, and everything in 16 bits that is not summed.
TEST_P(Family, LogProbsInBfloat16AreNearThoseInFloat32) {
  expect_parity(load(at::kCUDA, at::kBFloat16), parse_model_cases(fixture_["cases"]), 0.15);
}

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const auto& family : family_fixtures()) names.push_back(family["name"]);
  return names;
}
INSTANTIATE_TEST_SUITE_P(All, Family, testing::ValuesIn(family_names()), [](const auto& one) { return one.param; });

// Two steps of the program on a device.
struct Outcome {
  std::vector<Json> metrics;
  std::map<std::string, at::Tensor> weights;
};

std::map<std::string, at::Tensor> weights_of(const fs::path& checkpoint) {
  const char* const file =
      fs::exists(checkpoint / "model.safetensors") ? "model.safetensors" : "adapter_model.safetensors";
  const io::SafetensorsFile tensors(checkpoint / file);
  std::map<std::string, at::Tensor> weights;
  for (const auto& [name, info] : tensors.tensors()) weights[name] = tensors.tensor(name).to(at::kDouble);
  return weights;
}

class Training : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    draw_pictures(images(), 12, 64);
    // A model that knows the form of an answer, so that rewards differ.
    ASSERT_EQ(run_training(folder_->path(),
                           small_run(images(), {{"train.steps", 60},
                                                {"train.prompts_per_step", 4},
                                                {"train.learning_rate", 3e-3},
                                                {"sft.labels", "random"}}),
                           "sft"),
              0);
  }
  static void TearDownTestSuite() { folder_.reset(); }
  static fs::path images() { return folder_->path() / "images"; }
  static fs::path start() { return folder_->path() / "run/checkpoints/step-000060"; }

  static Outcome run(const std::string& device, const Keys& more, const std::string& command = "train") {
    const TemporaryFolder folder;
    const Keys keys = with(small_run(images(), {{"model.path", start().string()},
                                                {"model.device", device},
                                                {"data.holdout_fraction", 0.2},
                                                {"train.steps", 2},
                                                {"train.learning_rate", 1e-4},
                                                {"rollout.num_generations", 6},
                                                {"rollout.max_completion_length", 16}}),
                           more);
    EXPECT_EQ(run_training(folder.path(), keys, command), 0);
    return {metrics_of(folder.path()), weights_of(folder.path() / "run/checkpoints/step-000002")};
  }

  // In float32 the device's results are the host's, but for the order of sums.
  static void expect_the_hosts_results(const Keys& keys, const std::string& command = "train") {
    const Outcome host = run("cpu", keys, command), device = run("cuda", keys, command);
    ASSERT_EQ(device.metrics.size(), 2u);
    EXPECT_GT(device.metrics[0]["grad_norm"].get<double>(), 1e-3) << "nothing is learned";
    for (size_t i = 0; i < 2; ++i)
      for (const char* key : {"loss", "grad_norm", "kl", "completion_length/mean", "value_loss"})
        if (host.metrics[i].contains(key) && host.metrics[i][key].is_number()) {
          const double expected = host.metrics[i][key];
          EXPECT_NEAR(device.metrics[i][key].get<double>(), expected, 1e-5 + 1e-4 * std::abs(expected)) << key;
        }
    ASSERT_EQ(device.weights.size(), host.weights.size());
    for (const auto& [name, weight] : host.weights)  // AdamW moves each by about the learning rate, twice
      EXPECT_LT((device.weights.at(name) - weight).abs().mean().item<double>(), 4e-6) << name;
  }

 private:
  static inline std::unique_ptr<TemporaryFolder> folder_;
};

TEST_F(Training, GrpoWithAReferenceAndEntropy) {
  expect_the_hosts_results({{"algorithm.beta", 0.1}, {"algorithm.entropy_coef", 0.01}});
}

TEST_F(Training, GrpoInSeveralUpdatesAndMicroBatches) {
  expect_the_hosts_results(
      {{"train.prompts_per_update", 1}, {"algorithm.num_iterations", 2}, {"train.micro_batch_tokens", 200}});
}

TEST_F(Training, PpoWithAValueHead) { expect_the_hosts_results({{"algorithm.name", "ppo"}}); }

TEST_F(Training, PpoWithACriticOfItsOwn) {
  expect_the_hosts_results({{"algorithm.name", "ppo"}, {"algorithm.critic", "separate"}});
}

TEST_F(Training, AdaptersWithDropout) { expect_the_hosts_results({{"model.lora.rank", 4}, {"algorithm.beta", 0.1}}); }

TEST_F(Training, AFrozenVisionTowerWithGradientCheckpointing) {
  expect_the_hosts_results({{"model.freeze", "[vision, merger]"}, {"model.gradient_checkpointing", true}});
}

TEST_F(Training, OptimiserAndReferenceInTheHostsMemory) {
  expect_the_hosts_results({{"train.offload", "[optimizer, reference]"}, {"algorithm.beta", 0.1}});
}

TEST_F(Training, MomentsInBfloat16) { expect_the_hosts_results({{"train.optimizer_dtype", "bfloat16"}}); }

TEST_F(Training, AFilteredDistribution) {
  expect_the_hosts_results({{"rollout.top_k", 20}, {"rollout.top_p", 0.9}, {"rollout.min_p", 0.01}});
}

TEST_F(Training, RecordedDecodingSteps) { expect_the_hosts_results({{"rollout.cuda_graphs", true}}); }

TEST_F(Training, EvaluationsAndConflictsOfTasks) {
  expect_the_hosts_results(
      {{"tasks", "[rotation, flip]"}, {"log.conflicts_every", 1}, {"train.eval_every", 1}, {"eval.samples", 4}});
}

TEST_F(Training, Supervised) { expect_the_hosts_results({}, "sft"); }

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

TEST_F(Training, MetricsTellTheDevicesMemory) {
  const double device = run("cuda", {}).metrics[1]["memory"], host = run("cpu", {}).metrics[1]["memory"];
  EXPECT_GT(device, 0);
  EXPECT_LT(device, host / 2) << "the process's libraries are no part of it";
}

TEST_F(Training, RolloutsMayTakeMostOfTheDevicesMemory) {
  const auto cache = [](at::Device device) {
    const models::Model model(start(), std::make_shared<const models::Processor>(start()), device, at::kFloat);
    return rollout::limits_for(model, {}).cache_tokens *
           rollout::cache_bytes_per_token(model.config().text, at::kFloat);
  };
  const auto size = static_cast<double>(int64_t{8} << 30);  // the stand-in's
  EXPECT_NEAR(static_cast<double>(cache(at::kCUDA)), size / 4, 0.01 * size);
  EXPECT_LE(cache(at::kCPU), int64_t{4} << 30);
}

TEST_F(Training, TheOtherCommandsComputeThereToo) {
  const TemporaryFolder folder;
  const std::string model = start().string(), input = (folder.path() / "in.jsonl").string();
  io::write_file(input, R"({"messages": [{"role": "user", "content": "Hello"}], "completion": "yes"})"
                        "\n");
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--model", model, "--device", "cuda", "--quiet"});
    testing::internal::CaptureStdout();
    const int status = run_in_process(arguments);
    EXPECT_NE(testing::internal::GetCapturedStdout(), "") << arguments[0];
    return status;
  };
  EXPECT_EQ(run({"score", "--input", input, "--output", "-"}), 0);
  EXPECT_EQ(run({"generate", "--input", input, "--output", "-", "--max-new-tokens", "4"}), 0);
  EXPECT_EQ(run({"bench", "--prompts", "1", "--num-generations", "2", "--new-tokens", "3", "--image-size", "56",
                 "--repeats", "1", "--json"}),
            0);
}

TEST_F(Training, AdaptersOnABfloat16Model) {
  const Outcome outcome = run("cuda", {{"model.dtype", "bfloat16"}, {"model.lora.rank", 4}});
  EXPECT_GT(outcome.metrics[0]["grad_norm"].get<double>(), 1e-3);
}

TEST_F(Training, InBfloat16TheSamplersLogProbsAreTheTrainers) {
  const Outcome outcome = run("cuda", {{"model.dtype", "bfloat16"}, {"algorithm.beta", 0.1}});
  ASSERT_EQ(outcome.metrics.size(), 2u);
  for (const Json& step : outcome.metrics) {
    EXPECT_LT(step["logprob_gap/mean"].get<double>(), 0.05);
    EXPECT_TRUE(step["loss"].is_number());
  }
}

}  // namespace
}  // namespace ssl4rl
