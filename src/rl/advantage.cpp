#include "ssl4rl/rl/advantage.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "ssl4rl/base/error.h"

namespace ssl4rl::rl {
namespace {

using Values = std::vector<double>;

// Added to standard deviations: TRL's 1e-4 unless verl's 1e-6 is asked for.
double epsilon_of(const AlgorithmConfig& config) { return config.compat_verl() ? 1e-6 : 1e-4; }

// The reward less the sum of the penalties: what estimators that give a sample one number look at.
double sequence_reward(const Outcome& sample) {
  return sample.reward - std::accumulate(sample.token_penalty.begin(), sample.token_penalty.end(), 0.0);
}

// Each token's reward: the penalty everywhere, the reward at the end.
Values token_rewards(const Outcome& sample) {
  Values rewards(sample.length, 0.0);
  for (size_t t = 0; t < sample.token_penalty.size(); ++t) rewards[t] = -sample.token_penalty[t];
  if (!rewards.empty()) rewards.back() += sample.reward;
  return rewards;
}

Values sequence_rewards(const OutcomeGroup& group) {
  Values rewards;
  for (const Outcome& sample : group.samples) rewards.push_back(sequence_reward(sample));
  return rewards;
}

void assign(OutcomeGroup& group, const Values& advantages) {
  for (size_t i = 0; i < advantages.size(); ++i)
    group.samples[i].advantages.assign(group.samples[i].length, advantages[i]);
}

// (v − mean) / √(variance + 1e-8) over all tokens of all samples, the variance unbiased.
void whiten(std::span<OutcomeGroup> groups) {
  Values all;
  for (const OutcomeGroup& group : groups)
    for (const Outcome& sample : group.samples)
      all.insert(all.end(), sample.advantages.begin(), sample.advantages.end());
  if (all.size() < 2) return;
  const double centre = mean(all), deviation = standard_deviation(all),
               scale = 1 / std::sqrt(deviation * deviation + 1e-8);
  for (OutcomeGroup& group : groups)
    for (Outcome& sample : group.samples)
      for (double& advantage : sample.advantages) advantage = (advantage - centre) * scale;
}

// v − mean, or exactly 0 where all are equal.
Values centred(const Values& values) {
  Values result(values.size(), 0.0);
  if (all_equal(values)) return result;
  const double centre = mean(values);
  for (size_t i = 0; i < values.size(); ++i) result[i] = values[i] - centre;
  return result;
}

Values scaled(Values values, double factor) {
  for (double& value : values)
    if (value != 0) value *= factor;
  return values;
}

// (v − mean) / (s + ε).
Values normalised(const Values& values, double epsilon) {
  return scaled(centred(values), 1 / (standard_deviation(values) + epsilon));
}

// verl gives the only sample of a group its reward as advantage (mean 0, deviation 1).
bool lone_in_verl(const AlgorithmConfig& config, const Values& rewards) {
  return config.compat_verl() && rewards.size() == 1;
}

// A = (R − mean of the group) / (s + ε) (GRPO, arXiv 2402.03300; Dr.GRPO without s).
void grpo(const AlgorithmConfig& config, std::span<OutcomeGroup> groups) {
  using Scale = AlgorithmConfig::ScaleRewards;
  std::map<std::string, Values> of_task;
  Values of_batch;
  for (const OutcomeGroup& group : groups)
    for (const double reward : sequence_rewards(group)) {
      of_task[group.task].push_back(reward);
      of_batch.push_back(reward);
    }
  for (OutcomeGroup& group : groups) {
    const Values rewards = sequence_rewards(group);
    double divisor = 1;
    switch (config.scale_rewards) {
      case Scale::kGroup:
        divisor = standard_deviation(rewards) + epsilon_of(config);
        break;
      case Scale::kTask:
        divisor = standard_deviation(of_task[group.task]) + epsilon_of(config);
        break;
      case Scale::kBatch:
        divisor = standard_deviation(of_batch) + epsilon_of(config);
        break;
      case Scale::kNone:
        break;
    }
    assign(group, lone_in_verl(config, rewards) ? rewards : scaled(centred(rewards), 1 / divisor));
  }
}

// Each reward function normalised in its group, the sum normalised over the batch (GDPO, as TRL's normalize_then_sum).
void grpo_by_part(const AlgorithmConfig& config, std::span<OutcomeGroup> groups) {
  std::vector<Values> sums;
  Values all;
  for (const OutcomeGroup& group : groups) {
    Values& sum = sums.emplace_back(group.samples.size(), 0.0);
    const size_t parts = group.samples.empty() ? 0 : group.samples.front().parts.size();
    for (size_t k = 0; k < parts; ++k) {
      Values column;
      for (const Outcome& sample : group.samples) column.push_back(sample.parts[k]);
      const Values part = normalised(column, epsilon_of(config));
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += group.part_weights[k] * part[i];
    }
    all.insert(all.end(), sum.begin(), sum.end());
  }
  const Values whole = normalised(all, epsilon_of(config));
  size_t at = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    Values advantages(whole.begin() + static_cast<ptrdiff_t>(at),
                      whole.begin() + static_cast<ptrdiff_t>(at + sums[g].size()));
    at += sums[g].size();
    if (all_equal(sequence_rewards(groups[g]))) std::fill(advantages.begin(), advantages.end(), 0.0);
    assign(groups[g], advantages);
  }
}

// A = R − mean of the group's other rewards (RLOO, arXiv 2402.14740).
void rloo(const AlgorithmConfig& config, std::span<OutcomeGroup> groups) {
  for (OutcomeGroup& group : groups) {
    const Values rewards = sequence_rewards(group);
    const auto n = static_cast<double>(rewards.size());
    assign(group, lone_in_verl(config, rewards) ? rewards : scaled(centred(rewards), n / (n - 1)));
  }
}

// A = the discounted return, whitened over all tokens (REINFORCE++, arXiv 2501.03262).
void reinforce(const AlgorithmConfig& config, std::span<OutcomeGroup> groups) {
  for (OutcomeGroup& group : groups)
    for (Outcome& sample : group.samples) {
      sample.advantages = token_rewards(sample);
      for (size_t t = sample.length; t-- > 1;) sample.advantages[t - 1] += config.gamma * sample.advantages[t];
    }
  whiten(groups);
}

// A = R − mean of the group, whitened over all tokens.
void reinforce_baseline(const AlgorithmConfig& config, std::span<OutcomeGroup> groups) {
  for (OutcomeGroup& group : groups) {
    const Values rewards = sequence_rewards(group);
    assign(group, lone_in_verl(config, rewards) ? rewards : centred(rewards));
  }
  whiten(groups);
}

// A = the rewards from here on − the reward of a greedy sample (ReMax, arXiv 2310.10505).
void remax(std::span<OutcomeGroup> groups) {
  for (OutcomeGroup& group : groups)
    for (Outcome& sample : group.samples) {
      sample.advantages = token_rewards(sample);
      for (size_t t = sample.length; t-- > 1;) sample.advantages[t - 1] += sample.advantages[t];
      for (double& advantage : sample.advantages) advantage -= group.baseline;
    }
}

// δ_t = r_t + γ V_{t+1} − V_t,  A_t = δ_t + γλ A_{t+1},  return = A + V (GAE, arXiv 1506.02438); then whitened.
void gae(const AlgorithmConfig& config, std::span<OutcomeGroup> groups) {
  for (OutcomeGroup& group : groups)
    for (Outcome& sample : group.samples) {
      SSL4RL_CHECK(sample.values.size() == sample.length, "{} values for {} tokens", sample.values.size(),
                   sample.length);
      const Values rewards = token_rewards(sample);
      sample.advantages.assign(sample.length, 0.0);
      double next_value = 0, next_advantage = 0;
      for (size_t t = sample.length; t-- > 0;) {
        const double delta = rewards[t] + config.gamma * next_value - sample.values[t];
        next_advantage = sample.advantages[t] = delta + config.gamma * config.lam * next_advantage;
        next_value = sample.values[t];
      }
      sample.returns = sample.advantages;
      for (size_t t = 0; t < sample.length; ++t) sample.returns[t] += sample.values[t];
    }
  if (config.whiten_advantages || config.compat_verl()) whiten(groups);
}

}  // namespace

