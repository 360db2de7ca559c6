// Running `ssl4rl train` on the tiny model within a test, and reading what it leaves behind.
#pragma once

#include <ATen/ATen.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ssl4rl/cli/app.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/jsonl.h"
#include "ssl4rl/io/safetensors.h"
#include "support/model_cases.h"
#include "support/temporary_folder.h"

namespace ssl4rl {

/// Runs the program within this process with these arguments; → its exit status.
inline int run_in_process(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "ssl4rl");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  return cli::run(static_cast<int>(arguments.size()), argv.data());
}

using Keys = std::map<std::string, nlohmann::json>;

/// Keys with changes on top.
inline Keys with(Keys keys, const Keys& changes) {
  for (const auto& [key, value] : changes) keys[key] = value;
  return keys;
}
/// Keys of a small run on a folder of pictures, with others on top.
inline Keys small_run(const std::filesystem::path& images, const Keys& more) {
  const Keys keys{{"data.images", images.string()},
                  {"data.min_side", 28},
                  {"tasks", "[rotation]"},
                  {"prompt.style", "answer"},
                  {"train.prompts_per_step", 2}};
  return with(keys, more);
}

/// The arguments of `train` (or `sft`) with these keys on top of a file that names the tiny model; the run stands in
/// FOLDER/run.
inline std::vector<std::string> training_arguments(const std::filesystem::path& folder, const Keys& keys,
                                                   const std::string& command = "train",
                                                   const std::vector<std::string>& more = {}) {
  io::write_file(folder / "run.yaml", fmt::format("run: {{name: run, output_dir: {}, threads: 1}}\nmodel: {{path: {}, "
                                                  "device: cpu, dtype: float32}}\nlog: {{tensorboard: false}}\n",
                                                  folder.string(), tiny_model().string()));
  std::vector<std::string> arguments{command, "--config", (folder / "run.yaml").string(), "--quiet"};
  for (const auto& [key, value] : keys) {
    arguments.push_back("--set");
    arguments.push_back(key + "=" + (value.is_string() ? value.get<std::string>() : value.dump()));
  }
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

/// Runs them within this process.
inline int run_training(const std::filesystem::path& folder, const Keys& keys, const std::string& command = "train",
                        const std::vector<std::string>& more = {}) {
  return run_in_process(training_arguments(folder, keys, command, more));
}

inline std::vector<nlohmann::json> metrics_of(const std::filesystem::path& folder) {
  std::vector<nlohmann::json> metrics;
  io::for_each_json_line(folder / "run/metrics.jsonl",
                         [&](nlohmann::ordered_json&& line, int64_t) { metrics.push_back(line); });
  return metrics;
}

/// The weights of a checkpoint less those of the tiny model, in double, by name.
inline std::map<std::string, at::Tensor> change_of_weights(const std::filesystem::path& checkpoint) {
  const io::SafetensorsModel before(tiny_model()), after(checkpoint);
  std::map<std::string, at::Tensor> change;
  for (const std::string& name : after.names())
    change[name] = after.tensor(name).to(at::kDouble) - before.tensor(name).to(at::kDouble);
  return change;
}

}  // namespace ssl4rl
