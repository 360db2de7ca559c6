// RL fine-tuning: the steps of docs/algorithms.md, one call each.
#pragma once

#include <memory>

#include "ssl4rl/rewards/reward.h"
#include "ssl4rl/rl/config.h"
#include "ssl4rl/rl/loss.h"
#include "ssl4rl/rl/prompt_source.h"
#include "ssl4rl/rl/run.h"
#include "ssl4rl/rollout/engine.h"

namespace ssl4rl::rl {

struct TrainerConfig {
  AlgorithmConfig algorithm;
  rollout::RolloutConfig rollout;
  rewards::RewardConfig reward;
  tasks::PromptConfig::Style style = tasks::PromptConfig::Style::kThink;
};

class Trainer {
 public:
  /// `reference` is needed where beta > 0, and may be null otherwise.
  Trainer(Run& run, TrainerConfig config, const models::Model* reference);
  ~Trainer();

  /// Runs the remaining steps.
  void run();

 private:
  struct Sample;
  struct Group;
  struct Step;

  nlohmann::ordered_json step(int64_t number);
  std::vector<Group> draw();
  void roll_out(Step& step);
  void reward(Step& step);
  void estimate_advantages(Step& step);
  void score_old_policy(Step& step);
  void score_reference(Step& step);
  void update_policy(Step& step, size_t first_group, size_t groups);
  nlohmann::ordered_json metrics(const Step& step) const;
  void write_completions(const Step& step) const;

  template <typename Visit>
  void for_each_sample_logprobs(const models::Model& model, std::vector<Group>& groups, Visit visit);
  void measure_gap(Step& step, const Sample& sample, const float* logprobs) const;
  void check_gap(const Step& step) const;

  Run& run_;
  TrainerConfig config_;
  const models::Model* reference_;
  rollout::Engine engine_;
  PromptSource prompts_;
};

}  // namespace ssl4rl::rl
