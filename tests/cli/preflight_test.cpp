// What a run will need, said before it starts.
#include "preflight.h"

#include <gtest/gtest.h>

#include <regex>

#include "disk_estimate.h"
#include "support/errors.h"
#include "support/full_disk.h"
#include "support/images.h"
#include "support/program.h"
#include "support/training.h"

namespace ssl4rl::cli {
namespace {
namespace fs = std::filesystem;

class Preflight : public testing::Test {
 protected:
  Preflight() { draw_pictures(folder_.path() / "images", 6, 64); }

  int run(const Keys& changes = {}, const std::vector<std::string>& more = {}) {
    const Keys keys = with(small_run(folder_.path() / "images", {{"data.workers", 0},
                                                                 {"train.steps", 3},
                                                                 {"train.save_every", 1},
                                                                 {"rollout.num_generations", 2},
                                                                 {"rollout.max_completion_length", 4}}),
                           changes);
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    const int status = run_training(folder_.path(), keys, "train", more);
    out_ = testing::internal::GetCapturedStdout();
    err_ = testing::internal::GetCapturedStderr();
    return status;
  }
  int dry_run(const Keys& changes = {}) { return run(changes, {"--dry-run"}); }
  // The first number behind a text of the dry run.
  static double number_behind(const std::string& label, const std::string& text) {
    const size_t at = text.find(label);
    EXPECT_NE(at, std::string::npos) << label << " in " << text;
    return at == std::string::npos ? -1 : std::atof(text.c_str() + at + label.size());
  }
  [[nodiscard]] int64_t checkpoint_bytes() const {
    int64_t bytes = 0;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path() / "run/checkpoints/step-000003"))
      if (entry.path().extension() == ".safetensors") bytes += static_cast<int64_t>(entry.file_size());
    return bytes;
  }
  [[nodiscard]] fs::path run_folder() const { return folder_.path() / "run"; }

  TemporaryFolder folder_;
  std::string out_, err_;
};

RunConfig config_of(const std::vector<std::string>& overrides) {
  RunConfig config;
  read_run_config(config, overrides);
  return config;
}

MemoryEstimate estimate_of(const std::vector<std::string>& overrides, int ranks, at::ScalarType dtype = at::kFloat,
                           at::DeviceType device = at::kCPU) {
  const RunConfig config = config_of(overrides);
  const models::Processor processor(tiny_model());
  StepSample sample;
  sample.parts.push_back({"one", {}, {4}});
  sample.parts.front().prompt.ids.assign(100, 1);
  return estimate_memory(processor.config(), memory_question(config, processor.config(), sample, {}, ranks), dtype,
                         device);
}

TEST_F(Preflight, TooLittleSpaceForOneCheckpointIsRefusedBeforeAnythingIsWritten) {
  ASSERT_EQ(run(), 0) << err_;
  const int64_t bytes = checkpoint_bytes();
  fs::remove_all(run_folder());
  {
    const FreeSpace space(bytes * 9 / 10);
    EXPECT_EQ(run(), 2);
    EXPECT_NE(err_.find("a checkpoint takes about"), std::string::npos) << err_;
    EXPECT_NE(err_.find(run_folder().string()), std::string::npos) << err_;
    EXPECT_FALSE(fs::exists(run_folder()));
    EXPECT_EQ(dry_run(), 0) << "a dry run may be meant for another machine";
    EXPECT_NE(err_.find("a checkpoint takes about"), std::string::npos) << err_;
  }
  {
    const FreeSpace space(bytes * 3 / 2);
    EXPECT_EQ(run(), 0) << err_;
    EXPECT_NE(err_.find("3 checkpoints of about"), std::string::npos) << err_;
    fs::remove_all(run_folder());
  }
  const FreeSpace space(bytes * 7 / 2);
  EXPECT_EQ(run(), 0) << err_;
  EXPECT_EQ(err_.find("will not fit"), std::string::npos) << err_;
}

TEST_F(Preflight, TheExpectedCheckpointIsTheOneThatIsWritten) {
  ASSERT_EQ(run({{"train.steps", 3}}), 0) << err_;
  const double bytes = static_cast<double>(checkpoint_bytes());
  EXPECT_NEAR(static_cast<double>(estimate_of({}, 1).checkpoint) / bytes, 1, 0.02);
  EXPECT_EQ(estimate_of({}, 4).checkpoint, estimate_of({}, 1).checkpoint) << "whatever the number of ranks";
  fs::remove_all(run_folder());
  ASSERT_EQ(run({{"model.lora.rank", 8}, {"model.lora.vision", true}, {"model.lora.targets", "[all-linear]"}}), 0)
      << err_;
  const MemoryEstimate lora =
      estimate_of({"model.lora.rank=8", "model.lora.vision=true", "model.lora.targets=[all-linear]"}, 1);
  EXPECT_NEAR(static_cast<double>(lora.checkpoint) / static_cast<double>(checkpoint_bytes()), 1, 0.1) << "names count";
}

TEST_F(Preflight, RanksShareTheOptimiserAndThePromptsOfAStep) {
  const MemoryEstimate one = estimate_of({}, 1), four = estimate_of({}, 4);
  EXPECT_EQ(four.optimizer, one.optimizer / 4);
  EXPECT_EQ(four.weights, one.weights);
  EXPECT_EQ(four.gradients, one.gradients);
  EXPECT_EQ(one.collected, 0);
  EXPECT_EQ(four.collected, one.optimizer) << "on rank 0, to be saved";
  EXPECT_LT(four.cache, one.cache);
}

