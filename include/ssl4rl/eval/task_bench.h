// Evaluation on a self-supervised task: greedy answers to puzzles made of held-out images.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "ssl4rl/base/log.h"
#include "ssl4rl/models/model.h"
#include "ssl4rl/rewards/reward.h"
#include "ssl4rl/tasks/mixture.h"

namespace ssl4rl::eval {

struct EvalConfig {
  std::vector<std::string> benches;
  int64_t samples = 256;
  std::optional<std::filesystem::path> data;

  void describe(config::Section& section);
};

struct TaskBench {
  std::string task;
  std::shared_ptr<const tasks::Mixture> mixture;  ///< of this task alone, over the held-out images
  rewards::RewardConfig reward;
  tasks::PromptConfig::Style style = tasks::PromptConfig::Style::kThink;
  int64_t samples = 256;
  int64_t max_new_tokens = 2048;
  std::vector<std::string> stop;
  int threads = 1;

  /// What fixes the predictions, with the model: written before them, compared when they are continued.
  [[nodiscard]] nlohmann::ordered_json settings() const;
};

struct TaskResult {
  int64_t samples = 0;
  double accuracy = 0;        ///< mean reward of the answers, from 0 to 1
  double solved = 0;          ///< share of fully right answers
  double standard_error = 0;  ///< of the accuracy
  double unparsed = 0;        ///< share of responses without a readable answer
  double chance = 0;          ///< the best constant answer's expected reward
};

/// Asks all questions. With an output folder: BENCH/predictions.jsonl is appended to as answers come (a second call
/// with the same model and settings goes on where it stopped), and BENCH/result.json is written at the end. `poll` is
/// called between decode steps and may throw to stop.
[[nodiscard]] TaskResult run_task_bench(const TaskBench& bench, const models::Model& model,
                                        const std::string& model_fingerprint, const std::filesystem::path& output,
                                        const Log& log, const std::function<void()>& poll);

/// The same without files, for evaluations while training.
[[nodiscard]] TaskResult run_task_bench(const TaskBench& bench, const models::Model& model, const Log& log,
                                        const std::function<void()>& poll);

}  // namespace ssl4rl::eval
