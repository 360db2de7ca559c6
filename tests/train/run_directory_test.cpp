#include "ssl4rl/train/run_directory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "ssl4rl/io/hash.h"
#include "ssl4rl/train/best.h"
#include "support/errors.h"
#include "support/model_cases.h"
#include "support/temporary_folder.h"

namespace ssl4rl::train {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

class RunFolder : public testing::Test {
 protected:
  RunFolder() : model_(load_tiny()), optimizer_(model_->parameters(), {}, TrainConfig{}) {}

  fs::path run() const { return folder_.path() / "run"; }
  fs::path checkpoint(int64_t step) const { return run() / "checkpoints" / checkpoint_name(step); }
  void save(int64_t step) { write_checkpoint(checkpoint(step), {*model_, optimizer_, {step, 0, 7}}); }
  std::string file(const fs::path& name) const { return io::read_file(run() / name); }

  TemporaryFolder folder_;
  std::unique_ptr<models::Model> model_;
  AdamW optimizer_;
  Log log_{Log::Level::kOff};
};

TEST_F(RunFolder, ACheckpointHoldsAModelDirectoryAndEveryFilesHash) {
  save(50);
  for (const char* name :
       {"config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json", "generation_config.json",
        "tokenizer_config.json", "trainer/state.json", "trainer/optimizer.safetensors", "manifest.json"})
    EXPECT_TRUE(fs::exists(checkpoint(50) / name)) << name;
  const Json files = io::read_json(checkpoint(50) / "manifest.json").at("files");
  size_t count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(checkpoint(50))) {
    if (!entry.is_regular_file() || entry.path().filename() == "manifest.json") continue;
    ++count;
    const Json& listed = files.at(entry.path().lexically_relative(checkpoint(50)).generic_string());
    EXPECT_EQ(listed["size"], fs::file_size(entry.path()));
    EXPECT_EQ(listed["sha256"], io::sha256_hex_of_file(entry.path()));
  }
  EXPECT_EQ(count, files.size());
  EXPECT_EQ(damage_of(checkpoint(50)), std::nullopt);
  const TrainerState state = load_checkpoint(checkpoint(50), optimizer_);
  EXPECT_EQ(state.step, 50);
  EXPECT_EQ(state.skipped_updates, 7);
}

TEST_F(RunFolder, DamageIsFoundAndTheNewestWholeCheckpointTaken) {
  for (const int64_t step : {10, 20, 30, 40}) save(step);
  EXPECT_EQ(newest_whole_checkpoint(run(), log_)->step, 40);
  fs::remove(checkpoint(40) / "manifest.json");
  EXPECT_NE(damage_of(checkpoint(40)).value().find("manifest.json"), std::string::npos);
  fs::resize_file(checkpoint(30) / "model.safetensors", fs::file_size(checkpoint(30) / "model.safetensors") - 1);
  EXPECT_NE(damage_of(checkpoint(30)).value().find("bytes instead of"), std::string::npos);
  EXPECT_EQ(newest_whole_checkpoint(run(), log_)->step, 20);
  std::string config = io::read_file(checkpoint(20) / "config.json");
  config[5] ^= 1;
  io::write_file(checkpoint(20) / "config.json", config);
  EXPECT_EQ(damage_of(checkpoint(20)), "config.json differs from its SHA-256");
  EXPECT_EQ(newest_whole_checkpoint(run(), log_)->step, 10);
  fs::remove(checkpoint(10) / "trainer/state.json");
  EXPECT_EQ(newest_whole_checkpoint(run(), log_), std::nullopt);
}

TEST_F(RunFolder, AManifestCannotPointOutsideItsFolder) {
  save(1);
  Json manifest = io::read_json(checkpoint(1) / "manifest.json");
  manifest["files"]["../../secret"] = {{"size", 0}, {"sha256", ""}};
  io::write_file(checkpoint(1) / "manifest.json", manifest.dump());
  EXPECT_NE(damage_of(checkpoint(1)).value().find("is not a file of the checkpoint"), std::string::npos);
}

TEST_F(RunFolder, OldCheckpointsAreRemovedButTheLastAndTheMultiples) {
  for (int64_t step = 10; step <= 60; step += 10) save(step);
  TrainConfig config;
  remove_old_checkpoints(run(), config, {}, log_);
  EXPECT_EQ(find_checkpoints(run()).size(), 6u) << "unset keeps all";
  config.keep_last = 2;
  config.keep_every = 30;
  remove_old_checkpoints(run(), config, {}, log_);
  std::vector<int64_t> left;
  for (const auto& found : find_checkpoints(run())) left.push_back(found.step);
  EXPECT_EQ(left, (std::vector<int64_t>{30, 50, 60}));
}