double mean(std::span<const double> values) {
  return values.empty() ? 0 : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double standard_deviation(std::span<const double> values) {
  if (values.size() < 2) return 0;
  const double centre = mean(values);
  double sum = 0;
  for (const double value : values) sum += (value - centre) * (value - centre);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

bool all_equal(std::span<const double> values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return values.empty() || *low == *high;
}

void estimate_advantages(const AlgorithmConfig& config, std::span<OutcomeGroup> groups) {
  using Estimator = AlgorithmConfig::Estimator;
  switch (config.name) {
    case Estimator::kGrpo:
      if (config.multi_objective_aggregation == AlgorithmConfig::Aggregation::kNormalizeThenSum) {
        grpo_by_part(config, groups);
      } else {
        grpo(config, groups);
      }
      break;
    case Estimator::kPpo:
      gae(config, groups);
      break;
    case Estimator::kRloo:
      rloo(config, groups);
      break;
    case Estimator::kReinforce:
      reinforce(config, groups);
      break;
    case Estimator::kReinforceBaseline:
      reinforce_baseline(config, groups);
      break;
    case Estimator::kRemax:
      remax(groups);
      break;
  }
  if (config.difficulty_weight)
    for (OutcomeGroup& group : groups)
      for (Outcome& sample : group.samples)
        for (double& advantage : sample.advantages) advantage *= 4 * group.difficulty * (1 - group.difficulty);
}

}  // namespace ssl4rl::rl
