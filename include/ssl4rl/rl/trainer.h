// RL fine-tuning: the steps of docs/algorithms.md, one call each.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ssl4rl/rewards/reward.h"
#include "ssl4rl/rl/config.h"
#include "ssl4rl/rl/critic.h"
#include "ssl4rl/rl/group.h"
#include "ssl4rl/rl/logprob_gap.h"
#include "ssl4rl/rl/loss.h"
#include "ssl4rl/rl/prompt_source.h"
#include "ssl4rl/rl/run.h"
#include "ssl4rl/rl/watch.h"
#include "ssl4rl/rollout/engine.h"

namespace ssl4rl::rl {

struct TrainerConfig {
  AlgorithmConfig algorithm;
  rollout::RolloutConfig rollout;
  rewards::RewardConfig reward;
  tasks::PromptConfig::Style style = tasks::PromptConfig::Style::kThink;
};

/// What one step does and measures. `groups` are all ranks'; sums are this rank's until the step's end.
struct Step {
  int64_t number = 0;
  std::vector<Group> groups;
  double learning_rate = 0;
  double masked_mass = 0;
  LogprobGap gap;
  LossSums loss_sums;
  PendingSum entropy_sum;
  double beta = 0;                      ///< in force in this step
  std::optional<double> next_beta;      ///< where it is adapted
  std::vector<double> reward_kl_means;  ///< with kl_in_reward: each sample's mean KL divergence
  PendingSum value_clipped;
  int64_t trained_tokens = 0;
  std::vector<double> losses, value_losses, grad_norms, critic_grad_norms;  ///< one an update
  bool changed_weights = false;
  uint64_t micro_batches = 0;                  ///< trained on so far
  std::map<std::string, double> task_cosines;  ///< "flip/rotation" → cosine of their gradients
  std::map<std::string, double> seconds;
  double memory = 0;  ///< peak_memory_gib
};

/// The step's line of metrics.jsonl.
[[nodiscard]] nlohmann::ordered_json step_metrics(const Step& step, const AlgorithmConfig& algorithm,
                                                  int64_t skipped_updates);
/// Its samples as lines of completions/step-NNNNNN.jsonl.
[[nodiscard]] std::string completion_lines(const Step& step);

class Trainer {
 public:
  /// `reference` is needed where beta > 0, `critic` for ppo; both may be null otherwise. With `replay` every step reads
  /// those groups instead of drawing puzzles, and the run needs no mixture.
  Trainer(Run& run, TrainerConfig config, const models::Model* reference, Critic* critic = nullptr,
          std::vector<Group> replay = {});
  ~Trainer();

  /// Runs the remaining steps.
  void run();

 private:
  nlohmann::ordered_json step(int64_t number);
  std::vector<Group> draw();
  void roll_out(Step& step);
  void reward(std::vector<Group>& groups) const;
  static void note_successes(Step& step);
  void share_outcomes(Step& step);
  void teach_curriculum(const Step& step, nlohmann::ordered_json& metrics);
  void draw_again(Step& step);
  void roll_out_greedily(Step& step);
  void score_rollout(Step& step);
  void estimate_advantages(Step& step);
  void update(Step& step);
  struct Losses {
    PendingSum policy, critic;
  };
  void update_once(Step& step, std::span<Group> groups);
  Losses accumulate_gradients(Step& step, std::span<Group> groups, std::span<const Group> rollout);
  void compare_tasks(Step& step);
  void apply(Step& step, const Losses& losses);

  void generate(std::vector<Group*> groups, Step& step);
  [[nodiscard]] rewards::Expected expected_of(const Group& group) const;
  template <typename Visit>
  void for_each_batch(std::vector<Group>& groups, std::vector<const models::Model*> models, Visit visit) const;
  [[nodiscard]] std::vector<const models::Model*> trained_models() const;
  [[nodiscard]] bool several_updates(const Step& step) const;
  [[nodiscard]] tasks::Curriculum* curriculum() const;
  void check_gap(const Step& step) const;
  void adapt_beta(Step& step);

  Run& run_;
  TrainerConfig config_;
  const models::Model* reference_;
  Critic* critic_;
  const std::vector<Group> replay_;
  rollout::Engine engine_;
  std::unique_ptr<PromptSource> prompts_;
  Watch watch_;
  const bool trains_vision_;  // the policy's tower, or another one that reads the same images
};

}  // namespace ssl4rl::rl
