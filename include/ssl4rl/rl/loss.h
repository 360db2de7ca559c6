// The policy's loss, token by token (docs/algorithms.md).
// Shape suffix: n completion tokens of a micro-batch, in packed order.
#pragma once

#include <ATen/core/Tensor.h>

#include "ssl4rl/rl/config.h"

namespace ssl4rl::rl {

struct LossInputs {
  at::Tensor logprob_n;    ///< of the policy, with gradient
  at::Tensor old_n;        ///< when the tokens were drawn; the policy's own, detached, in the only update of a rollout
  at::Tensor reference_n;  ///< of the reference model; undefined where beta is 0
  at::Tensor advantage_n;
  at::Tensor weight_n;  ///< each token's share of the update's loss, so that micro-batches add up to it
};

/// Sums over tokens; divided by the number of tokens they are the metrics.
struct LossSums {
  double kl = 0;
  double clipped_low = 0, clipped_high = 0;
};

/// Σ weight · (−min(r·A, clip(r, 1 − ε, 1 + ε_high)·A) + β·k3): adds to `sums` what the metrics need.
[[nodiscard]] at::Tensor policy_loss(const AlgorithmConfig& config, const LossInputs& inputs, LossSums& sums);

/// The share of one token of a sample of `length` tokens in an update of `rows` samples and `tokens` tokens.
[[nodiscard]] double token_weight(AlgorithmConfig::LossType type, int64_t length, int64_t rows, int64_t tokens,
                                  int64_t max_completion_length);

}  // namespace ssl4rl::rl
