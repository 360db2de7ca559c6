// From a step's groups to what the estimators see of them, and back.
#pragma once

#include <vector>

#include "ssl4rl/rewards/reward.h"
#include "ssl4rl/rl/advantage.h"
#include "ssl4rl/rl/group.h"

namespace ssl4rl::rl {

/// One outcome a sample, in order. With `kl_in_reward` its tokens are charged with beta times their KL divergence from
/// the reference, and each sample's mean divergence is appended to `kl_means`.
[[nodiscard]] std::vector<OutcomeGroup> outcomes_of(const std::vector<Group>& groups, const AlgorithmConfig& algorithm,
                                                    const rewards::RewardConfig& reward, double beta,
                                                    std::vector<double>& kl_means);

/// Hands the estimated advantages and returns to the samples.
void note_advantages(const std::vector<OutcomeGroup>& outcomes, std::vector<Group>& groups);

}  // namespace ssl4rl::rl
