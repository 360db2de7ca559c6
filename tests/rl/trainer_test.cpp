// Whole runs on the tiny model of the fixtures.
#include "ssl4rl/rl/trainer.h"
#include "ssl4rl/rl/conflict.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "ssl4rl/rl/conflict.h"
#include "ssl4rl/rl/supervised.h"
#include "support/errors.h"
#include "support/images.h"
#include "support/json_lines.h"
#include "support/model_cases.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace ssl4rl::rl {
namespace {
namespace fs = std::filesystem;
using at::Tensor;
using Json = nlohmann::ordered_json;

enum class Kind { kRl, kSupervised };

// One way of running: what the tests vary.
struct Plan {
  Kind kind = Kind::kRl;
  int64_t steps = 4, stop_after = 0, micro_batch_tokens = 4096;
  std::optional<int64_t> prompts_per_update;
  AlgorithmConfig algorithm;
  std::optional<int> signal_in_step;  // asks for a stop while that step is evaluated
  enum class Evaluation { kEnds, kIsCutOff, kFails } evaluation = Evaluation::kEnds;
  std::optional<int> block_completions_of_step;  // its file cannot be put in place
  int data_threads = 1;
  double learning_rate = 1e-3;
  std::vector<std::string> tasks{"rotation"};
  int64_t conflicts_every = 0;
  fs::path start = {};  // the model to start from; empty: one that knows the form of an answer, so that rewards differ
};

class TrainerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    draw_pictures(folder_->path() / "images", 12, 64);
    ASSERT_EQ(run("start", {.kind = Kind::kSupervised, .steps = 60, .learning_rate = 3e-3, .start = tiny_model()}), 0);
  }
  static void TearDownTestSuite() { folder_.reset(); }
  void TearDown() override {
    for (const auto& entry : fs::directory_iterator(folder_->path()))
      if (entry.path().filename() != "images" && entry.path().filename() != "start") fs::remove_all(entry.path());
  }

  [[nodiscard]] static fs::path run_folder(const std::string& name) { return folder_->path() / name; }

  // Runs or goes on with the run `name`. Returns the signal that stopped it, or 0.
  static int run(const std::string& name, const Plan& plan) {
    const Log log(Log::Level::kOff);
    train::TrainConfig config;
    config.steps = plan.steps;
    config.prompts_per_step = 4;
    config.prompts_per_update = plan.prompts_per_update;
    config.micro_batch_tokens = plan.micro_batch_tokens;
    config.learning_rate = plan.learning_rate;
    config.lr_scheduler = train::TrainConfig::Schedule::kLinear;
    config.save_every = plan.stop_after;
    train::LogConfig logging;
    logging.completions_every = 1;
    logging.conflicts_every = plan.conflicts_every;

    const fs::path start =
        plan.start.empty() ? run_folder("start") / "checkpoints" / train::checkpoint_name(60) : plan.start;
    train::RunDirectory directory(run_folder(name), train::Resume::parse("auto"), log);
    const auto& checkpoint = directory.checkpoint();
    const auto policy = load_tiny(checkpoint ? checkpoint->folder : start);
    train::AdamW optimizer(policy->parameters(), {}, config);
    train::TrainerState state;
    if (checkpoint) state = train::load_checkpoint(checkpoint->folder, optimizer);
    const auto reference = plan.algorithm.beta > 0 ? load_tiny(start) : nullptr;
    directory.open("", false);
    if (plan.block_completions_of_step)
      fs::create_directories(run_folder(name) / "completions" /
                             fmt::format("step-{:06}.jsonl/x", *plan.block_completions_of_step));
    std::vector<tasks::TaskConfig> tasks;
    for (const std::string& task : plan.tasks) tasks.push_back(tasks::make_task_config(task));
    tasks::resolve_tasks(tasks);
    tasks::PromptConfig prompt;
    prompt.style = tasks::PromptConfig::Style::kAnswer;
    const auto mixture = std::make_shared<const tasks::Mixture>(
        tasks, tasks::Wording(prompt, tasks),
        std::make_shared<const tasks::ImagePool>(tasks::find_images({folder_->path() / "images"}), 28), 5, false);
    const InterruptGuard interrupt;
    train::Communicator communicator;
    config.eval_every = plan.signal_in_step ? 1 : 0;
    rl::Run job{.seed = 5,
                .train = config,
                .logging = logging,
                .communicator = communicator,
                .policy = *policy,
                .optimizer = optimizer,
                .mixture = mixture,
                .data_threads = plan.data_threads,
                .max_prompt_length = {},
                .directory = directory,
                .state = state,
                .log = log,
                .interrupt = interrupt,
                .evaluate = [&](int64_t step, models::Model&) {
                  if (step == *plan.signal_in_step) {
                    if (plan.evaluation == Plan::Evaluation::kFails) fail("the evaluation fails");
                    std::raise(SIGTERM);
                    if (plan.evaluation == Plan::Evaluation::kIsCutOff) interrupt.check();
                  }
                  return EvalReport{{"rotation/accuracy", static_cast<double>(step)}};
                }};
    rollout::RolloutConfig rollout;
    rollout.num_generations = 3;
    rollout.max_completion_length = 16;
    rewards::RewardConfig reward;
    try {
      if (plan.kind == Kind::kRl) {
        Trainer(job, {plan.algorithm, rollout, reward, tasks::PromptConfig::Style::kAnswer}, reference.get()).run();
      } else {
        SupervisedTrainer(job, {SftConfig::Labels::kRandom}, tasks::PromptConfig::Style::kAnswer).run();
      }
    } catch (const Interrupted& stop) {
      return stop.signal;
    }
    return 0;
  }

  // The final weights and optimiser state of a run.
  [[nodiscard]] static std::map<std::string, Tensor> state_of(const std::string& name, int64_t step) {
    std::map<std::string, Tensor> all;
    const fs::path folder = run_folder(name) / "checkpoints" / train::checkpoint_name(step);
    for (const char* file : {"model.safetensors", "trainer/optimizer.safetensors"}) {
      const io::SafetensorsFile tensors(folder / file);
      for (const auto& [tensor, info] : tensors.tensors())
        all[std::string(file) + ":" + tensor] = tensors.tensor(tensor).clone();
    }
    return all;
  }
  static void expect_equal_bits(const std::string& a, const std::string& b, int64_t step) {
    const auto left = state_of(a, step), right = state_of(b, step);
    ASSERT_EQ(left.size(), right.size());
    for (const auto& [name, tensor] : left) EXPECT_TRUE(at::equal(tensor, right.at(name))) << name;
  }
  [[nodiscard]] static std::vector<Json> metrics_of(const std::string& name) {
    return json_lines(run_folder(name) / "metrics.jsonl");
  }

  inline static std::unique_ptr<TemporaryFolder> folder_;
};