TEST_F(Preflight, AdaptersAreCountedAsTheyAreTrained) {
  const MemoryEstimate lora = estimate_of({"model.lora.rank=8"}, 1, at::kBFloat16);
  const RunConfig config = config_of({"model.lora.rank=8"});
  const auto processor = std::make_shared<const models::Processor>(tiny_model());
  models::Model model(tiny_model(), processor, at::kCPU, at::kBFloat16);
  models::add_adapters(model, config.model.lora, 1, tiny_model());
  int64_t adapters = 0;
  for (const auto& parameter : models::adapter_parameters(model)) {
    EXPECT_EQ(parameter.tensor->scalar_type(), at::kFloat);
    adapters += static_cast<int64_t>(parameter.tensor->nbytes());
  }
  EXPECT_EQ(lora.gradients, adapters);
  EXPECT_EQ(lora.optimizer, 2 * adapters) << "float32 needs no masters";
}

TEST_F(Preflight, ARunThatWillNotFitIsWarnedOfAndOneThatCannotIsRefused) {
  const MemoryEstimate estimate = estimate_of({}, 1);
  const int64_t fixed = estimate.weights + estimate.gradients + estimate.optimizer;
  const Log log(Log::Level::kWarn);
  const auto warning = [&](int64_t left) {
    testing::internal::CaptureStderr();
    check_memory(estimate, left, log);
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(warning(estimate.peak()), "");
  EXPECT_NE(warning(estimate.peak() - 1).find("the run is expected to need"), std::string::npos);
  EXPECT_NE(warning(fixed).find("the run is expected to need"), std::string::npos);
  EXPECT_NE(error_of([&] { check_memory(estimate, fixed - 1, log); }).find("weights, gradients and optimiser need"),
            std::string::npos);
}

TEST_F(Preflight, ADryRunWarnsOfMemoryAndTriesNothingThatDoesNotFit) {
  EXPECT_EQ(
      dry_run({{"rollout.max_completion_length", int64_t{1} << 40}, {"train.micro_batch_tokens", int64_t{1} << 42}}), 0)
      << err_;
  EXPECT_NE(err_.find("the run is expected to need"), std::string::npos) << err_;
  EXPECT_NE(out_.find("not tried: it would need"), std::string::npos) << out_;
}

TEST_F(Preflight, RanksOfAMachineShareItsMemory) {
  const auto one = memory_of_rank({}, {}), half = memory_of_rank({}, {.local_ranks = 2});
  ASSERT_TRUE(one && half);
  EXPECT_NEAR(static_cast<double>(*half) / static_cast<double>(*one), 0.5, 0.1);
}

TEST_F(Preflight, OnAGpuOnlyItsOwnMemoryCounts) {
  const std::vector<std::string> offload{"train.offload=[optimizer, reference]", "algorithm.beta=0.1"};
  const MemoryEstimate host = estimate_of(offload, 1, at::kBFloat16),
                       gpu = estimate_of(offload, 1, at::kBFloat16, at::kCUDA);
  EXPECT_EQ(gpu.weights, host.weights);
  EXPECT_EQ(gpu.gradients, 2 * gpu.weights) << "float32";
  EXPECT_GT(host.optimizer + host.reference, 0);
  EXPECT_EQ(gpu.optimizer + gpu.reference, 0);
  EXPECT_EQ(estimate_of({}, 1, at::kFloat, at::kCUDA).packed, 0);
}

TEST_F(Preflight, ADryRunSaysWhenItWillEndAndHowEarlyASignalMustCome) {
  ASSERT_EQ(dry_run({{"train.steps", 1000000}}), 0) << err_;
  EXPECT_TRUE(std::regex_search(out_, std::regex(R"(1000000 steps .*, to \d{4}-\d\d-\d\d \d\d:\d\d if started now)")))
      << out_;
  EXPECT_NE(out_.find("MB/s, measured on 64 MiB"), std::string::npos) << out_;
  EXPECT_EQ(number_behind("--signal=B:USR1@", out_), 30) << "the least for a tiny model: " << out_;
  EXPECT_FALSE(fs::exists(run_folder()));
}

TEST_F(Preflight, TheSignalsTimeGrowsWithTheCheckpointAndWithWhatCannotBeInterrupted) {
  const RunConfig config = config_of({"run.name=run", "run.output_dir=" + folder_.path().string()});
  MemoryEstimate estimate;
  const auto seconds = [&](double deaf) {
    return number_behind("--signal=B:USR1@", signal_text(config, estimate, deaf));
  };
  EXPECT_EQ(seconds(0), 30);
  EXPECT_EQ(seconds(400), 600) << "half as much again";
  estimate.checkpoint = int64_t{1} << 43;
  EXPECT_GT(seconds(0), 300) << "eight tebibytes";
}

TEST_F(Preflight, ADryRunOfSeveralRanksIsOfOneOfThem) {
  ASSERT_EQ(run({}, {"--dry-run"}), 0) << err_;
  const Outcome two = run_program({"train", "--config", (folder_.path() / "run.yaml").string(), "--nproc", "2", "--set",
                                   "data.images=" + (folder_.path() / "images").string(), "--set", "data.min_side=28",
                                   "--set", "tasks=[rotation]", "--set", "train.steps=3", "--set",
                                   "train.prompts_per_step=2", "--quiet", "--dry-run"});
  ASSERT_EQ(two.status, 0) << two.err;
  EXPECT_NE(two.out.find("memory and times are those of one of 2 ranks"), std::string::npos) << two.out;
  EXPECT_NE(two.out.find("all ranks' optimiser on rank 0 while saving"), std::string::npos) << two.out;
  EXPECT_EQ(two.out.find("estimate"), two.out.rfind("estimate")) << "one rank speaks: " << two.out;
  EXPECT_FALSE(fs::exists(run_folder()));
}

}  // namespace
}  // namespace ssl4rl::cli
