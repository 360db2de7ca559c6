#include "ssl4rl/eval/task_bench.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "ssl4rl/io/file.h"
#include "support/images.h"
#include "support/json_lines.h"
#include "support/model_cases.h"
#include "support/temporary_folder.h"

namespace ssl4rl::eval {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

class TaskBenchTest : public testing::Test {
 protected:
  TaskBenchTest() : model_(load_tiny()) {
    draw_pictures(folder_.path() / "images", 10, 64);
    std::vector<tasks::TaskConfig> tasks{tasks::make_task_config("rotation")};
    tasks::resolve_tasks(tasks);
    tasks::PromptConfig prompt;
    prompt.style = tasks::PromptConfig::Style::kAnswer;
    bench_ = {
        .task = "rotation",
        .mixture = std::make_shared<const tasks::Mixture>(
            tasks, tasks::Wording(prompt, tasks),
            std::make_shared<const tasks::ImagePool>(tasks::find_images({folder_.path() / "images"}), 28), 3, false),
        .reward = {},
        .style = prompt.style,
        .samples = 9,
        .max_new_tokens = 5};
  }

  TaskResult run(
      const std::string& model = "model a", const std::function<void()>& poll = [] {}) const {
    return run_task_bench(bench_, *model_, model, folder_.path() / "out", log_, poll);
  }
  [[nodiscard]] fs::path predictions() const { return folder_.path() / "out/rotation/predictions.jsonl"; }
  [[nodiscard]] std::vector<Json> lines() const { return json_lines(predictions()); }

  TemporaryFolder folder_;
  std::unique_ptr<models::Model> model_;
  TaskBench bench_;
  Log log_{Log::Level::kOff};
};

TEST_F(TaskBenchTest, PredictionsHoldWhatWasAskedAndAnswered) {
  const TaskResult result = run();
  EXPECT_EQ(result.samples, 9);
  EXPECT_EQ(result.chance, 0.25);
  EXPECT_EQ(result.accuracy, 0) << "five tokens of a random model are no answer";
  EXPECT_EQ(result.unparsed, 1);
  const auto all = lines();
  ASSERT_EQ(all.size(), 10u);
  EXPECT_TRUE(all[0].contains("fingerprint"));
  for (size_t i = 1; i < all.size(); ++i) {
    EXPECT_EQ(all[i]["index"], i - 1);
    for (const char* key : {"prediction", "extracted", "hit", "prompt_tokens", "tokens", "answer"})
      EXPECT_TRUE(all[i].contains(key)) << key;
  }
  const Json json = io::read_json(folder_.path() / "out/rotation/result.json");
  EXPECT_EQ(json["samples"], 9);
  EXPECT_EQ(json["overall"], 0.0);
}

TEST_F(TaskBenchTest, AnInterruptedEvaluationGoesOnWhereItStopped) {
  (void)run();
  const std::string whole = io::read_file(predictions());
  size_t end = 0;
  for (int line = 0; line < 5; ++line) end = whole.find('\n', end) + 1;
  io::write_file(predictions(), whole.substr(0, end + 20));  // killed in the middle of the sixth line
  const TaskResult result = run();
  EXPECT_EQ(result.samples, 9);
  EXPECT_EQ(io::read_file(predictions()), whole) << "nothing lost, nothing asked twice, and the same answers";
}

TEST_F(TaskBenchTest, AnotherModelStartsAnew) {
  (void)run("model a");
  const auto before = lines();
  (void)run("model b");
  const auto after = lines();
  EXPECT_EQ(after.size(), before.size());
  EXPECT_NE(after[0], before[0]);
}

TEST_F(TaskBenchTest, HitsThatStandInTheFileAreCounted) {
  (void)run();
  std::string text;
  int number = 0;
  for (Json line : lines()) {
    if (line.contains("index")) {
      line["hit"] = ++number <= 3 ? 1.0 : 0.0;
      line["unparsed"] = number > 6;
    }
    text += line.dump() + "\n";
  }
  io::write_file(predictions(), text);
  const TaskResult result = run();
  EXPECT_NEAR(result.accuracy, 3.0 / 9, 1e-12);
  EXPECT_NEAR(result.solved, 3.0 / 9, 1e-12);
  EXPECT_NEAR(result.unparsed, 3.0 / 9, 1e-12);
  EXPECT_NEAR(result.standard_error, std::sqrt(1.0 / 3 * 2.0 / 3 / 9), 1e-12);
}

TEST_F(TaskBenchTest, TheVersionWithoutFilesGivesTheSame) {
  const TaskResult a = run(), b = run_task_bench(bench_, *model_, log_, [] {});
  EXPECT_EQ(a.accuracy, b.accuracy);
  EXPECT_EQ(a.unparsed, b.unparsed);
  EXPECT_EQ(a.samples, b.samples);
}

}  // namespace
}  // namespace ssl4rl::eval