Plan several_updates() {
  Plan plan;
  plan.prompts_per_update = 2;
  plan.algorithm.num_iterations = 2;
  plan.algorithm.beta = 0.1;
  return plan;
}

TEST_F(TrainerTest, AResumedRunEqualsAnUninterruptedOneBitForBit) {
  for (const Plan& whole : {Plan{}, several_updates(), Plan{.kind = Kind::kSupervised}}) {
    const std::string suffix = whole.kind == Kind::kSupervised ? "sft" : whole.algorithm.beta > 0 ? "updates" : "plain";
    ASSERT_EQ(run("whole-" + suffix, whole), 0);
    // The first part is the same configuration, killed behind its checkpoint: simulated by removing what came later.
    Plan saving = whole;
    saving.stop_after = 2;
    ASSERT_EQ(run("parts-" + suffix, saving), 0);
    fs::remove_all(run_folder("parts-" + suffix) / "checkpoints" / train::checkpoint_name(4));
    ASSERT_EQ(run("parts-" + suffix, saving), 0);
    expect_equal_bits("whole-" + suffix, "parts-" + suffix, 4);
    const auto a = metrics_of("whole-" + suffix), b = metrics_of("parts-" + suffix);
    if (whole.kind == Kind::kRl) {
      EXPECT_LT(a[1]["frac_reward_zero_std"].get<double>(), 1) << "the test needs groups that teach";
    }
    ASSERT_EQ(a.size(), 4u);
    ASSERT_EQ(b.size(), 4u) << "each step stands there once";
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(a[i]["loss"], b[i]["loss"]) << suffix << " step " << i + 1;
  }
}

TEST_F(TrainerTest, AStopOnRequestSavesTheLastFinishedStepAndGoesOnTheSame) {
  ASSERT_EQ(run("whole", {}), 0);
  Plan stopped;
  stopped.signal_in_step = 3;
  ASSERT_EQ(run("stopped", stopped), SIGTERM);
  const auto found = train::find_checkpoints(run_folder("stopped"));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].step, 3);
  EXPECT_EQ(train::damage_of(found[0].folder), std::nullopt);
  ASSERT_EQ(run("stopped", {}), 0);
  expect_equal_bits("whole", "stopped", 4);
}

