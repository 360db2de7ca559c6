#include "ssl4rl/rl/trainer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/jsonl.h"
#include "ssl4rl/rl/advantage.h"
#include "ssl4rl/rl/micro_batch.h"

namespace ssl4rl::rl {

using at::Tensor;
using Json = nlohmann::ordered_json;

/// One completion and what is known of it.
struct Trainer::Sample {
  rollout::Completion completion;
  std::string text;
  rewards::Score score;
  double advantage = 0;
  std::vector<float> old_logprobs;        // by the training forward; empty: the update's own
  std::vector<float> reference_logprobs;  // empty without a reference

  [[nodiscard]] int64_t length() const { return static_cast<int64_t>(completion.ids.size()); }
};

/// A puzzle and its samples.
struct Trainer::Group {
  EncodedPuzzle puzzle;
  std::vector<Sample> samples;

  [[nodiscard]] GroupLengths lengths() const {
    GroupLengths lengths{puzzle.prompt.length(), {}};
    for (const Sample& sample : samples) lengths.completions.push_back(sample.length());
    return lengths;
  }
};

/// What one step does and measures.
struct Trainer::Step {
  int64_t number = 0;
  std::vector<Group> groups;
  double learning_rate = 0;
  double masked_mass = 0;
  double gap_sum = 0, gap_max = 0;
  int64_t gap_tokens = 0;
  LossSums loss_sums;
  double entropy_sum = 0;
  int64_t trained_tokens = 0;
  std::vector<double> losses, grad_norms;
  bool changed_weights = false;
  std::map<std::string, double> seconds;
};

namespace {

class Stopwatch {
 public:
  [[nodiscard]] double take() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(begun_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

double mean(const std::vector<double>& values) {
  return values.empty() ? 0 : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

Tensor to_tensor(const std::vector<float>& values, at::Device device) {
  return at::tensor(values, at::kFloat).to(device);
}

}  // namespace

Trainer::Trainer(Run& run, TrainerConfig config, const models::Model* reference)
    : run_(run),
      config_(std::move(config)),
      reference_(reference),
      engine_(run.policy),
      prompts_(run.mixture, run.policy.shared_processor(), run.state.step * run.train.prompts_per_step,
               run.data_threads, 2 * run.train.prompts_per_step, config_.rollout.max_prompt_length) {
  SSL4RL_CHECK(config_.algorithm.beta == 0 || reference_, "beta without a reference");
}

Trainer::~Trainer() = default;

void Trainer::run() {
  run_steps(run_, [this](int64_t number) { return step(number); });
}

Json Trainer::step(int64_t number) {
  Step step{.number = number, .learning_rate = run_.train.learning_rate_at(number)};
  Stopwatch whole, part;

  step.groups = draw();
  roll_out(step);
  step.seconds["rollout"] = part.take();
  reward(step);
  estimate_advantages(step);
  step.seconds["reward"] = part.take();

  const auto per_update = static_cast<size_t>(run_.train.update_prompts());
  const bool several_updates = config_.algorithm.num_iterations > 1 || per_update < step.groups.size();
  if (several_updates) score_old_policy(step);
  if (reference_) score_reference(step);
  for (int64_t iteration = 0; iteration < config_.algorithm.num_iterations; ++iteration)
    for (size_t first = 0; first < step.groups.size(); first += per_update) update_policy(step, first, per_update);
  step.seconds["update"] = part.take();

  if (run_.logging.completions_every > 0 && number % run_.logging.completions_every == 0) write_completions(step);
  step.seconds["total"] = whole.take();
  return metrics(step);
}

std::vector<Trainer::Group> Trainer::draw() {
  std::vector<Group> groups;
  for (int64_t p = 0; p < run_.train.prompts_per_step; ++p) groups.push_back({prompts_.next(), {}});
  return groups;
}

void Trainer::roll_out(Step& step) {
  std::vector<rollout::Request> requests;
  for (const Group& group : step.groups)
    requests.push_back({&group.puzzle.prompt, config_.rollout.num_generations,
                        static_cast<uint64_t>(group.puzzle.puzzle.index),
                        static_cast<uint64_t>(group.puzzle.puzzle.attempt)});
  const rollout::SamplingPlan plan{{config_.rollout.temperature, config_.rollout.top_p, config_.rollout.top_k},
                                   config_.rollout.max_completion_length,
                                   config_.rollout.stop,
                                   run_.seed};
  rollout::Generation drawn = engine_.generate(requests, plan, [this](int64_t) { run_.interrupt.check(); });
  step.masked_mass = drawn.masked_mass;
  for (size_t g = 0; g < step.groups.size(); ++g)
    for (rollout::Completion& completion : drawn.completions[g]) {
      Sample& sample = step.groups[g].samples.emplace_back();
      sample.text = run_.policy.processor().tokenizer().decode(completion.ids);
      sample.completion = std::move(completion);
    }
}

void Trainer::reward(Step& step) {
  for (Group& group : step.groups) {
    const tasks::Puzzle& puzzle = group.puzzle.puzzle;
    const rewards::Expected expected{puzzle.task, puzzle.preset, run_.mixture->task_of(puzzle).reward_function(),
                                     puzzle.answer};
    for (Sample& sample : group.samples)
      sample.score = rewards::score(config_.reward, config_.style, expected, sample.text);
  }
}

void Trainer::estimate_advantages(Step& step) {
  std::vector<std::vector<double>> rewards;
  for (const Group& group : step.groups) {
    auto& of_group = rewards.emplace_back();
    for (const Sample& sample : group.samples) of_group.push_back(sample.score.total);
  }
  const auto advantages = group_advantages(rewards, config_.algorithm.scale_rewards);
  for (size_t g = 0; g < step.groups.size(); ++g)
    for (size_t s = 0; s < step.groups[g].samples.size(); ++s) step.groups[g].samples[s].advantage = advantages[g][s];
}

// Log-probs of all samples under a model, without gradients.
template <typename Visit>
void Trainer::for_each_sample_logprobs(const models::Model& model, std::vector<Group>& groups, Visit visit) {
  const at::NoGradGuard no_grad;
  std::vector<GroupLengths> lengths;
  for (const Group& group : groups) lengths.push_back(group.lengths());
  for (const MicroBatch& batch : micro_batches(lengths, run_.train.micro_batch_tokens)) {
    run_.interrupt.check();
    std::vector<models::PackedGroup> packed;
    for (const GroupPart& part : batch) {
      packed.push_back({&groups[part.group].puzzle.prompt, {}});
      for (const size_t s : part.samples)
        packed.back().completions.emplace_back(groups[part.group].samples[s].completion.ids);
    }
    const Tensor values = model
                              .completion_logprobs(models::pack(packed, model.config().ids.image, model.device()),
                                                   config_.rollout.temperature)
                              .logprob_T.to(at::kFloat)
                              .cpu()
                              .contiguous();
    const float* at = values.const_data_ptr<float>();
    for (const GroupPart& part : batch)
      for (const size_t s : part.samples) {
        Sample& sample = groups[part.group].samples[s];
        visit(sample, at);
        at += sample.length();
      }
  }
}

void Trainer::score_old_policy(Step& step) {
  for_each_sample_logprobs(run_.policy, step.groups, [&](Sample& sample, const float* logprobs) {
    sample.old_logprobs.assign(logprobs, logprobs + sample.length());
    measure_gap(step, sample, logprobs);
  });
  check_gap(step);
}

void Trainer::score_reference(Step& step) {
  for_each_sample_logprobs(*reference_, step.groups, [](Sample& sample, const float* logprobs) {
    sample.reference_logprobs.assign(logprobs, logprobs + sample.length());
  });
}

void Trainer::measure_gap(Step& step, const Sample& sample, const float* logprobs) const {
  for (int64_t t = 0; t < sample.length(); ++t) {
    const double gap = std::abs(static_cast<double>(logprobs[t]) - sample.completion.logprobs[static_cast<size_t>(t)]);
    step.gap_sum += gap;
    step.gap_max = std::max(step.gap_max, gap);
  }
  step.gap_tokens += sample.length();
}

void Trainer::check_gap(const Step& step) const {
  const double limit = config_.algorithm.max_logprob_gap.value_or(
      run_.policy.dtype() == at::kFloat || run_.policy.dtype() == at::kDouble ? 1e-3 : 0.1);
  const double gap = step.gap_sum / static_cast<double>(std::max<int64_t>(1, step.gap_tokens));
  if (limit > 0 && gap > limit)
    fail(
        "step {}: the sampler's log-probs differ from the trainer's by {:.3g} on average, more than "
        "algorithm.max_logprob_gap {:.3g}",
        step.number, gap, limit);
}

// One optimiser update on some groups. The loss is normalised over all of them, so that it does not depend on the cut
// into micro-batches.
void Trainer::update_policy(Step& step, size_t first_group, size_t count) {
  const auto groups = std::span(step.groups).subspan(first_group, std::min(count, step.groups.size() - first_group));
  std::vector<GroupLengths> lengths;
  int64_t rows = 0, tokens = 0;
  for (const Group& group : groups) {
    lengths.push_back(group.lengths());
    rows += static_cast<int64_t>(group.samples.size());
    for (const Sample& sample : group.samples) tokens += sample.length();
  }
  const at::Device device = run_.policy.device();
  double update_loss = 0;
  for (const MicroBatch& batch : micro_batches(lengths, run_.train.micro_batch_tokens)) {
    if (!step.changed_weights) run_.interrupt.check();  // up to here the step can be given up
    std::vector<models::PackedGroup> packed;
    std::vector<const Sample*> samples;
    std::vector<float> advantages, weights, old_logprobs, reference_logprobs;
    for (const GroupPart& part : batch) {
      packed.push_back({&groups[part.group].puzzle.prompt, {}});
      for (const size_t s : part.samples) {
        const Sample& sample = groups[part.group].samples[s];
        samples.push_back(&sample);
        packed.back().completions.emplace_back(sample.completion.ids);
        const auto length = static_cast<size_t>(sample.length());
        advantages.insert(advantages.end(), length, static_cast<float>(sample.advantage));
        weights.insert(weights.end(), length,
                       static_cast<float>(token_weight(config_.algorithm.loss_type, sample.length(), rows, tokens,
                                                       config_.rollout.max_completion_length)));
        old_logprobs.insert(old_logprobs.end(), sample.old_logprobs.begin(), sample.old_logprobs.end());
        reference_logprobs.insert(reference_logprobs.end(), sample.reference_logprobs.begin(),
                                  sample.reference_logprobs.end());
      }
    }
    const nn::TokenLogProbs policy = run_.policy.completion_logprobs(
        models::pack(packed, run_.policy.config().ids.image, device), config_.rollout.temperature);
    if (old_logprobs.empty()) {  // the only update of this rollout: the sampler's log-probs meet the trainer's here
      const Tensor own = policy.logprob_T.detach().to(at::kFloat).cpu().contiguous();
      const float* at = own.const_data_ptr<float>();
      for (const Sample* sample : samples) {
        measure_gap(step, *sample, at);
        at += sample->length();
      }
    }
    const LossInputs inputs{
        .logprob_n = policy.logprob_T,
        .old_n = old_logprobs.empty() ? policy.logprob_T.detach() : to_tensor(old_logprobs, device),
        .reference_n = reference_logprobs.empty() ? Tensor() : to_tensor(reference_logprobs, device),
        .advantage_n = to_tensor(advantages, device),
        .weight_n = to_tensor(weights, device)};
    const Tensor loss = policy_loss(config_.algorithm, inputs, step.loss_sums);
    update_loss += loss.item<double>();
    step.entropy_sum += policy.entropy_T.sum().item<double>();
    step.trained_tokens += policy.logprob_T.size(0);
    loss.backward();
  }
  if (!step.changed_weights) check_gap(step);
  step.changed_weights = true;
  const train::UpdateResult result =
      train::apply_update(run_.optimizer, run_.train, update_loss, step.learning_rate, run_.state, run_.log);
  step.losses.push_back(update_loss);
  step.grad_norms.push_back(result.grad_norm);
}

Json Trainer::metrics(const Step& step) const {
  std::vector<double> rewards, deviations, accuracies, formats;
  std::vector<int64_t> lengths;
  std::map<std::string, std::vector<double>> task_rewards, task_unparsed;
  double equal_groups = 0, cut_off = 0;
  for (const Group& group : step.groups) {
    std::vector<double> of_group;
    for (const Sample& sample : group.samples) {
      of_group.push_back(sample.score.total);
      accuracies.push_back(sample.score.accuracy);
      formats.push_back(sample.score.format);
      lengths.push_back(sample.length());
      cut_off += sample.completion.finish == rollout::FinishReason::kLength;
      task_rewards[group.puzzle.puzzle.task].push_back(sample.score.total);
      task_unparsed[group.puzzle.puzzle.task].push_back(sample.score.unparsed);
    }
    deviations.push_back(standard_deviation(of_group));
    equal_groups += all_equal(of_group);
    rewards.insert(rewards.end(), of_group.begin(), of_group.end());
  }
  const double tokens = static_cast<double>(std::accumulate(lengths.begin(), lengths.end(), int64_t{0})),
               samples = static_cast<double>(lengths.size());
  const double trained = static_cast<double>(std::max<int64_t>(1, step.trained_tokens));

  Json m{{"step", step.number}, {"reward", mean(rewards)}, {"reward_std", mean(deviations)}};
  m["rewards/accuracy/mean"] = mean(accuracies);
  m["rewards/format/mean"] = mean(formats);
  for (const auto& [task, values] : task_rewards) {
    m["tasks/" + task + "/reward"] = mean(values);
    m["tasks/" + task + "/unparsed"] = mean(task_unparsed[task]);
  }
  m["frac_reward_zero_std"] = equal_groups / static_cast<double>(step.groups.size());
  m["completions/mean_length"] = tokens / samples;
  m["completions/min_length"] = *std::min_element(lengths.begin(), lengths.end());
  m["completions/max_length"] = *std::max_element(lengths.begin(), lengths.end());
  m["completions/clipped_ratio"] = cut_off / samples;
  if (reference_) m["kl"] = step.loss_sums.kl / trained;
  m["entropy"] = step.entropy_sum / trained;
  m["clip_ratio/low_mean"] = step.loss_sums.clipped_low / trained;
  m["clip_ratio/high_mean"] = step.loss_sums.clipped_high / trained;
  m["clip_ratio/region_mean"] = (step.loss_sums.clipped_low + step.loss_sums.clipped_high) / trained;
  m["loss"] = mean(step.losses);
  m["grad_norm"] = mean(step.grad_norms);
  m["learning_rate"] = step.learning_rate;
  m["logprob_gap/mean"] = step.gap_sum / static_cast<double>(std::max<int64_t>(1, step.gap_tokens));
  m["logprob_gap/max"] = step.gap_max;
  m["masked_mass/max"] = step.masked_mass;
  m["updates/skipped"] = run_.state.skipped_updates;
  for (const auto& [name, seconds] : step.seconds) m["time/" + name] = seconds;
  m["tokens"] = static_cast<int64_t>(tokens);
  m["tokens/s"] = tokens / step.seconds.at("total");
  m["memory"] = peak_memory_gib();
  return m;
}

void Trainer::write_completions(const Step& step) const {
  std::string lines;
  for (const Group& group : step.groups) {
    const tasks::Puzzle& puzzle = group.puzzle.puzzle;
    for (size_t s = 0; s < group.samples.size(); ++s) {
      const Sample& sample = group.samples[s];
      const Json line{{"step", step.number},
                      {"prompt_id", puzzle.id},
                      {"task", puzzle.task},
                      {"sample", s},
                      {"text", sample.text},
                      {"answer", puzzle.answer},
                      {"extracted", sample.score.extracted ? Json(*sample.score.extracted) : Json()},
                      {"rewards", {{"accuracy", sample.score.accuracy}, {"format", sample.score.format}}},
                      {"reward", sample.score.total},
                      {"advantage", sample.advantage},
                      {"tokens", sample.length()},
                      {"finish_reason", rollout::finish_name(sample.completion.finish)}};
      lines += io::to_line(line) + "\n";
    }
  }
  run_.directory.write_completions(step.number, lines);
}

}  // namespace ssl4rl::rl
