#include "ssl4rl/rl/supervised.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "ssl4rl/base/rng.h"
#include "ssl4rl/base/stopwatch.h"
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
      examples_(run.state.step * run.own_prompts(), run.data_threads, 2 * run.own_prompts(),
                [&run, make = std::move(make)](int64_t i) {
                  return make(run.communicator.item(i, run.train.prompts_per_step));
                }) {}

void SupervisedTrainer::run() {
  run_steps(run_, [this](int64_t number) { return step(number); });
}

nlohmann::ordered_json SupervisedTrainer::step(int64_t number) {
  const Stopwatch watch;
  const auto count = static_cast<size_t>(run_.train.prompts_per_step),
             per_update = static_cast<size_t>(run_.train.update_prompts());
  std::vector<SupervisedExample> examples(count);  // those of other ranks stay empty
  std::vector<double> update_tokens(count / per_update);
  for (size_t p = 0; p < count; ++p) {
    if (!run_.communicator.has(static_cast<int64_t>(p))) continue;
    examples[p] = examples_.next();
    update_tokens[p / per_update] += static_cast<double>(examples[p].target.size());
  }
  run_.communicator.agree(run_.interrupt);
  run_.communicator.sum(update_tokens);
  const double tokens = std::accumulate(update_tokens.begin(), update_tokens.end(), 0.0);
  entropy_sum_ = {};
  micro_batches_ = 0;
  double loss_sum = 0, norm_sum = 0, updates = 0;
  const double learning_rate = run_.train.learning_rate_at(number);
  for (size_t first = 0; first < count; first += per_update, ++updates) {
    double loss = update(std::span(examples).subspan(first, per_update), update_tokens[first / per_update],
                         /*may_stop=*/first == 0);
    if (first == 0) run_.communicator.agree(run_.interrupt);
    loss = run_.communicator.sum(loss);
    loss_sum += loss;
    norm_sum += train::apply_update(run_.optimizer, run_.train, loss, learning_rate, run_.state, run_.log).grad_norm;
  }
  const double seconds = watch.seconds();
  return {{"step", number},
          {"loss", loss_sum / updates},
          {"entropy", run_.communicator.sum(entropy_sum_.read()) / tokens},
          {"grad_norm", norm_sum / updates},
          {"learning_rate", learning_rate},
          {"updates/skipped", run_.state.skipped_updates},
          {"time/total", seconds},
          {"tokens", static_cast<int64_t>(tokens)},
          {"tokens/s", tokens / seconds},
          {"memory", peak_memory_gib(run_.policy.device())}};
}

// Forward and backward of this rank's part of one update: the mean negative log-likelihood over all its target tokens.
double SupervisedTrainer::update(std::span<const SupervisedExample> examples, double tokens, bool may_stop) {
  std::vector<GroupLengths> lengths;
  for (const SupervisedExample& example : examples)
    lengths.push_back({example.prompt.length(), {static_cast<int64_t>(example.target.size())}});
  PendingSum sum;
  train::SharedPasses passes({&run_.policy}, train::SharedPasses::Direction::kForwardAndBackward, run_.communicator,
                             may_stop ? &run_.interrupt : nullptr);
  for (const MicroBatch& batch : micro_batches(lengths, run_.train.micro_batch_tokens)) {
    const models::AdapterDropoutScope dropout(run_.policy, dropout_key(run_, run_.state.step, micro_batches_++));
    std::vector<models::PackedGroup> packed;
    for (const GroupPart& part : batch) packed.push_back({&examples[part.group].prompt, {examples[part.group].target}});
    const models::PackedBatch whole = models::pack(packed, run_.policy.config().ids.image, run_.policy.device());
    passes.begin(whole);
    const nn::TokenLogProbs values = run_.policy.completion_logprobs(whole, 1);
    const Tensor loss = -values.logprob_T.sum() / tokens;
    sum.add(loss);
    entropy_sum_.add(values.entropy_T.sum());
    if (loss.requires_grad()) loss.backward();  // a tower trained alone has no part in a batch without images
  }
  passes.finish();
  return sum.read();
}

}  // namespace ssl4rl::rl