TEST_F(TrainerTest, AnEvaluationThatIsCutOffIsDoneAgainAfterTheResume) {
  Plan whole;
  whole.signal_in_step = 99;
  ASSERT_EQ(run("whole", whole), 0);
  for (const int64_t step : {2, 4}) {
    const std::string name = "cut-" + std::to_string(step);
    Plan cut = whole;
    cut.signal_in_step = step;
    cut.evaluation = Plan::Evaluation::kIsCutOff;
    ASSERT_EQ(run(name, cut), SIGTERM);
    EXPECT_EQ(metrics_of(name).size(), static_cast<size_t>(step) - 1);
    cut.evaluation = Plan::Evaluation::kFails;
    EXPECT_EQ(error_of([&] { (void)run(name, cut); }), "the evaluation fails");
    ASSERT_EQ(run(name, whole), 0);
    const auto a = metrics_of("whole"), b = metrics_of(name);
    ASSERT_EQ(b.size(), 4u);
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(b[i]["step"], i + 1);
      EXPECT_EQ(a[i]["loss"], b[i]["loss"]);
      EXPECT_EQ(a[i]["eval/rotation/accuracy"], b[i]["eval/rotation/accuracy"]);
    }
    expect_equal_bits("whole", name, 4);
  }
}

TEST_F(TrainerTest, AStepThatFailsBeforeItsUpdateLosesNothing) {
  ASSERT_EQ(run("whole", {}), 0);
  Plan plan;
  plan.block_completions_of_step = 3;
  EXPECT_NE(error_of([&] { (void)run("failing", plan); }).find("step-000003.jsonl"), std::string::npos);
  const auto found = train::find_checkpoints(run_folder("failing"));
  ASSERT_EQ(found.size(), 1u) << "save_every is off; the state after step 2 is saved all the same";
  EXPECT_EQ(found[0].step, 2);
  fs::remove_all(run_folder("failing") / "completions/step-000003.jsonl");
  ASSERT_EQ(run("failing", {}), 0);
  expect_equal_bits("whole", "failing", 4);
}

TEST_F(TrainerTest, ThreadsOfTheDataDoNotMatter) {
  ASSERT_EQ(run("one", {}), 0);
  Plan many;
  many.data_threads = 5;
  ASSERT_EQ(run("many", many), 0);
  expect_equal_bits("one", "many", 4);
}

TEST_F(TrainerTest, TheCutIntoMicroBatchesDoesNotMatter) {
  for (const auto type :
       {AlgorithmConfig::LossType::kDapo, AlgorithmConfig::LossType::kGrpo, AlgorithmConfig::LossType::kDrGrpo}) {
    Plan large, small;
    large.steps = small.steps = 1;
    large.algorithm.loss_type = small.algorithm.loss_type = type;
    large.algorithm.beta = small.algorithm.beta = 0.5;
    small.micro_batch_tokens = 1;  // one sample each
    const std::string suffix = std::to_string(static_cast<int>(type));
    ASSERT_EQ(run("large" + suffix, large), 0);
    ASSERT_EQ(run("small" + suffix, small), 0);
    EXPECT_NEAR(metrics_of("large" + suffix)[0]["grad_norm"].get<double>(),
                metrics_of("small" + suffix)[0]["grad_norm"].get<double>(), 1e-5);
    const auto left = state_of("large" + suffix, 1), right = state_of("small" + suffix, 1);
    for (const auto& [name, tensor] : left)  // Adam's first moments are the gradient, a tenth of it
      if (name.ends_with("/exp_avg")) {
        EXPECT_LT(difference(tensor, right.at(name)), 1e-6) << name;
      }
  }
}

