#include "ssl4rl/eval/bench.h"

#include <gtest/gtest.h>

#include "ssl4rl/io/hash.h"
#include "ssl4rl/io/jsonl.h"
#include "ssl4rl/rollout/engine.h"
#include "support/errors.h"
#include "support/images.h"
#include "support/model_cases.h"
#include "support/temporary_folder.h"

namespace ssl4rl::eval {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

class BenchTest : public testing::Test {
 protected:
  BenchTest() : model_(load_tiny()) {
    draw_pictures(folder_.path() / "images", 3, 60);
    std::string text = "index\tquestion\tA\tB\tanswer\timage\n";
    for (int i = 0; i < 3; ++i) text += row(i, io::base64_encode(io::read_file(picture(i))));
    for (int i = 3; i < 8; ++i) text += row(i, std::to_string(i % 3));  // questions about the same pictures
    io::write_file(tsv(), text);
    settings_.asking = {.max_new_tokens = 6, .jpeg_roundtrip = false, .threads = 2};
  }

  static std::string row(int index, const std::string& image) {
    return fmt::format("{}\tWhat is {}?\tcat\tdog\tA\t{}\n", index, index, image);
  }
  [[nodiscard]] fs::path picture(int i) const { return folder_.path() / "images" / fmt::format("{:03}.png", i); }
  [[nodiscard]] fs::path tsv() const { return folder_.path() / "small.tsv"; }
  [[nodiscard]] fs::path output() const { return folder_.path() / "out"; }
  [[nodiscard]] Dataset load() const { return load_dataset(tsv().string(), folder_.path(), false, log_); }
  std::optional<SummaryLine> run(
      const Dataset& dataset, const std::function<void()>& poll = [] {}) const {
    return run_bench(dataset, PromptStyle("toolkit"), settings_, *model_, "tiny", output(), log_, poll);
  }
  [[nodiscard]] std::map<std::string, std::string> predictions() const {
    std::map<std::string, std::string> all;
    io::for_each_json_line(output() / "small/predictions.jsonl", [&](Json&& line, int64_t) {
      if (!line.contains("index")) return;
      EXPECT_TRUE(all.emplace(index_text(line["index"]), line["prediction"].get<std::string>()).second) << "twice";
    });
    return all;
  }

  TemporaryFolder folder_;
  std::unique_ptr<models::Model> model_;
  BenchSettings settings_;
  Log log_{Log::Level::kOff};
};

TEST_F(BenchTest, AnswersAreThoseOfEachQuestionAlone) {
  const Dataset dataset = load();
  ASSERT_TRUE(run(dataset));
  const auto all = predictions();
  ASSERT_EQ(all.size(), 8u);
  for (size_t r = 0; r < dataset.rows(); ++r) {
    const std::vector<image::Image> pictures{image::load(picture(static_cast<int>(r % 3)))};
    const models::Prompt prompt = model_->processor().encode(PromptStyle("toolkit").messages(dataset, r),
                                                             std::span<const image::Image>(pictures));
    const rollout::Request request{&prompt, 1, 0, 0};
    const auto alone = rollout::Engine(*model_).generate({&request, 1}, {{0, 1, 0}, 6, {}, 0});
    EXPECT_EQ(all.at(dataset.index[r]), model_->processor().tokenizer().decode(alone.completions[0][0].ids)) << r;
  }
  for (const char* file : {"predictions.tsv", "acc.csv", "result.json", "index.html"})
    EXPECT_TRUE(fs::exists(output() / "small" / file)) << file;
}

TEST_F(BenchTest, AStoppedRunGoesOnAndAsksNothingTwice) {
  const Dataset dataset = load();
  ASSERT_TRUE(run(dataset));
  const auto whole = predictions();
  fs::remove_all(output());
  int polls = 0;
  const auto stop = [&] {
    if (++polls == 3) throw std::runtime_error("stop");
  };
  Dataset part = load();
  part.limit_to(3);
  ASSERT_TRUE(run(part)) << "a limited run is the beginning of the whole one";
  EXPECT_THROW((void)run(dataset, stop), std::runtime_error);
  ASSERT_TRUE(run(dataset));
  EXPECT_EQ(predictions(), whole);
}

TEST_F(BenchTest, ShardsTogetherGiveTheSameAnswers) {
  const Dataset dataset = load();
  ASSERT_TRUE(run(dataset));
  const auto whole = predictions();
  fs::remove_all(output());
  settings_.shard = Shard{0, 2};
  EXPECT_FALSE(run(dataset));
  settings_.shard = Shard{1, 2};
  EXPECT_TRUE(run(dataset));
  EXPECT_EQ(predictions(), whole);
}

TEST_F(BenchTest, AnUndecodablePictureNamesItsRowAndKeepsTheOtherAnswers) {
  std::string text = io::read_file(tsv());
  text += row(9, io::base64_encode(std::string(100, 'x')));
  io::write_file(tsv(), text);
  const Dataset dataset = load();
  const std::string message = error_of([&] { (void)run(dataset); });
  EXPECT_NE(message.find("small.tsv:10 (index 9): the picture cannot be decoded"), std::string::npos) << message;
  EXPECT_EQ(predictions().size(), 8u);
}

TEST_F(BenchTest, GivenPredictionsNeedNoModel) {
  const Dataset dataset = load();
  std::string lines;
  for (int i = 0; i < 8; ++i) lines += fmt::format("{{\"index\": {}, \"prediction\": \"{}\"}}\n", i, i < 6 ? "A" : "B");
  io::write_file(folder_.path() / "p.jsonl", lines);
  const fs::path file = folder_.path() / "p.jsonl";
  const GivenPredictions given{file, read_predictions(file, dataset)};
  const SummaryLine line = score_bench(dataset, PromptStyle("toolkit"), settings_, given, output(), log_);
  EXPECT_EQ(line.overall, 75);
  EXPECT_EQ(line.chance, 50);
  const Json result = io::read_json(output() / "small/result.json");
  EXPECT_EQ(result["table"][0]["Overall"], 0.75);
  EXPECT_EQ(result["md5"], io::md5_hex(io::read_file(tsv())));
}

TEST_F(BenchTest, PromptsHoldThePicturesAsTheyStand) {
  const Dataset dataset = load();
  write_prompts(dataset, PromptStyle("toolkit"), settings_, output(), log_);
  int rows = 0;
  io::for_each_json_line(output() / "small/prompts.jsonl", [&](Json&& line, int64_t) {
    const Json& content = line["messages"][0]["content"];
    EXPECT_EQ(line["index"], rows);
    EXPECT_EQ(content[0]["image"], "data:image/png;base64," + io::base64_encode(io::read_file(picture(rows % 3))));
    EXPECT_EQ(content[1]["text"], PromptStyle("toolkit").text(dataset, static_cast<size_t>(rows)));
    ++rows;
  });
  EXPECT_EQ(rows, 8);
}

}  // namespace
}  // namespace ssl4rl::eval
