// Settings of a run and of its optimiser.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "ssl4rl/base/config.h"

namespace ssl4rl::train {

struct RunConfig {
  std::string name;  ///< empty: the configuration file's stem
  std::filesystem::path output_dir = "runs";
  int64_t seed = 0;
  std::optional<int64_t> threads;
  bool deterministic = false;
  bool accept_changes = false;

  void describe(config::Section& section);
  [[nodiscard]] std::filesystem::path folder() const { return output_dir / name; }
};

struct TrainConfig {
  enum class Schedule { kConstant, kLinear, kCosine };

  std::optional<int64_t> steps;
  int64_t prompts_per_step = 32;
  std::optional<int64_t> prompts_per_update;
  int64_t micro_batch_tokens = 16384;
  double learning_rate = 1e-6;
  Schedule lr_scheduler = Schedule::kConstant;
  int64_t warmup_steps = 0;
  double min_lr_ratio = 0;
  double weight_decay = 0.01;
  double adam_beta1 = 0.9, adam_beta2 = 0.999, adam_eps = 1e-8;
  double max_grad_norm = 1;
  at::ScalarType optimizer_dtype = at::kFloat;  ///< of the moments
  std::vector<std::string> offload;             ///< what waits in the host's memory instead of the GPU's
  int64_t save_every = 0;
  bool save_in_background = true;
  std::optional<int64_t> keep_last, keep_best, keep_every;
  int64_t eval_every = 0;
  int64_t max_skipped = 5;

  void describe(config::Section& section);
  /// Throws Error where keys contradict each other or a needed one is missing.
  void check() const;

  [[nodiscard]] bool offloads(const std::string& what) const;
  [[nodiscard]] int64_t total_steps() const { return steps.value(); }
  [[nodiscard]] int64_t update_prompts() const { return prompts_per_update.value_or(prompts_per_step); }
  /// The learning rate of a step, counted from 1: a linear warm-up, then constant, or falling linearly or by a cosine
  /// to min_lr_ratio at the end.
  [[nodiscard]] double learning_rate_at(int64_t step) const;
};

struct DistributedConfig {
  enum class Backend { kAuto, kGloo, kNccl };
  enum class Shard { kOptimizer, kParameters };
  Backend backend = Backend::kAuto;
  Shard shard = Shard::kOptimizer;
  double timeout = 3600;  ///< seconds

  void describe(config::Section& section);
};

struct LogConfig {
  int64_t completions_every = 10, conflicts_every = 0;
  bool tensorboard = true;
  std::string level = "info";
  double warn_constant_answers = 0.9, warn_unparsed = 0.5, warn_length_growth = 3, warn_entropy = 0.05;

  void describe(config::Section& section);
};

}  // namespace ssl4rl::train
