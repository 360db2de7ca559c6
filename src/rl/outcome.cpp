#include "ssl4rl/rl/outcome.h"

#include <ATen/ATen.h>

#include "ssl4rl/rl/loss.h"

namespace ssl4rl::rl {

std::vector<OutcomeGroup> outcomes_of(const std::vector<Group>& groups, const AlgorithmConfig& algorithm,
                                      const rewards::RewardConfig& reward, double beta, std::vector<double>& kl_means) {
  std::vector<OutcomeGroup> outcomes;
  for (const Group& group : groups) {
    OutcomeGroup& of_group = outcomes.emplace_back(OutcomeGroup{.task = group.puzzle.puzzle.task,
                                                                .baseline = group.baseline,
                                                                .part_weights = {reward.accuracy, reward.format}});
    for (const Sample& sample : group.samples) {
      Outcome& outcome = of_group.samples.emplace_back(
          Outcome{.reward = sample.score.total, .length = static_cast<size_t>(sample.trained_length())});
      outcome.parts = {sample.score.accuracy, sample.score.format};
      outcome.values.assign(sample.values.begin(), sample.values.end());
      of_group.difficulty +=
          (group.recorded ? sample.score.total : sample.score.accuracy) / static_cast<double>(group.samples.size());
      if (algorithm.kl_in_reward && outcome.length > 0) {
        const auto tensor = [](const std::vector<float>& values) { return at::tensor(values, at::kDouble); };
        const at::Tensor kl =
            kl_divergence(algorithm, tensor(sample.old_logprobs), tensor(sample.reference_logprobs)).contiguous();
        for (int64_t t = 0; t < kl.size(0); ++t) outcome.token_penalty.push_back(beta * kl.const_data_ptr<double>()[t]);
        kl_means.push_back(kl.mean().item<double>());
      }
    }
  }
  return outcomes;
}

void note_advantages(const std::vector<OutcomeGroup>& outcomes, std::vector<Group>& groups) {
  for (size_t g = 0; g < outcomes.size(); ++g)
    for (size_t s = 0; s < outcomes[g].samples.size(); ++s) {
      const Outcome& outcome = outcomes[g].samples[s];
      groups[g].samples[s].advantages.assign(outcome.advantages.begin(), outcome.advantages.end());
      groups[g].samples[s].returns.assign(outcome.returns.begin(), outcome.returns.end());
    }
}

}  // namespace ssl4rl::rl
