// ssl4rl reward: scores response texts against puzzles; no model, no images.
#include <map>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/cli/run_config.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/jsonl.h"

namespace ssl4rl::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::filesystem::path puzzles, responses, output;
  std::optional<std::filesystem::path> config;
  std::vector<std::string> overrides;
};

std::string text_of(const Json& object, const char* key) {
  if (!object.contains(key) || !object[key].is_string()) fail("expected \"{}\": a text", key);
  return object[key].get<std::string>();
}

const tasks::TaskConfig* find_task(const RunConfig& config, const std::string& name) {
  for (const auto& task : config.tasks)
    if (task.name == name) return &task;
  return nullptr;
}

// The preset is the puzzle's, else the configured task's, else hardened; the function is the configured one, else the
// task's own under that preset.
rewards::Expected expected_of(const Json& puzzle, const RunConfig& config) {
  rewards::Expected expected{.task = text_of(puzzle, "task"), .answer = text_of(puzzle, "answer")};
  const tasks::TaskConfig* const configured = find_task(config, expected.task);
  if (puzzle.contains("preset")) {
    const std::string preset = text_of(puzzle, "preset");
    if (preset != "paper" && preset != "hardened") fail("preset: expected paper or hardened, found \"{}\"", preset);
    expected.preset = preset == "paper" ? tasks::Preset::kPaper : tasks::Preset::kHardened;
  } else if (configured) {
    expected.preset = configured->preset;
  }
  expected.function = configured && configured->reward
                          ? *configured->reward
                          : tasks::make_task(expected.task)->default_reward(expected.preset);
  if (const auto meta = puzzle.find("meta");
      meta != puzzle.end() && meta->is_object() && meta->contains("cols") && (*meta)["cols"].is_number_integer())
    expected.columns = (*meta)["cols"];
  return expected;
}

int run(App& app, const Options& options) {
  RunConfig config;
  if (options.config) {
    read_run_config(config, *options.config, options.overrides);
  } else {
    read_run_config(config, options.overrides);
  }
  std::map<std::string, rewards::Expected> puzzles;
  io::for_each_json_line(options.puzzles, [&](Json&& line, int64_t) {
    const std::string id = text_of(line, "id");
    const rewards::Expected expected = expected_of(line, config);
    (void)rewards::answer_reward(expected, "");  // the answer itself must be readable
    if (!puzzles.emplace(id, expected).second) fail("id \"{}\" stands twice", id);
  });
  std::string lines;
  io::for_each_json_line(options.responses, [&](Json&& line, int64_t) {
    const std::string id = text_of(line, "id"), response = text_of(line, "response");
    const auto found = puzzles.find(id);
    if (found == puzzles.end()) fail("id \"{}\" is not among the puzzles", id);
    std::optional<int64_t> tokens;
    if (line.contains("tokens") && line["tokens"].is_number_integer()) tokens = line["tokens"].get<int64_t>();
    if (config.reward.needs_tokens() && !tokens)
      fail("expected \"tokens\": the response's length, which reward.length and reward.overlong need");
    const rewards::Score score = rewards::score(config.reward, config.prompt.style, found->second, response, tokens);
    Json result{{"id", id},
                {"extracted", score.extracted ? Json(*score.extracted) : Json()},
                {"rewards", rewards::terms_of(score)},
                {"reward", score.total}};
    for (auto& [key, value] : line.items())
      if (key != "response" && !result.contains(key)) result[key] = value;  // fields that are not ours
    lines += io::to_line(result) + "\n";
  });
  app.begin_work();
  if (options.output == "-") {
    std::fwrite(lines.data(), 1, lines.size(), stdout);
    if (std::fflush(stdout) != 0) fail("standard output: cannot be written: {}", errno_text());
  } else {
    io::write_file(options.output, lines);
  }
  return kDone;
}

}  // namespace

Action add_reward(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command.add_option("--puzzles", options->puzzles, "puzzles.jsonl, as preview writes it")
      ->required()
      ->type_name("FILE");
  command.add_option("--responses", options->responses, "JSONL of {\"id\", \"response\"}; - is standard input")
      ->required()
      ->type_name("FILE");
  command.add_option("--output", options->output, "JSONL of rewards; - is standard output")
      ->required()
      ->type_name("FILE");
  command
      .add_option("--config", options->config,
                  "run configuration: reward weights, reward functions and presets of the tasks")
      ->type_name("FILE");
  command.add_option("--set", options->overrides, "overrides a configuration key")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  return [options](App& app) { return run(app, *options); };
}

}  // namespace ssl4rl::cli
