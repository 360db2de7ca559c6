#include "ssl4rl/rl/loss.h"

#include <ATen/ATen.h>

namespace ssl4rl::rl {

using at::Tensor;

Tensor policy_loss(const AlgorithmConfig& config, const LossInputs& in, LossSums& sums) {
  const double low = 1 - config.epsilon, high = 1 + config.upper_epsilon();
  const Tensor ratio = (in.logprob_n - in.old_n).exp();
  Tensor loss = -at::minimum(ratio * in.advantage_n, ratio.clamp(low, high) * in.advantage_n);
  {
    const Tensor r = ratio.detach();
    sums.clipped_low += ((r < low) & (in.advantage_n < 0)).sum().item<double>();
    sums.clipped_high += ((r > high) & (in.advantage_n > 0)).sum().item<double>();
  }
  if (in.reference_n.defined()) {
    const Tensor d = in.reference_n - in.logprob_n;
    const Tensor kl = d.exp() - d - 1;  // k3 (Schulman, "Approximating KL Divergence", 2020)
    sums.kl += kl.detach().sum().item<double>();
    loss = loss + config.beta * kl;
  }
  return (loss * in.weight_n).sum();
}

double token_weight(AlgorithmConfig::LossType type, int64_t length, int64_t rows, int64_t tokens,
                    int64_t max_completion_length) {
  switch (type) {
    case AlgorithmConfig::LossType::kGrpo:
      return 1.0 / static_cast<double>(rows * length);
    case AlgorithmConfig::LossType::kDapo:
      return 1.0 / static_cast<double>(tokens);
    case AlgorithmConfig::LossType::kDrGrpo:
      return 1.0 / static_cast<double>(rows * max_completion_length);
  }
  return 0;
}

}  // namespace ssl4rl::rl
