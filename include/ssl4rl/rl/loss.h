// The losses of policy and critic, token by token (docs/algorithms.md). One function for all policy losses, each a few
// lines that read like its formula. Shape suffixes: n completion tokens of a micro-batch, in packed order, sample after
// sample; S samples.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "ssl4rl/rl/config.h"
#include "ssl4rl/rl/pending_sum.h"

namespace ssl4rl::rl {

struct LossInputs {
  at::Tensor logprob_n;    ///< of the policy, with gradient
  at::Tensor entropy_n;    ///< with gradient where entropy_coef > 0
  at::Tensor old_n;        ///< when the tokens were drawn; the policy's own, detached, in the only update of a rollout
  at::Tensor reference_n;  ///< of the reference model; undefined where no KL divergence stands in the loss
  at::Tensor advantage_n;
  std::vector<int64_t> lengths_S;  ///< tokens of each sample
  // Each token's share of the update's loss, so that micro-batches add up to it.
  at::Tensor weight_n, kl_weight_n, entropy_weight_n;
};

/// Sums over tokens; divided by the number of tokens they are the metrics.
struct LossSums {
  PendingSum kl;
  PendingSum clipped_low, clipped_high;
};

/// Σ weight · ℓ(ratio, advantage) + β Σ weight · KL − c Σ weight · entropy: adds to `sums` what the metrics need.
[[nodiscard]] at::Tensor policy_loss(const AlgorithmConfig& config, const LossInputs& inputs, LossSums& sums);

/// The estimate of each token's KL divergence of the policy from the reference.
[[nodiscard]] at::Tensor kl_divergence(const AlgorithmConfig& config, const at::Tensor& logprob_n,
                                       const at::Tensor& reference_n);

/// ½ Σ weight · max((v − return)², (clip(v, old ± cliprange_value) − return)²); counts clipped tokens in `clipped`.
[[nodiscard]] at::Tensor value_loss(const AlgorithmConfig& config, const at::Tensor& value_n,
                                    const at::Tensor& old_value_n, const at::Tensor& return_n,
                                    const at::Tensor& weight_n, PendingSum& clipped);

/// How large an update and the rollout that it belongs to are.
struct UpdateSize {
  int64_t rows = 0, tokens = 0;  ///< of the update: samples, and tokens that the loss sees
  int64_t rollout_tokens = 0;    ///< of the step
  int64_t updates = 1;           ///< that one pass over the step's rollout takes
  int64_t max_completion_length = 1;
};

/// The share of one token of a sample of `length` tokens in the update's loss.
struct TokenWeights {
  double policy = 0, kl = 0, entropy = 0, value = 0;
};
[[nodiscard]] TokenWeights token_weights(const AlgorithmConfig& config, int64_t length, const UpdateSize& size);

}  // namespace ssl4rl::rl
