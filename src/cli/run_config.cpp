#include "ssl4rl/cli/run_config.h"

#include <fmt/ranges.h>

#include "ssl4rl/base/error.h"

namespace ssl4rl::cli {
namespace {

struct SectionHelp {
  const char* name;
  const char* help;
};
constexpr SectionHelp kSections[] = {{"run", "the run as a whole"},
                                     {"model", "the model that is trained"},
                                     {"data", "the images"},
                                     {"tasks", "the puzzles"},
                                     {"curriculum", "difficulty over the run"},
                                     {"sft", "the supervised start (`ssl4rl sft`)"},
                                     {"prompt", "the questions' wording"},
                                     {"reward", "what a response earns"},
                                     {"rollout", "sampling of completions"},
                                     {"algorithm", "the objective"},
                                     {"train", "steps, optimiser, checkpoints"},
                                     {"eval", "evaluation while training"},
                                     {"log", "what is written"},
                                     {"distributed", "runs of several processes"}};

const char* section_help(std::string_view name) {
  for (const auto& section : kSections)
    if (name == section.name) return section.help;
  return "";
}

}  // namespace

void ModelSection::describe(config::Section& s) {
  s.add("path", path).help("Hugging Face model directory");
  s.add("device", device).help("auto, cpu, cuda or cuda:N").changeable("sums may differ in their last bits");
  s.add("dtype", dtype)
      .one_of({"auto", "float32", "bfloat16"})
      .help(
          "type of the weights in memory; auto: bfloat16 on CUDA, float32 on the CPU, but for training bfloat16 where "
          "the processor has AMX and a trial at the start is decisively faster");
  s.add("freeze", freeze).one_of({"vision", "merger", "language", "embeddings"}).help("parts that are not trained");
  s.add("min_pixels", min_pixels)
      .at_least(1)
      .unset_means("the model's own")
      .help("images are resized to at least this many pixels");
  s.add("max_pixels", max_pixels)
      .at_least(1)
      .unset_means("the model's own")
      .help("images are resized to at most this many pixels");
  s.add("gradient_checkpointing", gradient_checkpointing)
      .help("keep only each layer's input for backward: less memory, about a third more time")
      .changeable("sums may differ in their last bits");
  lora.describe(s.section("lora", "low-rank adapters"));
}

std::set<models::Part> ModelSection::frozen_parts() const {
  std::set<models::Part> parts;
  for (const std::string& name : freeze)
    parts.insert(name == "vision"     ? models::Part::kVision
                 : name == "merger"   ? models::Part::kMerger
                 : name == "language" ? models::Part::kLanguage
                                      : models::Part::kEmbeddings);
  return parts;
}

config::Section RunConfig::describe() {
  config::Section root;
  const auto section = [&root](const char* name) -> config::Section& { return root.section(name, section_help(name)); };
  run.describe(section("run"));
  model.describe(section("model"));
  data.describe(section("data"));
  root.add("tasks", tasks::task_list(tasks)).help("the mixture of puzzles; a name alone stands for its defaults");
  curriculum.describe(section("curriculum"));
  sft.describe(section("sft"));
  prompt.describe(section("prompt"));
  reward.describe(section("reward"));
  rollout.describe(section("rollout"));
  algorithm.describe(section("algorithm"));
  train.describe(section("train"));
  eval.describe(section("eval"));
  log.describe(section("log"));
  distributed.describe(section("distributed"));
  return root;
}

config::Section read_run_config(RunConfig& config, const std::filesystem::path& file,
                                const std::vector<std::string>& overrides) {
  config::Section root = config.describe();
  config::read_file(root, file);
  for (const std::string& argument : overrides) config::read_override(root, argument);
  config.reward.check(config.prompt);
  if (config.run.name.empty()) config.run.name = file.stem().string();
  return root;
}

void read_run_config(RunConfig& config, const std::vector<std::string>& overrides) {
  config::Section root = config.describe();
  for (const std::string& argument : overrides) config::read_override(root, argument);
  config.reward.check(config.prompt);
}

std::string configuration_help() {
  RunConfig config;
  std::string text = "Configuration keys (--set KEY=VALUE, or the YAML file):\n";
  for (const auto& entry : config::reference(config.describe())) {
    text += fmt::format("  {}{}\n      {} [{}; default {}]\n", entry.path,
                        entry.aliases.empty() ? "" : fmt::format(" ({})", fmt::join(entry.aliases, ", ")), entry.help,
                        entry.type, entry.default_value);
  }
  return text;
}

std::string configuration_markdown() {
  RunConfig config;
  std::string text =
      "# Configuration\n\n"
      "Made from the program's own table of keys (`tests/cli` keeps it so). A run is described by one YAML file; "
      "`--set KEY=VALUE`\n"
      "overrides a key, with dots between section and key. A relative path is taken from the YAML file's folder, in "
      "`--set` from the\n"
      "current one. `${VAR}` expands environment variables. An unknown key is an error that names the nearest known "
      "one.\n";
  const auto cell = [](std::string value) {
    for (size_t at = 0; (at = value.find('|', at)) != std::string::npos; at += 2) value.replace(at, 1, "\\|");
    return value;
  };
  std::string open;
  for (const auto& entry : config::reference(config.describe())) {
    const std::string section = entry.path.substr(0, entry.path.find_first_of(".["));
    if (section != open) {
      text += fmt::format("\n## `{}`: {}\n\n| key | type | default | meaning |\n|---|---|---|---|\n", section,
                          section_help(section));
      open = section;
    }
    std::string aliases;
    for (const std::string& alias : entry.aliases)
      aliases += fmt::format("{}`{}`", aliases.empty() ? " (also " : ", ", alias);
    if (!aliases.empty()) aliases += ")";
    text += fmt::format("| `{}`{} | {} | {} | {} |\n", entry.path, aliases, cell(entry.type), cell(entry.default_value),
                        cell(entry.help));
  }
  return text;
}

}  // namespace ssl4rl::cli
