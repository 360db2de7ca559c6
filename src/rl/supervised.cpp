#include "ssl4rl/rl/supervised.h"

#include <ATen/ATen.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <numeric>

#include "ssl4rl/base/rng.h"
#include "ssl4rl/models/lora.h"
#include "ssl4rl/rl/micro_batch.h"

namespace ssl4rl::rl {

using at::Tensor;

namespace {

// What the model is to say: the answer in its tags, behind an empty thought where the style asks for one, and the token
// that ends a turn.
std::vector<int64_t> target_of(const tasks::Puzzle& puzzle, const Run& run, const SftConfig& config,
                               tasks::PromptConfig::Style style) {
  std::string answer = puzzle.answer;
  if (config.labels == SftConfig::Labels::kRandom) {
    Rng rng(run.seed, Stream::kLabel, {static_cast<uint64_t>(puzzle.index), static_cast<uint64_t>(puzzle.attempt)});
    answer = run.mixture->task_of(puzzle).task->random_answer(rng);
  }
  std::vector<int64_t> ids = run.policy.processor().tokenizer().encode(tasks::answer_text(style, answer));
  ids.push_back(run.policy.processor().end_of_turn());
  return ids;
}

}  // namespace

SupervisedTrainer::SupervisedTrainer(Run& run, SftConfig config, tasks::PromptConfig::Style style)
    : SupervisedTrainer(run, [&run, config, style](int64_t index) {
        EncodedPuzzle encoded = draw_encoded(*run.mixture, run.policy.processor(), index, run.max_prompt_length);
        return SupervisedExample{std::move(encoded.prompt), target_of(encoded.puzzle, run, config, style)};
      }) {}

SupervisedTrainer::SupervisedTrainer(Run& run, std::function<SupervisedExample(int64_t)> make)
    : run_(run),
      examples_(run.state.step * run.train.prompts_per_step, run.data_threads, 2 * run.train.prompts_per_step,
                std::move(make)) {}

void SupervisedTrainer::run() {
  run_steps(run_, [this](int64_t number) { return step(number); });
}

nlohmann::ordered_json SupervisedTrainer::step(int64_t number) {
  const auto begun = std::chrono::steady_clock::now();
  const auto count = static_cast<size_t>(run_.train.prompts_per_step),
             per_update = static_cast<size_t>(run_.train.update_prompts());
  std::vector<SupervisedExample> examples;
  int64_t tokens = 0;
  for (size_t p = 0; p < count; ++p) {
    examples.push_back(examples_.next());
    tokens += static_cast<int64_t>(examples.back().target.size());
  }
  entropy_sum_ = 0;
  micro_batches_ = 0;
  double loss_sum = 0, norm_sum = 0, updates = 0;
  const double learning_rate = run_.train.learning_rate_at(number);
  for (size_t first = 0; first < count; first += per_update, ++updates) {
    const double loss = update(std::span(examples).subspan(first, per_update), /*may_stop=*/first == 0);
    loss_sum += loss;
    norm_sum += train::apply_update(run_.optimizer, run_.train, loss, learning_rate, run_.state, run_.log).grad_norm;
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  return {{"step", number},
          {"loss", loss_sum / updates},
          {"entropy", entropy_sum_ / static_cast<double>(tokens)},
          {"grad_norm", norm_sum / updates},
          {"learning_rate", learning_rate},
          {"updates/skipped", run_.state.skipped_updates},
          {"time/total", seconds},
          {"tokens", tokens},
          {"tokens/s", static_cast<double>(tokens) / seconds},
          {"memory", peak_memory_gib()}};
}

// Forward and backward of one update: the mean negative log-likelihood over its target tokens.
double SupervisedTrainer::update(std::span<const SupervisedExample> examples, bool may_stop) {
  std::vector<GroupLengths> lengths;
  int64_t tokens = 0;
  for (const SupervisedExample& example : examples) {
    lengths.push_back({example.prompt.length(), {static_cast<int64_t>(example.target.size())}});
    tokens += lengths.back().completions[0];
  }
  double loss_value = 0;
  for (const MicroBatch& batch : micro_batches(lengths, run_.train.micro_batch_tokens)) {
    if (may_stop) run_.interrupt.check();
    const models::AdapterDropoutScope dropout(
        run_.policy,
        Rng(run_.seed, Stream::kDropout, {static_cast<uint64_t>(run_.state.step), micro_batches_++}).next64());
    std::vector<models::PackedGroup> packed;
    for (const GroupPart& part : batch) packed.push_back({&examples[part.group].prompt, {examples[part.group].target}});
    const nn::TokenLogProbs values =
        run_.policy.completion_logprobs(models::pack(packed, run_.policy.config().ids.image, run_.policy.device()), 1);
    const Tensor loss = -values.logprob_T.sum() / static_cast<double>(tokens);
    loss_value += loss.item<double>();
    entropy_sum_ += values.entropy_T.sum().item<double>();
    loss.backward();
  }
  return loss_value;
}

}  // namespace ssl4rl::rl
