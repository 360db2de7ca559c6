// Group-relative advantages (GRPO, arXiv 2402.03300, section 4.1; TRL's grpo_trainer).
#pragma once

#include <span>
#include <vector>

#include "ssl4rl/rl/config.h"

namespace ssl4rl::rl {

/// For each group of rewards: A = (R − mean of the group) / (s + 1e-4), s the unbiased standard deviation of the group
/// or of all rewards, or no division. A group whose rewards are all equal gets exactly 0, decided by max == min: a
/// small standard deviation would be rounding noise.
[[nodiscard]] std::vector<std::vector<double>> group_advantages(std::span<const std::vector<double>> rewards,
                                                                AlgorithmConfig::ScaleRewards scale);

/// Unbiased standard deviation; 0 for fewer than two values.
[[nodiscard]] double standard_deviation(std::span<const double> values);
[[nodiscard]] bool all_equal(std::span<const double> values);

}  // namespace ssl4rl::rl
