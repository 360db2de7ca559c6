// Advantages and returns of a step's samples: one function for all estimators, each a few lines that read like its
// formula (docs/algorithms.md). Everything in double precision.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ssl4rl/rl/config.h"

namespace ssl4rl::rl {

/// What an estimator knows of one sample, and what it finds out.
struct Outcome {
  double reward = 0;
  size_t length = 0;                        ///< tokens
  std::vector<double> parts;                ///< rewards by function, unweighted; for normalize_then_sum
  std::vector<double> token_penalty;        ///< subtracted from each token's reward (β · KL); empty: none
  std::vector<double> values;               ///< of the critic; ppo only
  std::vector<double> advantages, returns;  ///< one a token; returns of ppo only
};

struct OutcomeGroup {
  std::string task;
  double baseline = 0;               ///< remax: the reward of a greedy sample
  double difficulty = 0;             ///< mean accuracy, for difficulty_weight
  std::vector<double> part_weights;  ///< weights of the samples' parts
  std::vector<Outcome> samples;
};

/// Fills advantages (and returns). Under the estimators that compare a group's samples, a group whose rewards are all
/// equal gets exactly 0 before whitening, decided by max == min: a small standard deviation would be rounding noise.
void estimate_advantages(const AlgorithmConfig& config, std::span<OutcomeGroup> groups);

/// Unbiased standard deviation; 0 for fewer than two values.
[[nodiscard]] double standard_deviation(std::span<const double> values);
[[nodiscard]] bool all_equal(std::span<const double> values);
[[nodiscard]] double mean(std::span<const double> values);

}  // namespace ssl4rl::rl
