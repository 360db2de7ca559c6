// The configuration of a run: all sections of the YAML file, put together from the layers' own descriptions.
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ssl4rl/base/config.h"
#include "ssl4rl/eval/task_bench.h"
#include "ssl4rl/models/lora.h"
#include "ssl4rl/models/weights.h"
#include "ssl4rl/rewards/reward.h"
#include "ssl4rl/rl/config.h"
#include "ssl4rl/rollout/engine.h"
#include "ssl4rl/tasks/curriculum.h"
#include "ssl4rl/tasks/image_source.h"
#include "ssl4rl/tasks/task.h"
#include "ssl4rl/tasks/wording.h"
#include "ssl4rl/train/config.h"

namespace ssl4rl::cli {

struct ModelSection {
  std::filesystem::path path;
  std::string device = "auto", dtype = "auto";
  std::vector<std::string> freeze;
  std::optional<int64_t> min_pixels, max_pixels;
  bool gradient_checkpointing = false;
  models::LoraConfig lora;

  void describe(config::Section& section);
  [[nodiscard]] std::set<models::Part> frozen_parts() const;
};

struct RunConfig {
  train::RunConfig run;
  ModelSection model;
  tasks::DataConfig data;
  std::vector<tasks::TaskConfig> tasks;
  tasks::CurriculumConfig curriculum;
  rl::SftConfig sft;
  tasks::PromptConfig prompt;
  rewards::RewardConfig reward;
  rollout::RolloutConfig rollout;
  rl::AlgorithmConfig algorithm;
  train::TrainConfig train;
  eval::EvalConfig eval;
  train::LogConfig log;
  train::DistributedConfig distributed;

  /// Binds every section. The result refers to this object.
  [[nodiscard]] config::Section describe();
};

/// Reads a file and the --set overrides. Throws Error. The result, bound to `config`, knows which keys were given.
config::Section read_run_config(RunConfig& config, const std::filesystem::path& file,
                                const std::vector<std::string>& overrides);
/// Only overrides, on the defaults.
void read_run_config(RunConfig& config, const std::vector<std::string>& overrides);

/// The keys with their defaults, as text for --help.
[[nodiscard]] std::string configuration_help();
/// The same as a page of the documentation.
[[nodiscard]] std::string configuration_markdown();

}  // namespace ssl4rl::cli
