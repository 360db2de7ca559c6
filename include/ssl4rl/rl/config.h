// What the trainer optimises (docs/algorithms.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ssl4rl/base/config.h"

namespace ssl4rl::rl {

struct AlgorithmConfig {
  enum class Estimator { kGrpo };
  enum class LossType { kGrpo, kDapo, kDrGrpo };
  enum class ScaleRewards { kGroup, kBatch, kNone };
  enum class KlEstimator { kK3 };

  Estimator name = Estimator::kGrpo;
  LossType loss_type = LossType::kDapo;
  double epsilon = 0.2;
  std::optional<double> epsilon_high;
  double beta = 0;
  KlEstimator kl_estimator = KlEstimator::kK3;
  ScaleRewards scale_rewards = ScaleRewards::kGroup;
  int64_t num_iterations = 1;
  std::optional<double> max_logprob_gap;

  void describe(config::Section& section);
  [[nodiscard]] double upper_epsilon() const { return epsilon_high.value_or(epsilon); }
};

struct SftConfig {
  enum class Labels { kTrue, kRandom };
  Labels labels = Labels::kTrue;

  void describe(config::Section& section);
};

}  // namespace ssl4rl::rl
