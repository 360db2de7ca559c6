#include "ssl4rl/rl/trainer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "ssl4rl/base/error.h"
#include "ssl4rl/base/rng.h"
#include "ssl4rl/base/stopwatch.h"
#include "ssl4rl/models/lora.h"
#include "ssl4rl/rl/advantage.h"
#include "ssl4rl/rl/conflict.h"
#include "ssl4rl/rl/exchange.h"
#include "ssl4rl/rl/outcome.h"
#include "ssl4rl/rl/train_batch.h"

namespace ssl4rl::rl {

using at::Tensor;
using Json = nlohmann::ordered_json;

namespace {

// For cutting into micro-batches; groups of other ranks have nothing to cut.
std::vector<GroupLengths> lengths_of(std::span<const Group> groups) {
  std::vector<GroupLengths> lengths;
  for (const Group& group : groups) lengths.push_back(group.here ? group.lengths() : GroupLengths{});
  return lengths;
}

int64_t trained_tokens(std::span<const Group> groups) {
  int64_t tokens = 0;
  for (const Group& group : groups)
    for (const Sample& sample : group.samples) tokens += sample.trained_length();
  return tokens;
}

}  // namespace

Trainer::Trainer(Run& run, TrainerConfig config, const models::Model* reference, Critic* critic,
                 std::vector<Group> replay)
    : run_(run),
      config_(std::move(config)),
      reference_(reference),
      critic_(critic),
      replay_(std::move(replay)),
      engine_(run.policy, rollout::limits_for(run.policy, config_.rollout,
                                              [&log = run.log](const std::string& what) { log.warn("{}", what); })),
      watch_(run.logging),
      trains_vision_(run.policy.trains_vision() || (critic && critic->separate())) {
  SSL4RL_CHECK(config_.algorithm.beta == 0 || reference_, "beta without a reference");
  SSL4RL_CHECK(!config_.algorithm.uses_critic() || critic_, "ppo without a critic");
  if (replay_.empty()) prompts_ = std::make_unique<PromptSource>(run);
}

Trainer::~Trainer() = default;

void Trainer::run() {
  run_steps(run_, [this](int64_t number) { return step(number); });
}

Json Trainer::step(int64_t number) {
  Step step{.number = number, .learning_rate = run_.train.learning_rate_at(number)};
  Stopwatch whole, part;

  step.groups = draw();
  if (replay_.empty()) {
    const train::WholeWeights weights(run_.policy, run_.communicator, run_.interrupt);
    roll_out(step);
    step.seconds["rollout"] = part.take();
    reward(step.groups);
    if (curriculum()) note_successes(step);
    if (config_.algorithm.filter_groups) draw_again(step);
    if (config_.algorithm.name == AlgorithmConfig::Estimator::kRemax) roll_out_greedily(step);
    step.seconds["reward"] = part.take();
  }
  score_rollout(step);
  share_outcomes(step);
  estimate_advantages(step);
  step.seconds["score"] = part.take();
  // Before the update: where the disk is full, the weights are still those that can be saved.
  if (run_.communicator.first() && run_.logging.completions_every > 0 && number % run_.logging.completions_every == 0)
    run_.directory.write_completions(number, completion_lines(step));
  part.take();
  update(step);
  step.seconds["update"] = part.take();
  add_up(step, run_.communicator);
  step.seconds["total"] = whole.take();
  step.memory = peak_memory_gib(run_.policy.device());
  watch_.look_at(step, run_.log);
  Json metrics = step_metrics(step, config_.algorithm, run_.state.skipped_updates);
  if (curriculum()) teach_curriculum(step, metrics);
  return metrics;
}

std::vector<Group> Trainer::draw() {
  std::vector<Group> groups = replay_;
  groups.resize(static_cast<size_t>(run_.train.prompts_per_step));
  for (size_t g = 0; g < groups.size(); ++g) {
    groups[g].here = run_.communicator.has(static_cast<int64_t>(g));
    if (prompts_ && groups[g].here) groups[g].puzzle = prompts_->next();
  }
  return groups;
}

void Trainer::roll_out(Step& step) {
  std::vector<Group*> all;
  for (Group& group : step.groups)
    if (group.here) all.push_back(&group);
  generate(std::move(all), step);
}

void Trainer::generate(std::vector<Group*> groups, Step& step) {
  if (groups.empty()) return;
  std::vector<rollout::Request> requests;
  for (const Group* group : groups)
    requests.push_back({&group->puzzle.prompt, config_.rollout.num_generations,
                        static_cast<uint64_t>(group->puzzle.puzzle.index),
                        static_cast<uint64_t>(group->puzzle.puzzle.attempt)});
  const rollout::SamplingPlan plan{
      {config_.rollout.temperature, config_.rollout.top_p, config_.rollout.top_k, config_.rollout.min_p},
      config_.rollout.max_completion_length,
      config_.rollout.stop,
      run_.seed,
      /*keep_features=*/!trains_vision_};
  rollout::Generation drawn = engine_.generate(requests, plan, [this](int64_t) { run_.interrupt.check(); });
  step.masked_mass = std::max(step.masked_mass, drawn.masked_mass);
  for (size_t g = 0; g < groups.size(); ++g) {
    models::Prompt& prompt = groups[g]->puzzle.prompt;
    if (!trains_vision_ && !prompt.images.empty()) prompt.features = drawn.features[g];
    groups[g]->samples.clear();
    for (rollout::Completion& completion : drawn.completions[g]) {
      Sample& sample = groups[g]->samples.emplace_back();
      sample.text = run_.policy.processor().tokenizer().decode(completion.ids);
      sample.left_out = config_.algorithm.mask_truncated && completion.finish == rollout::FinishReason::kLength;
      sample.completion = std::move(completion);
    }
  }
}

void Trainer::reward(std::vector<Group>& groups) const {
  for (Group& group : groups) {
    if (!group.here) continue;
    const rewards::Expected expected = expected_of(group);
    for (Sample& sample : group.samples)
      sample.score = rewards::score(config_.reward, config_.style, expected, sample.text, sample.length());
  }
}

// The curriculum judges fresh puzzles alone: those drawn again were chosen by their reward.
void Trainer::note_successes(Step& step) {
  for (Group& group : step.groups) {
    if (!group.here) continue;
    double sum = 0;
    for (const Sample& sample : group.samples) sum += sample.score.accuracy;
    group.fresh = {group.puzzle.puzzle.entry, sum / static_cast<double>(group.samples.size())};
  }
}

// Last in a step: up to here it can be given up and done again.
void Trainer::teach_curriculum(const Step& step, Json& metrics) {
  for (const auto& [task, level] : curriculum()->levels(step.number)) metrics["tasks/" + task + "/level"] = level;
  std::vector<tasks::Curriculum::Outcome> outcomes;
  for (const Group& group : step.groups) outcomes.push_back(*group.fresh);
  curriculum()->record(step.number, outcomes);
  run_.state.curriculum = curriculum()->state();
}

tasks::Curriculum* Trainer::curriculum() const { return replay_.empty() ? run_.mixture->curriculum() : nullptr; }

rewards::Expected Trainer::expected_of(const Group& group) const {
  return rewards::expected_of(group.puzzle.puzzle, run_.mixture->task_of(group.puzzle.puzzle));
}

// Dynamic sampling (DAPO, arXiv 2503.14476): a group of equal reward teaches nothing, so its puzzle is drawn anew.
void Trainer::draw_again(Step& step) {
  for (int64_t attempt = 0; attempt < config_.algorithm.max_resample; ++attempt) {
    std::vector<Group*> equal;
    for (Group& group : step.groups)
      if (group.here && all_equal(group.rewards())) equal.push_back(&group);
    if (equal.empty()) return;
    for (Group* group : equal) {
      const tasks::Puzzle& old = group->puzzle.puzzle;
      group->puzzle = draw_encoded(*run_.mixture, run_.policy.processor(), old.index, config_.rollout.max_prompt_length,
                                   old.attempt + 1);
      ++group->resampled;
    }
    generate(equal, step);
    reward(step.groups);
  }
}

// ReMax's baseline: the reward of the likeliest answer.
void Trainer::roll_out_greedily(Step& step) {
  std::vector<Group*> groups;
  std::vector<rollout::Request> requests;
  for (Group& group : step.groups) {
    if (!group.here) continue;
    groups.push_back(&group);
    requests.push_back({&group.puzzle.prompt, 1});
  }
  if (groups.empty()) return;
  const rollout::SamplingPlan plan{
      {.temperature = 0}, config_.rollout.max_completion_length, config_.rollout.stop, run_.seed};
  const rollout::Generation drawn = engine_.generate(requests, plan, [this](int64_t) { run_.interrupt.check(); });
  for (size_t g = 0; g < groups.size(); ++g) {
    const auto& ids = drawn.completions[g][0].ids;
    const std::string text = run_.policy.processor().tokenizer().decode(ids);
    groups[g]->baseline =
        rewards::score(config_.reward, config_.style, expected_of(*groups[g]), text, static_cast<int64_t>(ids.size()))
            .total;
  }
}

// Micro-batches of the groups, which some models compute in this order, forward only.
template <typename Visit>
void Trainer::for_each_batch(std::vector<Group>& groups, std::vector<const models::Model*> models, Visit visit) const {
  const at::NoGradGuard no_grad;
  train::SharedPasses passes(std::move(models), train::SharedPasses::Direction::kForward, run_.communicator,
                             &run_.interrupt);
  for (const MicroBatch& cut : micro_batches(lengths_of(groups), run_.train.micro_batch_tokens)) {
    const TrainBatch batch = make_train_batch(groups, cut, run_.policy);
    passes.begin(batch.packed);
    visit(batch);
  }
  passes.finish();
}

// The policy and, if it has a model of its own, the critic.
std::vector<const models::Model*> Trainer::trained_models() const {
  std::vector<const models::Model*> models{&run_.policy};
  if (critic_ && critic_->separate()) models.push_back(critic_->model());
  return models;
}

bool Trainer::several_updates(const Step& step) const {
  return config_.algorithm.num_iterations > 1 || static_cast<size_t>(run_.train.update_prompts()) < step.groups.size();
}

// Log-probs before the step's updates, of the policy where several updates or the reward need them and of the
// reference; the critic's values.
void Trainer::score_rollout(Step& step) {
  const auto recorded = [](const Sample& sample) { return !sample.completion.logprobs.empty(); };
  const auto& lora = run_.policy.weights().lora;
  const bool drops = lora && lora->dropout->probability > 0;
  bool needs_old = several_updates(step) || config_.algorithm.kl_in_reward || drops;
  for (const Group& group : replay_)
    needs_old = needs_old || std::any_of(group.samples.begin(), group.samples.end(), recorded);
  const double temperature = config_.rollout.temperature;
  PendingField values, old, of_reference;
  if (needs_old || critic_)
    for_each_batch(step.groups, trained_models(), [&](const TrainBatch& batch) {
      const Tensor hidden = run_.policy.completion_hidden(batch.packed);
      if (critic_) values.add(batch, critic_->values(batch.packed, hidden));
      if (needs_old) old.add(batch, run_.policy.logprobs_of(hidden, batch.packed, temperature).logprob_T);
    });
  values.write(&Sample::values);
  old.write(&Sample::old_logprobs);
  for (Sample* sample : old.samples()) {
    step.gap.add(sample->old_logprobs, sample->completion.logprobs);
    if (!replay_.empty() && recorded(*sample)) sample->old_logprobs = sample->completion.logprobs;
  }
  if (reference_) {
    const auto reference = reference_->on(run_.policy.device());  // from the host's memory, if it waits there
    for_each_batch(step.groups, {reference.get()}, [&](const TrainBatch& batch) {
      of_reference.add(batch, reference->completion_logprobs(batch.packed, temperature).logprob_T);
    });
    of_reference.write(&Sample::reference_logprobs);
  }
}

// From here on every rank knows all samples of the step.
void Trainer::share_outcomes(Step& step) {
  run_.communicator.agree(run_.interrupt);
  check_gap(step);
  exchange_outcomes(step.groups, run_.communicator);
}

void Trainer::check_gap(const Step& step) const {
  if (!replay_.empty()) return;  // the file's log-probs may be another policy's
  const double limit = config_.algorithm.max_logprob_gap.value_or(
      run_.policy.dtype() == at::kFloat || run_.policy.dtype() == at::kDouble ? 1e-3 : 0.1);
  const double gap =
      run_.communicator.sum(step.gap.sum) / std::max(1.0, run_.communicator.sum(static_cast<double>(step.gap.tokens)));
  if (limit > 0 && !(gap <= limit))
    fail(
        "step {}: the sampler's log-probs differ from the trainer's by {:.3g} on average, more than "
        "algorithm.max_logprob_gap {:.3g}",
        step.number, gap, limit);
}

void Trainer::estimate_advantages(Step& step) {
  const AlgorithmConfig& algorithm = config_.algorithm;
  step.beta = run_.state.beta.value_or(algorithm.beta);
  std::vector<OutcomeGroup> outcomes =
      outcomes_of(step.groups, algorithm, config_.reward, step.beta, step.reward_kl_means);
  rl::estimate_advantages(algorithm, outcomes);
  note_advantages(outcomes, step.groups);
  adapt_beta(step);
}

// The controller of Ziegler et al. (arXiv 1909.08593): β moves by at most a fifth of itself per kl_horizon samples.
void Trainer::adapt_beta(Step& step) {
  const AlgorithmConfig& algorithm = config_.algorithm;
  if (!algorithm.kl_target || step.reward_kl_means.empty()) return;
  const double error = std::clamp(mean(step.reward_kl_means) / *algorithm.kl_target - 1, -0.2, 0.2);
  step.next_beta = step.beta * (1 + error * static_cast<double>(step.reward_kl_means.size()) /
                                        static_cast<double>(algorithm.kl_horizon));
}

void Trainer::update(Step& step) {
  if (run_.logging.conflicts_every > 0 && step.number % run_.logging.conflicts_every == 0) compare_tasks(step);
  const auto per_update = static_cast<size_t>(run_.train.update_prompts());
  const std::span<Group> groups(step.groups);
  for (int64_t iteration = 0; iteration < config_.algorithm.num_iterations; ++iteration) {
    if (critic_ && replay_.empty())  // PPO's mini-batches are shuffled in every epoch
      Rng(run_.seed, Stream::kMiniBatch, {static_cast<uint64_t>(step.number), static_cast<uint64_t>(iteration)})
          .shuffle(step.groups);
    for (size_t first = 0; first < groups.size(); first += per_update)
      update_once(step, groups.subspan(first, std::min(per_update, groups.size() - first)));
  }
  std::stable_sort(step.groups.begin(), step.groups.end(),
                   [](const Group& a, const Group& b) { return a.puzzle.puzzle.index < b.puzzle.puzzle.index; });
  if (step.next_beta) run_.state.beta = step.next_beta;
}

// One optimiser update on some groups.
void Trainer::update_once(Step& step, std::span<Group> groups) {
  const Losses losses = accumulate_gradients(step, groups, step.groups);
  if (!step.changed_weights) {
    run_.communicator.agree(run_.interrupt);
    check_gap(step);
  }
  step.changed_weights = true;
  apply(step, losses);
}

// Forward and backward of an update on `groups`, which are some of the rollout's. The loss is normalised over all of
// them, so that it does not depend on the cut into micro-batches.
Trainer::Losses Trainer::accumulate_gradients(Step& step, std::span<Group> groups, std::span<const Group> rollout) {
  const AlgorithmConfig& algorithm = config_.algorithm;
  UpdateSize size{.tokens = trained_tokens(groups),
                  .rollout_tokens = trained_tokens(rollout),
                  .max_completion_length = config_.rollout.max_completion_length};
  for (const Group& group : groups) size.rows += static_cast<int64_t>(group.samples.size());
  const auto per_update = static_cast<size_t>(run_.train.update_prompts());
  size.updates = static_cast<int64_t>((rollout.size() + per_update - 1) / per_update);
  const at::Device device = run_.policy.device();
  Losses losses;
  PendingField own_logprobs;
  // Up to the first update the step can be given up.
  train::SharedPasses passes(trained_models(), train::SharedPasses::Direction::kForwardAndBackward, run_.communicator,
                             step.changed_weights ? nullptr : &run_.interrupt);
  for (const MicroBatch& cut : micro_batches(lengths_of(groups), run_.train.micro_batch_tokens)) {
    const TrainBatch batch = make_train_batch(groups, cut, run_.policy);
    passes.begin(batch.packed);
    const models::AdapterDropoutScope dropout(run_.policy, dropout_key(run_, step.number, step.micro_batches++));
    const Tensor hidden = run_.policy.completion_hidden(batch.packed);
    const nn::TokenLogProbs policy =
        run_.policy.logprobs_of(hidden, batch.packed, config_.rollout.temperature, algorithm.entropy_coef > 0);
    Tensor old = batch.field(&Sample::old_logprobs, device);
    if (!old.defined()) {  // the only update of this rollout: the sampler's log-probs meet the trainer's here
      old = policy.logprob_T.detach();
      own_logprobs.add(batch, old);
    }
    const TokenWeightTensors weights = token_weight_tensors(algorithm, batch, size, device);
    Tensor loss = policy_loss(algorithm,
                              {.logprob_n = policy.logprob_T,
                               .entropy_n = policy.entropy_T,
                               .old_n = old,
                               .reference_n = batch.field(&Sample::reference_logprobs, device),
                               .advantage_n = batch.field(&Sample::advantages, device),
                               .lengths_S = batch.lengths(),
                               .weight_n = weights.policy_n,
                               .kl_weight_n = weights.kl_n,
                               .entropy_weight_n = weights.entropy_n},
                              step.loss_sums);
    losses.policy.add(loss);
    if (critic_) {
      const Tensor of_values =
          value_loss(algorithm, critic_->values(batch.packed, hidden), batch.field(&Sample::values, device),
                     batch.field(&Sample::returns, device), weights.value_n, step.value_clipped);
      losses.critic.add(of_values);
      if (critic_->separate())
        of_values.backward();
      else
        loss = loss + algorithm.vf_coef * of_values;
    }
    step.entropy_sum.add(policy.entropy_T.sum());
    step.trained_tokens += policy.logprob_T.size(0);
    if (loss.requires_grad()) loss.backward();  // a tower trained alone has no part in a batch without images
  }
  passes.finish();
  own_logprobs.write(&Sample::old_logprobs);
  for (const Sample* sample : own_logprobs.samples()) step.gap.add(sample->old_logprobs, sample->completion.logprobs);
  return losses;
}

// How far tasks pull the weights the same way: the cosine between the gradients that each one's groups give by
// themselves, at the weights before the step's updates.
void Trainer::compare_tasks(Step& step) {
  std::map<std::string, std::vector<Group>> by_task;
  for (const Group& group : step.groups) by_task[group.puzzle.puzzle.task].push_back(group);
  if (by_task.size() < 2) return;
  std::map<std::string, std::vector<Tensor>> gradients;
  for (auto& [task, groups] : by_task) {
    Step alone{.number = step.number, .beta = step.beta};
    (void)accumulate_gradients(alone, groups, groups);
    run_.communicator.agree(run_.interrupt);
    gradients[task] = run_.optimizer.take_gradients();
    if (critic_ && critic_->optimizer()) critic_->optimizer()->clear_gradients();
  }
  step.task_cosines = pairwise_cosines(gradients, run_.communicator);
}

void Trainer::apply(Step& step, const Losses& own) {
  const double policy = run_.communicator.sum(own.policy.read()), critic = run_.communicator.sum(own.critic.read());
  const train::UpdateResult result =
      train::apply_update(run_.optimizer, run_.train, policy + critic, step.learning_rate, run_.state, run_.log);
  step.losses.push_back(policy);
  step.grad_norms.push_back(result.grad_norm);
  if (!critic_) return;
  step.value_losses.push_back(critic);
  if (!critic_->optimizer()) return;
  train::TrainConfig of_critic = run_.train;
  of_critic.learning_rate = config_.algorithm.critic_learning_rate.value_or(run_.train.learning_rate);
  step.critic_grad_norms.push_back(train::apply_update(*critic_->optimizer(), of_critic, policy + critic,
                                                       of_critic.learning_rate_at(step.number), run_.state, run_.log)
                                       .grad_norm);
}

}  // namespace ssl4rl::rl
