// What befalls a run from outside, and what becomes of it (docs/faults.md).
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <ctime>

#include "ssl4rl/io/hash.h"
#include "ssl4rl/train/checkpoint.h"
#include "support/full_disk.h"
#include "support/images.h"
#include "support/program.h"
#include "support/training.h"

namespace ssl4rl {
namespace {
namespace fs = std::filesystem;

class Faults : public testing::Test {
 protected:
  Faults() {
    draw_pictures(images(), 6, 64);
    keys_ = small_run(images(), {{"data.workers", 0},
                                 {"train.steps", 3},
                                 {"train.learning_rate", 0.001},
                                 {"train.save_every", 1},
                                 {"train.keep_last", 1}});
  }
  [[nodiscard]] fs::path images() const { return folder_.path() / "images"; }
  [[nodiscard]] fs::path run_folder() const { return folder_.path() / "run"; }

  // A supervised run in this process. The messages are kept.
  int run(const Keys& changes = {}, const std::string& resume = "auto") {
    const Keys keys = with(keys_, changes);
    testing::internal::CaptureStderr();
    const int status = run_training(folder_.path(), keys, "sft", {"--resume", resume});
    messages_ = testing::internal::GetCapturedStderr();
    return status;
  }
  [[nodiscard]] size_t errors() const {
    size_t count = 0;
    for (size_t at = 0; (at = messages_.find("ssl4rl: error: ", at)) != std::string::npos; ++at) ++count;
    return count;
  }
  // The files of the last checkpoint and the losses: what must not depend on a fault.
  [[nodiscard]] std::string results() const {
    const fs::path last = run_folder() / "checkpoints/step-000003";
    std::string text;
    for (const char* file : {"model.safetensors", "trainer/optimizer.safetensors"})
      text += io::sha256_hex_of_file(last / file) + " ";
    for (const auto& line : metrics_of(folder_.path())) text += line["loss"].dump() + " ";
    return text;
  }
  // A run in a process of its own, with the reward's algorithm and an endless number of steps.
  [[nodiscard]] std::vector<std::string> endless_run() const {
    io::write_file(folder_.path() / "endless.yaml",
                   fmt::format("run: {{name: run, output_dir: {}, threads: 1}}\nmodel: {{path: {}}}\n"
                               "data: {{images: {}, min_side: 28, workers: 0}}\ntasks: [rotation]\n"
                               "prompt: {{style: answer}}\n"
                               "rollout: {{num_generations: 2, max_completion_length: 4}}\n"
                               "train: {{steps: 1000000, prompts_per_step: 2}}\n",
                               folder_.path().string(), tiny_model().string(), images().string()));
    return {"train", "--config", (folder_.path() / "endless.yaml").string(), "--quiet"};
  }
  [[nodiscard]] std::string when_a_step_is_done(const std::string& action) const {
    return " & run=$!; until [ -s " + quoted((run_folder() / "metrics.jsonl").string()) +
           " ]; do kill -0 $run || exit 99; sleep 0.02; done; " + action + "; wait $run";
  }

