// `generate` and `score` on wrong inputs, on repeated prompts, and going on after a stop.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "../../src/cli/output_lines.h"
#include "support/data.h"
#include "support/images.h"
#include "support/json_lines.h"
#include "support/program.h"

namespace ssl4rl {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

class JsonlCommands : public testing::Test {
 protected:
  [[nodiscard]] fs::path path(const std::string& name) const { return folder_.path() / name; }
  [[nodiscard]] static std::string model() { return (test_data() / "tiny_qwen2_5_vl").string(); }
  [[nodiscard]] static Json line(const std::string& text, const std::string& completion = "90") {
    return {{"messages", {{{"role", "user"}, {"content", text}}}}, {"completion", completion}};
  }
  std::string write(const std::string& name, const std::vector<Json>& lines) const {
    std::string text;
    for (const Json& json : lines) text += json.dump() + "\n";
    io::write_file(path(name), text);
    return path(name).string();
  }
  Outcome score(const std::string& input) const {
    return run_program(
        {"score", "--model", model(), "--input", input, "--output", path("scores.jsonl").string(), "--quiet"});
  }
  // The second of two lines is wrong.
  void expect_refused(const Json& wrong, int status, const std::string& part) const {
    const Outcome outcome = score(write("in.jsonl", {line("fine"), wrong}));
    EXPECT_EQ(outcome.status, status) << outcome.err;
    EXPECT_NE(outcome.err.find("in.jsonl:2: "), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
    EXPECT_FALSE(fs::exists(path("scores.jsonl")));
  }

  TemporaryFolder folder_;
};

TEST_F(JsonlCommands, EveryLineIsCheckedBeforeWork) {
  const auto with_image = [](const std::string& image) {
    return Json{{"messages", {{{"role", "user"}, {"content", {{{"type", "image"}, {"image", image}}}}}}},
                {"completion", "x"}};
  };
  expect_refused(line("look at <|image_pad|>"), 2, "<|image_pad|>");
  expect_refused({{"messages", {{{"role", "robot"}, {"content", "x"}}}}, {"completion", "x"}}, 2, "\"robot\"");
  expect_refused({{"messages", Json::array()}, {"completion", "x"}}, 2, "messages");
  expect_refused({{"messages", {{{"role", "user"}, {"content", "x"}}}}}, 2, "\"completion\" or \"completion_ids\"");
  Json ids = line("x");
  ids.erase("completion");
  ids["completion_ids"] = {3, 100000};
  expect_refused(ids, 2, "100000 is no token");
  Json bounds = line("x");
  bounds["min_pixels"] = 5000;
  bounds["max_pixels"] = 4000;
  expect_refused(bounds, 2, "min_pixels");
  expect_refused(with_image("nothing.png"), 2, "nothing.png: no such file");
  expect_refused(with_image("data:text/plain,x"), 2, "data:image/TYPE;base64");
  expect_refused(with_image("data:image/png;base64,aGVsbG8="), 1, "cannot be decoded");
}

TEST_F(JsonlCommands, OnStandardInputWhatCameBeforeABrokenLineIsAnsweredAndTheLineIsNamed) {
  io::write_file(path("in.jsonl"),
                 line("a").dump() + "\n\n" + line("b").dump() + "\n{\"id\":\n" + line("c").dump() + "\n");
  const Outcome outcome = run_program({"score", "--model", model(), "--input", "-", "--output", "-", "--quiet"}, "",
                                      " < " + quoted(path("in.jsonl").string()));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("standard input:4: "), std::string::npos) << outcome.err;
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 2) << outcome.out;

  Json without = line("b");
  without.erase("completion");
  write("in.jsonl", {line("a"), without});
  const Outcome refused = run_program({"score", "--model", model(), "--input", "-", "--output", "-", "--quiet"}, "",
                                      " < " + quoted(path("in.jsonl").string()));
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.err.find("standard input:2: expected \"completion\""), std::string::npos) << refused.err;
  EXPECT_EQ(std::count(refused.out.begin(), refused.out.end(), '\n'), 1) << refused.out;
}

TEST_F(JsonlCommands, LinesThatAskTheSameAreScoredAsIfAlone) {
  std::vector<Json> lines{line("How many degrees?", "90"), line("How many degrees?", "<answer>180</answer>"),
                          line("How many degrees?", ""), line("Other?", "90"), line("How many degrees?", "90")};
  for (size_t i = 0; i < lines.size(); ++i) lines[i]["id"] = i;
  ASSERT_EQ(score(write("in.jsonl", lines)).status, 0);
  const auto together = json_lines(path("scores.jsonl"));
  ASSERT_EQ(together.size(), lines.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(together[i]["id"], i);
    ASSERT_EQ(score(write("one.jsonl", {lines[i]})).status, 0);
    const Json alone = json_lines(path("scores.jsonl"))[0];
    EXPECT_EQ(together[i]["prompt_ids"], alone["prompt_ids"]);
    EXPECT_EQ(together[i]["token_ids"], alone["token_ids"]);
    EXPECT_NEAR(together[i]["sum"].get<double>(), alone["sum"].get<double>(), 1e-5);
  }
  EXPECT_EQ(together[2]["sum"], 0.0);
}

TEST_F(JsonlCommands, MinPOfOneIsGreedyAtAnyTemperature) {
  const std::string input = write("in.jsonl", {line("How many degrees?"), line("Hi")});
  const auto ids = [&](const std::vector<std::string>& options) {
    std::vector<std::string> arguments{
        "generate",         "--model", model(),  "--input", input, "--output", path("out.jsonl").string(),
        "--max-new-tokens", "8",       "--quiet"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const Outcome outcome = run_program(arguments);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    std::vector<Json> all;
    for (const Json& json : json_lines(path("out.jsonl"))) all.push_back(json["token_ids"]);
    return all;
  };
  EXPECT_EQ(ids({"--min-p", "1", "--temperature", "3"}), ids({"--temperature", "0"}));
  EXPECT_EQ(run_program({"generate", "--model", model(), "--input", input, "--output", "-", "--min-p", "1.5"}).status,
            2);
}

TEST_F(JsonlCommands, OutputGoesOnBehindTheLastWholeInput) {
  const Log log(Log::Level::kError);
  {
    cli::OutputLines out(path("o.jsonl"), "mark", 2, log);
    EXPECT_EQ(out.done(), 0u);
    out.open();
    for (int i = 0; i < 5; ++i) out.write({{"n", i}});
  }
  EXPECT_FALSE(fs::exists(path("o.jsonl")));
  EXPECT_EQ(cli::OutputLines(path("o.jsonl"), "other settings", 2, log).done(), 0u);
  cli::OutputLines out(path("o.jsonl"), "mark", 2, log);
  EXPECT_EQ(out.done(), 2u) << "two inputs of two lines each; the fifth line is half an input";
  out.open();
  out.write({{"n", 40}});
  out.finish();
  std::vector<int> numbers;
  for (const Json& json : json_lines(path("o.jsonl"))) numbers.push_back(json["n"]);
  EXPECT_EQ(numbers, (std::vector<int>{0, 1, 2, 3, 40}));
}

}  // namespace
}  // namespace ssl4rl
