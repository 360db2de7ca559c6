// What a run that is continued may change.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "support/images.h"
#include "support/training.h"

namespace ssl4rl {
namespace {
namespace fs = std::filesystem;

class ChangedRun : public testing::Test {
 protected:
  ChangedRun() {
    draw_pictures(folder_.path() / "images", 6, 64);
    EXPECT_EQ(run({}), 0);
  }
  int run(const Keys& changes, const std::string& resume = "auto") {
    const Keys keys =
        with(small_run(folder_.path() / "images",
                       {{"rollout.num_generations", 2}, {"rollout.max_completion_length", 3}, {"train.steps", 2}}),
             changes);
    testing::internal::CaptureStderr();
    const int status = run_training(folder_.path(), keys, "train", {"--resume", resume, "--log-level", "info"});
    messages_ = testing::internal::GetCapturedStderr();
    return status;
  }
  [[nodiscard]] bool says(const std::string& part) const { return messages_.find(part) != std::string::npos; }
  [[nodiscard]] size_t steps() const { return metrics_of(folder_.path()).size(); }

  TemporaryFolder folder_;
  std::string messages_;
};

TEST_F(ChangedRun, MoreStepsAndOtherSavingAreListedAndGoOn) {
  EXPECT_EQ(run({{"train.steps", 3}, {"train.save_every", 1}, {"run.threads", 2}}), 0) << messages_;
  EXPECT_EQ(steps(), 3u);
  EXPECT_TRUE(says("train.steps is 3 (was 2)")) << messages_;
  EXPECT_TRUE(says("run.threads is 2 (was 1)")) << messages_;
}

TEST_F(ChangedRun, WhatWouldMakeItAnotherRunIsRefusedAndNamed) {
  const Keys changes{{"train.steps", 3}, {"run.seed", 7}, {"train.learning_rate", 0.01}, {"tasks", "[rotation, flip]"}};
  EXPECT_EQ(run(changes), 2);
  for (const char* part : {"run.seed is 7 (was 0)", "train.learning_rate is 0.01 (was 1e-06)",
                           "tasks[1].name is \"flip\" (was not there)", "run.accept_changes"})
    EXPECT_TRUE(says(part)) << part << ": " << messages_;
  EXPECT_EQ(messages_.find("train.steps is 3", messages_.find("ssl4rl: error")), std::string::npos)
      << "the error names what is refused alone";
  EXPECT_EQ(steps(), 2u) << "nothing was touched";

  EXPECT_EQ(run({{"train.steps", 3}, {"train.learning_rate", 0.01}, {"run.accept_changes", true}}), 0) << messages_;
  EXPECT_EQ(steps(), 3u);
  EXPECT_TRUE(says("train.learning_rate is 0.01 (was 1e-06)")) << messages_;
}

TEST_F(ChangedRun, MoreStepsAreTakenAndWhatTheyMeanForTheLearningRateIsSaid) {
  fs::remove_all(folder_.path() / "run");
  ASSERT_EQ(run({{"train.lr_scheduler", "linear"}}), 0) << messages_;
  EXPECT_EQ(run({{"train.lr_scheduler", "linear"}, {"train.steps", 3}}), 0) << messages_;
  EXPECT_TRUE(says("train.steps is 3 (was 2); the learning rates that follow change with it")) << messages_;
}

TEST_F(ChangedRun, ACheckpointOfAnotherRunIsComparedToo) {
  const std::string checkpoint = (folder_.path() / "run/checkpoints/step-000002").string();
  EXPECT_EQ(run({{"run.name", "other"}, {"train.steps", 3}, {"prompt.style", "think"}}, checkpoint), 2);
  EXPECT_TRUE(says("prompt.style is think (was answer)")) << messages_;
  EXPECT_EQ(run({{"run.name", "other"}, {"train.steps", 3}}, checkpoint), 0) << messages_;
}

TEST_F(ChangedRun, WhatWasChosenAtTheStartStandsInTheRunsFileAndIsKept) {
  const fs::path file = folder_.path() / "run/config.yaml";
  const auto text_with = [&](const std::string& from, const std::string& to) {
    std::string text = io::read_file(file);
    EXPECT_NE(text.find(from), std::string::npos) << text;
    return text.replace(text.find(from), from.size(), to);
  };
  io::write_file(file, text_with("threads: 1", "threads: 3"));
  EXPECT_EQ(run({{"train.steps", 3}, {"run.threads", "~"}, {"model.dtype", "auto"}}), 0) << messages_;
  EXPECT_EQ(at::get_num_threads(), 3);
  EXPECT_FALSE(says("by trial")) << messages_;
  EXPECT_FALSE(says("model.dtype is")) << messages_;
  EXPECT_NE(io::read_file(file).find("threads: 3"), std::string::npos);
  EXPECT_NE(io::read_file(file).find("dtype: float32"), std::string::npos);
}

TEST_F(ChangedRun, TheNumberOfThreadsChangesNoBit) {
  std::vector<std::string> weights;
  for (const int threads : {1, 2, 5}) {
    EXPECT_EQ(run({{"run.name", fmt::format("with-{}", threads)},
                   {"run.threads", threads},
                   {"train.learning_rate", 0.01},
                   {"train.max_grad_norm", 0.01},
                   {"algorithm.entropy_coef", 0.1},
                   {"rollout.max_completion_length", 20}},
                  "never"),
              0)
        << messages_;
    weights.push_back(
        io::read_file(folder_.path() / fmt::format("with-{}/checkpoints/step-000002/model.safetensors", threads)));
  }
  EXPECT_NE(weights[0], io::read_file(tiny_model() / "model.safetensors"));
  EXPECT_TRUE(weights[0] == weights[1]);
  EXPECT_TRUE(weights[0] == weights[2]);
}

TEST_F(ChangedRun, AFreshRunThatLeavesTheThreadsOpenChoosesAndNotesThem) {
  EXPECT_EQ(run({{"run.name", "open"}, {"run.threads", "~"}}, "never"), 0) << messages_;
  EXPECT_NE(io::read_file(folder_.path() / "open/config.yaml").find(fmt::format("threads: {}", at::get_num_threads())),
            std::string::npos);
}

}  // namespace
}  // namespace ssl4rl
