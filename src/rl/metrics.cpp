#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "ssl4rl/io/jsonl.h"
#include "ssl4rl/rl/advantage.h"
#include "ssl4rl/rl/trainer.h"

namespace ssl4rl::rl {
namespace {

using Json = nlohmann::ordered_json;

// What is read off the samples' texts and rewards.
void add_rewards(Json& m, const std::vector<Group>& groups) {
  std::vector<double> rewards, deviations, accuracies, formats;
  std::map<std::string, std::vector<double>> task_rewards, task_unparsed;
  double equal_groups = 0, resampled = 0;
  for (const Group& group : groups) {
    const std::vector<double> of_group = group.rewards();
    deviations.push_back(standard_deviation(of_group));
    equal_groups += all_equal(of_group);
    resampled += static_cast<double>(group.resampled);
    rewards.insert(rewards.end(), of_group.begin(), of_group.end());
    if (group.recorded) continue;
    for (const Sample& sample : group.samples) {
      accuracies.push_back(sample.score.accuracy);
      formats.push_back(sample.score.format);
      task_rewards[group.puzzle.puzzle.task].push_back(sample.score.total);
      task_unparsed[group.puzzle.puzzle.task].push_back(sample.score.unparsed);
    }
  }
  m["reward"] = mean(rewards);
  m["reward_std"] = mean(deviations);
  if (!accuracies.empty()) {
    m["rewards/accuracy/mean"] = mean(accuracies);
    m["rewards/format/mean"] = mean(formats);
  }
  for (const auto& [task, values] : task_rewards) {
    m["tasks/" + task + "/reward"] = mean(values);
    m["tasks/" + task + "/unparsed"] = mean(task_unparsed[task]);
  }
  m["frac_reward_zero_std"] = equal_groups / static_cast<double>(groups.size());
  if (resampled > 0) m["groups/resampled"] = resampled;
}

void add_lengths(Json& m, const std::vector<Group>& groups) {
  std::vector<double> lengths;
  double cut_off = 0;
  for (const Group& group : groups)
    for (const Sample& sample : group.samples) {
      lengths.push_back(static_cast<double>(sample.length()));
      cut_off += sample.completion.finish == rollout::FinishReason::kLength;
    }
  m["completions/mean_length"] = mean(lengths);
  m["completions/min_length"] = static_cast<int64_t>(*std::min_element(lengths.begin(), lengths.end()));
  m["completions/max_length"] = static_cast<int64_t>(*std::max_element(lengths.begin(), lengths.end()));
  m["completions/clipped_ratio"] = cut_off / static_cast<double>(lengths.size());
}

}  // namespace

Json step_metrics(const Step& step, const AlgorithmConfig& algorithm, int64_t skipped_updates) {
  const double trained = static_cast<double>(std::max<int64_t>(1, step.trained_tokens));
  double tokens = 0;
  for (const Group& group : step.groups)
    for (const Sample& sample : group.samples) tokens += static_cast<double>(sample.length());

  Json m{{"step", step.number}};
  add_rewards(m, step.groups);
  add_lengths(m, step.groups);
  if (algorithm.beta > 0) m["kl"] = step.loss_sums.kl.read() / trained;
  if (!step.reward_kl_means.empty()) {
    m["reward_kl"] = mean(step.reward_kl_means);
    m["beta"] = step.beta;
  }
  m["entropy"] = step.entropy_sum.read() / trained;
  m["clip_ratio/low_mean"] = step.loss_sums.clipped_low.read() / trained;
  m["clip_ratio/high_mean"] = step.loss_sums.clipped_high.read() / trained;
  m["clip_ratio/region_mean"] = (step.loss_sums.clipped_low.read() + step.loss_sums.clipped_high.read()) / trained;
  m["loss"] = mean(step.losses);
  if (!step.value_losses.empty()) {
    m["value_loss"] = mean(step.value_losses);
    m["clip_ratio/value_mean"] = step.value_clipped.read() / trained;
  }
  m["grad_norm"] = mean(step.grad_norms);
  if (!step.critic_grad_norms.empty()) m["critic_grad_norm"] = mean(step.critic_grad_norms);
  for (const auto& [pair, cosine] : step.task_cosines) m["gradient_cosine/" + pair] = cosine;
  m["learning_rate"] = step.learning_rate;
  m["logprob_gap/mean"] = step.gap.mean();
  m["logprob_gap/max"] = step.gap.max;
  m["masked_mass/max"] = step.masked_mass;
  m["updates/skipped"] = skipped_updates;
  for (const auto& [name, seconds] : step.seconds) m["time/" + name] = seconds;
  m["tokens"] = static_cast<int64_t>(tokens);
  m["tokens/s"] = tokens / step.seconds.at("total");
  m["memory"] = step.memory;
  return m;
}

std::string completion_lines(const Step& step) {
  std::string lines;
  for (const Group& group : step.groups) {
    const tasks::Puzzle& puzzle = group.puzzle.puzzle;
    for (size_t s = 0; s < group.samples.size(); ++s) {
      const Sample& sample = group.samples[s];
      const Json rewards = group.recorded ? Json::object() : Json(rewards::terms_of(sample.score));
      const Json line{{"step", step.number},
                      {"prompt_id", puzzle.id},
                      {"task", puzzle.task},
                      {"sample", s},
                      {"text", sample.text},
                      {"answer", puzzle.answer},
                      {"extracted", sample.score.extracted ? Json(*sample.score.extracted) : Json()},
                      {"rewards", rewards},
                      {"reward", sample.score.total},
                      {"advantage", sample.mean_advantage()},
                      {"tokens", sample.length()},
                      {"finish_reason", rollout::finish_name(sample.completion.finish)}};
      lines += io::to_line(line) + "\n";
    }
  }
  return lines;
}

}  // namespace ssl4rl::rl