TEST_F(RunFolder, TheBestCheckpointsStayBesidesTheLast) {
  TrainConfig config;
  config.keep_best = 1;
  const std::vector<double> scores{0.2, 0.7, 0.7, 0.1};
  for (int64_t step = 1; step <= 4; ++step) {
    save(step);
    EXPECT_EQ(note_score(run(), step, scores[static_cast<size_t>(step) - 1], 1).front(), step == 1 ? 1 : 2);
    remove_old_checkpoints(run(), config, best_steps(run(), 1), log_);
  }
  std::vector<int64_t> left;
  for (const auto& found : find_checkpoints(run())) left.push_back(found.step);
  EXPECT_EQ(left, (std::vector<int64_t>{2, 4})) << "of equal ones the earlier is the best";
  EXPECT_EQ(note_score(run(), 2, 0.05, 2), (std::vector<int64_t>{1, 2})) << "a resume forgets what came later";
}

TEST_F(RunFolder, ARunIsNeverOverwrittenUnasked) {
  {
    RunDirectory fresh(run(), Resume::parse("never"), log_);
    fresh.open("a: 1\n", false);
    fresh.log_metrics(1, {{"step", 1}, {"reward", 0.5}});
  }
  const std::string message = error_of([&] { RunDirectory(run(), Resume::parse("never"), log_); });
  EXPECT_NE(message.find("holds a run already"), std::string::npos);
  EXPECT_NE(message.find("--resume auto"), std::string::npos);
  EXPECT_EQ(file("metrics.jsonl"), "{\"step\":1,\"reward\":0.5}\n");
  RunDirectory anew(run(), Resume::parse("auto"), log_);
  EXPECT_FALSE(anew.checkpoint()) << "auto with nothing to resume starts anew";
}

TEST_F(RunFolder, AResumeCutsWhatCameAfterTheCheckpoint) {
  {
    RunDirectory first(run(), {}, log_);
    first.open("a: 1\n", true);
    for (int64_t step = 1; step <= 6; ++step) {
      first.log_metrics(step, {{"step", step}});
      first.write_completions(step, "{}\n");
    }
    save(4);
  }
  io::write_file(run() / "metrics.jsonl", file("metrics.jsonl") + "{\"step\":7,\"rew");  // killed while writing
  fs::create_directories(run() / "checkpoints/step-000006.tmp-77");                      // and while saving
  RunDirectory second(run(), Resume::parse("auto"), log_);
  ASSERT_TRUE(second.checkpoint());
  EXPECT_EQ(second.checkpoint()->step, 4);
  second.open("a: 1\n", true);
  EXPECT_EQ(file("metrics.jsonl"), "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"step\":4}\n");
  EXPECT_TRUE(fs::exists(run() / "completions/step-000004.jsonl"));
  EXPECT_FALSE(fs::exists(run() / "completions/step-000005.jsonl"));
  EXPECT_FALSE(fs::exists(run() / "checkpoints/step-000006.tmp-77"));
  second.log_metrics(5, {{"step", 5}});
  EXPECT_TRUE(file("metrics.jsonl").ends_with("{\"step\":4}\n{\"step\":5}\n"));
}

TEST_F(RunFolder, TwoProcessesCannotShareARun) {
  RunDirectory one(run(), {}, log_);
  one.open("", false);
  const std::string message = error_of([&] { RunDirectory(run(), Resume::parse("auto"), log_); });
  EXPECT_EQ(error_of([&] { RunDirectory(run(), Resume::parse("never"), log_); }), message);
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  EXPECT_NE(message.find(fmt::format("in use by process {} on {}", getpid(), host)), std::string::npos) << message;
  RunDirectory look(run(), Resume::parse("auto"), log_, RunDirectory::Purpose::kLook);  // a dry run may look
}

TEST_F(RunFolder, AGivenCheckpointMustBeWhole) {
  save(3);
  RunDirectory from(folder_.path() / "other", Resume::parse(checkpoint(3).string()), log_);
  EXPECT_EQ(from.checkpoint()->step, 3);
  RunDirectory from_run(folder_.path() / "other", Resume::parse(run().string()), log_);
  EXPECT_EQ(from_run.checkpoint()->step, 3);
  fs::remove(checkpoint(3) / "tokenizer.json");
  EXPECT_NE(error_of([&] {
              RunDirectory(run(), Resume::parse(checkpoint(3).string()), log_);
            }).find("tokenizer.json is missing"),
            std::string::npos);
  EXPECT_NE(error_of([&] { (void)Resume::parse((folder_.path() / "nothing").string()); }).find("expected auto, never"),
            std::string::npos);
}

}  // namespace
}  // namespace ssl4rl::train