  TemporaryFolder folder_;
  Keys keys_;
  std::string messages_;
};

TEST_F(Faults, ADiskThatIsFullFromAnyWriteOnIsOneMessageAndLosesNothing) {
  keys_["log.tensorboard"] = true;
  int64_t operations = 0;
  {
    const FullDisk counter(run_folder(), 1 << 30);
    ASSERT_EQ(run(), 0) << messages_;
    operations = counter.operations();
  }
  const std::string expected = results();
  ASSERT_GT(operations, 50);
  const bool all = std::getenv("SSL4RL_ALL_WRITES") != nullptr;
  std::map<int, int64_t> ends;  // runs by status
  for (int64_t from = 1; from <= operations; from += all ? 1 : 17) {
    fs::remove_all(run_folder());
    int status = 0;
    {
      const FullDisk full(run_folder(), from);
      status = run();
    }
    ++ends[status];
    if (status == 0) continue;  // in the background writes come in another order, and fewer may be needed
    EXPECT_EQ(errors(), 1u) << from << ": " << messages_;
    EXPECT_NE(messages_.find("No space left on device"), std::string::npos) << from << ": " << messages_;
    const fs::path metrics = run_folder() / "metrics.jsonl";
    const bool has_metrics = fs::exists(metrics) && fs::file_size(metrics) > 0;
    EXPECT_TRUE(status == 1 || (status == 2 && !has_metrics)) << from << ": " << messages_;
    for (const auto& found : train::find_checkpoints(run_folder()))
      EXPECT_EQ(train::damage_of(found.folder), std::nullopt) << from;
    ASSERT_EQ(run(), 0) << from << ": " << messages_;
    EXPECT_EQ(results(), expected) << from;
  }
  if (all)
    fmt::print("{} writes, syncs and renames; status 2: {} runs, 1: {}, 0: {}\n", operations, ends[2], ends[1],
               ends[0]);
}

TEST_F(Faults, ValuesThatAreNotFiniteEndTheRunAndKeepTheStateBeforeThem) {
  EXPECT_EQ(run({{"train.learning_rate", 1e30}, {"train.max_skipped", 1}, {"train.save_every", 0}, {"train.steps", 9}}),
            1);
  EXPECT_EQ(errors(), 1u) << messages_;
  EXPECT_NE(messages_.find("2 updates in a row had a loss or gradient that is not finite"), std::string::npos)
      << messages_;
  ASSERT_EQ(train::find_checkpoints(run_folder()).size(), 1u) << messages_;
  EXPECT_EQ(metrics_of(folder_.path()).size(), static_cast<size_t>(train::find_checkpoints(run_folder())[0].step));
}

TEST_F(Faults, AFolderOfImagesThatVanishesEndsTheRunWithItsStateSaved) {
  const Outcome outcome = run_program(endless_run(), "", when_a_step_is_done("rm -r " + quoted(images().string())));
  EXPECT_EQ(outcome.status, 1) << outcome.err;
  EXPECT_NE(outcome.err.find("can be used; for example"), std::string::npos) << outcome.err;
  const auto found = train::find_checkpoints(run_folder());
  ASSERT_EQ(found.size(), 1u) << outcome.err;
  EXPECT_EQ(metrics_of(folder_.path()).size(), static_cast<size_t>(found[0].step));
}

TEST_F(Faults, TooLittleMemoryIsOneMessageWithNumbers) {
  // Address space for the program and a small run, not for this one's micro-batch.
  auto arguments = endless_run();
  for (const char* set : {"rollout.num_generations=64", "rollout.max_completion_length=64",
                          "train.micro_batch_tokens=1000000", "train.steps=1", "train.prompts_per_step=8"})
    arguments.insert(arguments.end(), {"--set", set});
  const Outcome outcome = run_program(arguments, "ulimit -v 700000;");
  EXPECT_EQ(outcome.status, 1) << outcome.err;
  EXPECT_NE(outcome.err.find("out of memory"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("GiB"), std::string::npos) << outcome.err;
}

TEST_F(Faults, AModelThatCannotFitIsRefusedBeforeItIsLoaded) {
  const fs::path model = folder_.path() / "model";
  fs::copy(tiny_model(), model);
  auto config = io::read_json(model / "config.json");
  auto& text = config.contains("text_config") ? config["text_config"] : config;
  text["intermediate_size"] = int64_t{1} << 36;
  io::write_file(model / "config.json", config.dump());
  EXPECT_EQ(run({{"model.path", model.string()}}), 2);
  EXPECT_NE(messages_.find("weights, gradients and optimiser need"), std::string::npos) << messages_;
  EXPECT_FALSE(fs::exists(run_folder()));
}

TEST_F(Faults, TheModelsFolderIsOnlyRead) {
  const fs::path model = folder_.path() / "model";
  fs::copy(tiny_model(), model);
  const auto snapshot = [&] {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(model))
      files[entry.path().string()] = io::sha256_hex_of_file(entry.path());
    return files;
  };
  const auto before = snapshot();
  for (const auto& entry : fs::directory_iterator(model)) fs::permissions(entry.path(), fs::perms::owner_read);
  fs::permissions(model, fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_EQ(run({{"model.path", model.string()}}), 0) << messages_;
  fs::permissions(model, fs::perms::owner_all);
  EXPECT_EQ(snapshot(), before);
}

TEST_F(Faults, AFolderThatCannotBeWrittenIsNamedBeforeTheWork) {
  EXPECT_EQ(run({{"run.output_dir", "/proc"}}), 2);
  EXPECT_EQ(errors(), 1u);
  EXPECT_NE(messages_.find("/proc/run"), std::string::npos) << messages_;
}

TEST_F(Faults, AClockThatJumpsBackAndForthChangesNoResultAndNoDuration) {
  keys_["train.keep_last"] = 3;
  keys_["log.tensorboard"] = true;
  ASSERT_EQ(run(), 0) << messages_;
  const std::string expected = results();
  fs::remove_all(run_folder());
  const auto jump = [this](const std::vector<std::string>& more) {
    return run_program(training_arguments(folder_.path(), keys_, "sft", more),
                       std::string("LD_PRELOAD=") + quoted(SSL4RL_JUMPING_CLOCK));
  };
  const Outcome whole = jump({});
  ASSERT_EQ(whole.status, 0) << whole.err;
  EXPECT_EQ(results(), expected);
  bool jumped = false;
  for (const auto& entry : fs::directory_iterator(run_folder()))
    if (const std::string name = entry.path().filename().string(); name.starts_with("events.out.tfevents."))
      jumped = std::abs(std::atoll(name.c_str() + 20) - std::time(nullptr)) > 1000;
  EXPECT_TRUE(jumped) << "the event file is named by the clock";
  for (const auto& line : metrics_of(folder_.path())) {
    EXPECT_GT(line["time/total"].get<double>(), 0);
    EXPECT_LT(line["time/total"].get<double>(), 600);
  }
  // The newest checkpoint is the one of the highest step, whatever the files' times.
  io::write_file(run_folder() / "checkpoints/step-000003/config.json", "{");
  const auto checkpoint = [this](int step) { return run_folder() / fmt::format("checkpoints/step-{:06}", step); };
  fs::last_write_time(checkpoint(2) / "manifest.json", fs::file_time_type::min() + std::chrono::hours(1));
  fs::last_write_time(checkpoint(1) / "manifest.json", fs::file_time_type::clock::now() + std::chrono::hours(90000));
  const Outcome resumed = jump({"--resume", "auto", "--log-level", "info"});
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_NE(resumed.err.find("step 2 of 3"), std::string::npos) << resumed.err;
  EXPECT_EQ(results(), expected);

  fs::remove_all(run_folder());
  const Outcome several = jump({"--nproc", "2"});
  EXPECT_EQ(several.status, 0) << several.err;
}

}  // namespace
}  // namespace ssl4rl
