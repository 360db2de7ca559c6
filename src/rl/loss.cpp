#include "ssl4rl/rl/loss.h"

#include <ATen/ATen.h>

#include "ssl4rl/nn/on_device.h"

namespace ssl4rl::rl {
namespace {

using at::Tensor;
using Loss = AlgorithmConfig::LossType;

// Each sample's mean, at each of its tokens.
Tensor sample_means(const Tensor& x_n, const std::vector<int64_t>& lengths_S) {
  std::vector<int64_t> samples;
  for (size_t s = 0; s < lengths_S.size(); ++s)
    samples.insert(samples.end(), static_cast<size_t>(lengths_S[s]), static_cast<int64_t>(s));
  const Tensor lengths = nn::on_device(lengths_S, x_n.device()), sample_of_n = nn::on_device(samples, x_n.device());
  const Tensor sums_S = at::zeros({lengths.size(0)}, x_n.options()).index_add(0, sample_of_n, x_n);
  return (sums_S / lengths).index_select(0, sample_of_n);
}

// log r of each token: its own, or its sample's mean (GSPO, arXiv 2507.18071).
Tensor log_ratio(const AlgorithmConfig& config, const LossInputs& in) {
  const Tensor own = in.logprob_n - in.old_n;
  if (config.importance_sampling_level == AlgorithmConfig::Level::kToken)
    return config.compat_verl() ? own.clamp(-20, 20) : own;
  if (!config.compat_verl()) return sample_means(own, in.lengths_S);
  // verl: the sample's ratio with each token's own gradient.
  return (in.logprob_n - in.logprob_n.detach() + sample_means(own, in.lengths_S).detach()).clamp_max(10);
}

// −min(r·A, clip(r, 1 − ε, 1 + ε_high)·A), r at most δ where A is negative (PPO, arXiv 1707.06347; dual clip,
// 1912.09729).
Tensor clipped(const AlgorithmConfig& config, const Tensor& r, const Tensor& A) {
  const bool verl_gspo = config.compat_verl() && config.importance_sampling_level == AlgorithmConfig::Level::kSequence;
  const double cap = verl_gspo ? 0 : config.ratio_cap();
  const Tensor capped = cap > 0 ? at::where(A < 0, r.clamp_max(cap), r) : r;
  return -at::minimum(capped * A, r.clamp(1 - config.epsilon, 1 + config.upper_epsilon()) * A);
}

// −sg(min(r, ε_high))·A·log π (CISPO, arXiv 2506.13585); verl clips both sides around 1.
Tensor cispo(const AlgorithmConfig& config, const Tensor& r, const Tensor& A, const Tensor& logprob) {
  const Tensor weight = config.compat_verl() ? r.clamp(1 - config.epsilon, 1 + config.upper_epsilon())
                                             : r.clamp_max(config.upper_epsilon());
  return -weight.detach() * A * logprob;
}

// −(4/τ)·σ(τ(r − 1))·A, τ by the advantage's sign (SAPO, arXiv 2511.20347).
Tensor sapo(const AlgorithmConfig& config, const Tensor& r, const Tensor& A) {
  const Tensor tau = at::where(A > 0, at::scalar_tensor(config.sapo_temperature_pos, A.options()),
                               at::scalar_tensor(config.sapo_temperature_neg, A.options()));
  return -(4 / tau) * (tau * (r - 1)).sigmoid() * A;
}

Tensor token_losses(const AlgorithmConfig& config, const Tensor& r, const Tensor& A, const Tensor& logprob) {
  switch (config.loss_type) {
    case Loss::kGrpo:
    case Loss::kDapo:
    case Loss::kBnpo:
    case Loss::kDrGrpo:
      return clipped(config, r, A);
    case Loss::kCispo:
      return cispo(config, r, A, logprob);
    case Loss::kSapo:
      return sapo(config, r, A);
  }
  return {};
}

void count_clipped(const AlgorithmConfig& config, const Tensor& r, const Tensor& A, LossSums& sums) {
  if (config.loss_type == Loss::kSapo) return;
  const bool cap_only = config.loss_type == Loss::kCispo && !config.compat_verl();
  const double low = cap_only ? 0 : 1 - config.epsilon,
               high = cap_only ? config.upper_epsilon() : 1 + config.upper_epsilon();
  sums.clipped_low.add(((r < low) & (A < 0)).sum());
  sums.clipped_high.add(((r > high) & (A > 0)).sum());
}

}  // namespace

Tensor kl_divergence(const AlgorithmConfig& config, const Tensor& logprob_n, const Tensor& reference_n) {
  using Kind = AlgorithmConfig::KlEstimator;
  Tensor d = reference_n - logprob_n;  // Schulman, "Approximating KL Divergence", 2020
  switch (config.kl_estimator) {
    case Kind::kK1:
      return -d;
    case Kind::kK2:
      return 0.5 * d * d;
    case Kind::kAbs:
      return d.abs();
    case Kind::kK3:
      if (!config.compat_verl()) return d.exp() - d - 1;
      d = d.clamp(-20, 20);
      return (d.exp() - d - 1).clamp(-10, 10);
  }
  return {};
}

Tensor policy_loss(const AlgorithmConfig& config, const LossInputs& in, LossSums& sums) {
  const Tensor ratio = log_ratio(config, in).exp();
  Tensor loss = (token_losses(config, ratio, in.advantage_n, in.logprob_n) * in.weight_n).sum();
  count_clipped(config, ratio.detach(), in.advantage_n, sums);
  if (in.reference_n.defined()) {
    const Tensor kl = kl_divergence(config, in.logprob_n, in.reference_n);
    sums.kl.add(kl.sum());
    if (!config.kl_in_reward) loss = loss + config.beta * (kl * in.kl_weight_n).sum();
  }
  if (config.entropy_coef > 0) loss = loss - config.entropy_coef * (in.entropy_n * in.entropy_weight_n).sum();
  return loss;
}

Tensor value_loss(const AlgorithmConfig& config, const Tensor& value_n, const Tensor& old_value_n,
                  const Tensor& return_n, const Tensor& weight_n, PendingSum& clipped) {
  const double range = config.value_clip();
  const Tensor near_old = at::minimum(at::maximum(value_n, old_value_n - range), old_value_n + range);
  const Tensor plain = (value_n - return_n).square(), limited = (near_old - return_n).square();
  clipped.add((limited > plain).sum());
  return 0.5 * (at::maximum(plain, limited) * weight_n).sum();
}

TokenWeights token_weights(const AlgorithmConfig& config, int64_t length, const UpdateSize& size) {
  const auto rows = static_cast<double>(size.rows), longest = static_cast<double>(size.max_completion_length);
  const double per_token = 1 / static_cast<double>(size.tokens), per_row = 1 / (rows * static_cast<double>(length));
  double weight = 0;
  switch (config.loss_type) {
    case Loss::kGrpo:
    case Loss::kSapo:
      weight = per_row;
      break;
    case Loss::kBnpo:
      weight = per_token;
      break;
    case Loss::kDapo:
    case Loss::kCispo:  // TRL divides by the mean number of tokens of the rollout's updates
      weight = config.compat_trl() ? static_cast<double>(size.updates) / static_cast<double>(size.rollout_tokens)
                                   : per_token;
      break;
    case Loss::kDrGrpo:
      weight = config.compat_verl() ? 1 / longest : 1 / (rows * longest);
      break;
  }
  const bool verl_gspo = config.compat_verl() && config.importance_sampling_level == AlgorithmConfig::Level::kSequence;
  return {.policy = verl_gspo ? per_row : weight,
          .kl = weight,
          .entropy = config.compat_verl() ? weight : per_token,
          .value = config.compat_verl() ? weight : per_token};
}

}  // namespace ssl4rl::rl
