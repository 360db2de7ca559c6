// What the trainer optimises (docs/algorithms.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "ssl4rl/base/config.h"

namespace ssl4rl::rl {

struct AlgorithmConfig {
  enum class Estimator { kGrpo, kPpo, kRloo, kReinforce, kReinforceBaseline, kRemax };
  enum class LossType { kGrpo, kDapo, kBnpo, kDrGrpo, kCispo, kSapo };
  enum class Level { kToken, kSequence };
  enum class ScaleRewards { kGroup, kTask, kBatch, kNone };
  enum class Aggregation { kSumThenNormalize, kNormalizeThenSum };
  enum class KlEstimator { kK1, kK2, kK3, kAbs };
  enum class CriticKind { kHead, kSeparate };
  enum class Compat { kNone, kTrl, kVerl };

  Estimator name = Estimator::kGrpo;
  LossType loss_type = LossType::kDapo;
  Level importance_sampling_level = Level::kToken;
  double epsilon = 0.2;
  std::optional<double> epsilon_high, delta;
  double sapo_temperature_pos = 1, sapo_temperature_neg = 1.05;

  double beta = 0;
  KlEstimator kl_estimator = KlEstimator::kK3;
  bool kl_in_reward = false;
  std::optional<double> kl_target;
  int64_t kl_horizon = 10000;
  double entropy_coef = 0;

  ScaleRewards scale_rewards = ScaleRewards::kGroup;
  Aggregation multi_objective_aggregation = Aggregation::kSumThenNormalize;
  bool difficulty_weight = false;
  bool filter_groups = false;
  int64_t max_resample = 3;
  bool mask_truncated = false;

  int64_t num_iterations = 1;
  double gamma = 1, lam = 0.95;
  bool whiten_advantages = true;
  CriticKind critic = CriticKind::kHead;
  double vf_coef = 0.1;
  std::optional<double> cliprange_value, critic_learning_rate;

  std::optional<double> max_logprob_gap;
  Compat compat = Compat::kNone;

  void describe(config::Section& section);
  /// Throws Error where keys contradict each other.
  void check() const;

  [[nodiscard]] bool compat_trl() const { return compat == Compat::kTrl; }
  [[nodiscard]] bool compat_verl() const { return compat == Compat::kVerl; }
  [[nodiscard]] bool uses_critic() const { return name == Estimator::kPpo; }
  /// Whether advantages compare the samples of a group.
  [[nodiscard]] bool compares_groups() const {
    return name == Estimator::kGrpo || name == Estimator::kRloo || name == Estimator::kReinforceBaseline;
  }
  [[nodiscard]] double upper_epsilon() const {
    return epsilon_high.value_or(loss_type == LossType::kCispo && compat == Compat::kNone ? 5 : epsilon);
  }
  /// The largest ratio that a token of negative advantage counts with; 0: no limit.
  [[nodiscard]] double ratio_cap() const { return delta.value_or(compat_verl() ? 3 : 0); }
  [[nodiscard]] double value_clip() const { return cliprange_value.value_or(compat_verl() ? 0.5 : 0.2); }
};

struct SftConfig {
  enum class Labels { kTrue, kRandom };
  Labels labels = Labels::kTrue;
  std::optional<std::filesystem::path> data;

  void describe(config::Section& section);
};

}  // namespace ssl4rl::rl
