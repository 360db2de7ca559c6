// The program on a CUDA device against the same on the host: a GPU in builds for CUDA (scripts/gpu_check.sh runs it),
// the stand-in of support/stand_in_cuda.h in others.
#include "device/training.h"
#include "ssl4rl/nn/attention.h"
#include "support/family_cases.h"
#include "support/model_checks.h"
#include "support/tensors.h"

namespace ssl4rl {
namespace {
using at::Tensor;
using Json = nlohmann::json;
using Training = DeviceTraining;

TEST(FlashAttention, OutputAndGradientsAreTheReferencesUpToRounding) {
  const nn::Layout layout = nn::Layout::from_lengths({70, 13}, {{9, 1, 33, 7}, {5, 5, 24}});
  const auto plan = nn::make_plan(layout, at::kCPU), on_device = nn::make_plan(layout, at::kCUDA);
  for (const int64_t dim : {16, 80, 128}) {
    const auto random = [&](int64_t heads) {
      return at::randn({layout.tokens, heads, dim}).to(at::kBFloat16).to(at::kDouble);
    };
    const Tensor q = random(6), k = random(2), v = random(2), grad = random(6);
    const auto results = [&](at::TensorOptions options, const nn::AttentionPlan& p) {
      const auto moved = [&](const Tensor& x) { return x.to(options); };
      const nn::AttentionOutput out = nn::attention_forward(moved(q), moved(k), moved(v), p);
      const Tensor dq = at::empty_like(moved(q)), dk = at::empty_like(moved(k)), dv = at::empty_like(moved(v));
      nn::attention_backward(moved(grad), moved(q), moved(k), moved(v), out, p, dq, dk, dv);
      return std::vector<Tensor>{out.out_TNH, out.lse_NT, dq, dk, dv};
    };
    const auto expected = results(at::kDouble, *plan),
               got = results(at::TensorOptions(at::kCUDA).dtype(at::kBFloat16), *on_device);
    for (size_t i = 0; i < got.size(); ++i) {
      const Tensor error = got[i].to(at::kCPU, at::kDouble) - expected[i];
      EXPECT_LT(error.norm().item<double>(), 0.01 * expected[i].norm().item<double>()) << dim << ' ' << i;
    }
  }
}

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

TEST_F(Training, MetricsTellTheDevicesMemory) {
  const double device = run("cuda", {}).metrics[1]["memory"], host = run("cpu", {}).metrics[1]["memory"];
  EXPECT_GT(device, 0);
  EXPECT_LT(device, host / 2) << "the process's libraries are no part of it";
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
  const Keys few{{"train.steps", 1}, {"model.device", "cuda"}, {"rollout.max_completion_length", 8}};
  EXPECT_EQ(run_training(folder.path(), small_run(images(), few), "train", {"--dry-run"}), 0);
  EXPECT_EQ(run({"score", "--input", input, "--output", "-"}), 0);
  EXPECT_EQ(run({"generate", "--input", input, "--output", "-", "--max-new-tokens", "4"}), 0);
  EXPECT_EQ(run({"bench", "--prompts", "1", "--num-generations", "2", "--new-tokens", "3", "--image-size", "56",
                 "--repeats", "1", "--json"}),
            0);
}

TEST_F(Training, OnRecordedRolloutsTheGradientInBfloat16IsNearThatInFloat32) {
  const auto of = [&](const std::string& device, const std::string& type) {
    return run(device, {{"model.path", tiny_model().string()},
                        {"model.dtype", type},
                        {"rollout.replay", (test_data() / "training/on_policy.jsonl").string()},
                        {"train.prompts_per_step", 4},
                        {"train.micro_batch_tokens", 150}})
        .metrics[0];
  };
  const Json host = of("cpu", "float32"), device = of("cuda", "bfloat16");
  const double norm = host["grad_norm"];
  EXPECT_NEAR(device["grad_norm"].get<double>(), norm, 0.03 * norm);
  EXPECT_NEAR(device["loss"].get<double>(), host["loss"].get<double>(), 0.01);
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