TEST_F(TrainerTest, EveryStepLogsTheDocumentedMetrics) {
  ASSERT_EQ(run("run", several_updates()), 0);
  const auto lines = metrics_of("run");
  ASSERT_EQ(lines.size(), 4u);
  for (const char* name : {"step",
                           "reward",
                           "reward_std",
                           "rewards/accuracy/mean",
                           "rewards/format/mean",
                           "tasks/rotation/reward",
                           "tasks/rotation/unparsed",
                           "frac_reward_zero_std",
                           "completions/mean_length",
                           "completions/min_length",
                           "completions/max_length",
                           "completions/clipped_ratio",
                           "kl",
                           "entropy",
                           "clip_ratio/low_mean",
                           "clip_ratio/high_mean",
                           "clip_ratio/region_mean",
                           "grad_norm",
                           "learning_rate",
                           "loss",
                           "logprob_gap/mean",
                           "logprob_gap/max",
                           "masked_mass/max",
                           "time/rollout",
                           "time/reward",
                           "time/update",
                           "time/total",
                           "tokens/s",
                           "memory"}) {
    ASSERT_TRUE(lines[3].contains(name)) << name;
    EXPECT_TRUE(lines[3][name].is_number()) << name;
  }
  EXPECT_LT(lines[3]["logprob_gap/mean"].get<double>(), 1e-5) << "sampler and trainer agree";
  EXPECT_GT(lines[3]["kl"].get<double>(), 0);
  const double length = lines[3]["completions/mean_length"].get<double>();
  EXPECT_TRUE(length >= 1 && length <= 16);
}

TEST_F(TrainerTest, ComparingTheTasksGradientsIsLoggedAndChangesNothing) {
  Plan plan = several_updates();
  plan.tasks = {"rotation", "flip"};
  ASSERT_EQ(run("plain", plan), 0);
  plan.conflicts_every = 2;
  ASSERT_EQ(run("compared", plan), 0);
  expect_equal_bits("plain", "compared", 4);
  const auto lines = metrics_of("compared");
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(lines[i].contains("gradient_cosine/flip/rotation"), i % 2 == 1) << i;
  const double cosine = lines[3]["gradient_cosine/flip/rotation"].get<double>();
  EXPECT_TRUE(cosine > -1 && cosine < 1 && cosine != 0) << cosine;
}

TEST(PairwiseCosines, OfKnownVectors) {
  const auto vector = [](std::vector<float> values) { return at::tensor(values); };
  const auto cosines = pairwise_cosines({{"a", {vector({1, 0}), vector({0})}},
                                         {"b", {vector({1, 1}), Tensor()}},
                                         {"c", {vector({-2, 0}), vector({0})}},
                                         {"none", {Tensor(), vector({0})}}},
                                        train::one_process());
  ASSERT_EQ(cosines.size(), 3u) << "no cosine with a gradient of 0";
  EXPECT_NEAR(cosines.at("a/b"), std::sqrt(0.5), 1e-7);
  EXPECT_NEAR(cosines.at("a/c"), -1, 1e-7);
  EXPECT_NEAR(cosines.at("b/c"), -std::sqrt(0.5), 1e-7);
}

TEST_F(TrainerTest, CompletionsAreWrittenWithTheirRewards) {
  Plan plan;
  plan.steps = 1;
  ASSERT_EQ(run("run", plan), 0);
  const std::vector<Json> lines = json_lines(run_folder("run") / "completions/step-000001.jsonl");
  ASSERT_EQ(lines.size(), 12u);
  const Json& line = lines[4];
  EXPECT_EQ(line["step"], 1);
  EXPECT_EQ(line["prompt_id"], "rotation/000001");
  EXPECT_EQ(line["sample"], 1);
  for (const char* key :
       {"task", "text", "answer", "extracted", "rewards", "reward", "advantage", "tokens", "finish_reason"})
    EXPECT_TRUE(line.contains(key)) << key;
  EXPECT_TRUE(line["rewards"].contains("accuracy") && line["rewards"].contains("format"));
}

TEST_F(TrainerTest, AGapBetweenSamplerAndTrainerIsAnError) {
  Plan plan;
  plan.algorithm.max_logprob_gap = 1e-12;
  const std::string message = error_of([&] { (void)run("run", plan); });
  EXPECT_NE(message.find("algorithm.max_logprob_gap"), std::string::npos) << message;
  EXPECT_TRUE(train::find_checkpoints(run_folder("run")).empty());
}

TEST_F(TrainerTest, TheSupervisedStartLearnsItsTargets) {
  const auto lines = metrics_of("start");
  ASSERT_EQ(lines.size(), 60u);
  EXPECT_GT(lines.front()["loss"].get<double>(), 4) << "an untrained model knows nothing of the form";
  EXPECT_LT(lines.back()["loss"].get<double>(), 0.5)
      << "the form is known; the labels are random, so their share stays";
}

}  // namespace
}  // namespace ssl4rl::rl
