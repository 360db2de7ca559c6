#include "ssl4rl/rl/supervised.h"

#include <ATen/ATen.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <numeric>

#include "ssl4rl/base/rng.h"
#include "ssl4rl/rl/micro_batch.h"

namespace ssl4rl::rl {

using at::Tensor;

SupervisedTrainer::SupervisedTrainer(Run& run, SftConfig config, tasks::PromptConfig::Style style)
    : run_(run),
      config_(config),
      style_(style),
      prompts_(run.mixture, run.policy.shared_processor(), run.state.step * run.train.prompts_per_step,
               run.data_threads, 2 * run.train.prompts_per_step, run.max_prompt_length) {}

void SupervisedTrainer::run() {
  run_steps(run_, [this](int64_t number) { return step(number); });
}

// What the model is to say: the answer in its tags, behind an empty thought where the style asks for one, and the token
// that ends a turn.
std::vector<int64_t> SupervisedTrainer::target(const tasks::Puzzle& puzzle) const {
  std::string answer = puzzle.answer;
  if (config_.labels == SftConfig::Labels::kRandom) {
    Rng rng(run_.seed, Stream::kLabel, {static_cast<uint64_t>(puzzle.index), static_cast<uint64_t>(puzzle.attempt)});
    answer = run_.mixture->task_of(puzzle).task->random_answer(rng);
  }
  const std::string text =
      (style_ == tasks::PromptConfig::Style::kThink ? "<think>\n</think> <answer>" : "<answer>") + answer + "</answer>";
  std::vector<int64_t> ids = run_.policy.processor().tokenizer().encode(text);
  ids.push_back(run_.policy.processor().end_of_turn());
  return ids;
}

nlohmann::ordered_json SupervisedTrainer::step(int64_t number) {
  const auto begun = std::chrono::steady_clock::now();
  const auto count = static_cast<size_t>(run_.train.prompts_per_step),
             per_update = static_cast<size_t>(run_.train.update_prompts());
  std::vector<EncodedPuzzle> puzzles;
  std::vector<std::vector<int64_t>> targets;
  for (size_t p = 0; p < count; ++p) {
    puzzles.push_back(prompts_.next());
    targets.push_back(target(puzzles.back().puzzle));
  }
  double loss_sum = 0, norm_sum = 0, entropy = 0;
  int64_t updates = 0, tokens = 0;
  const double learning_rate = run_.train.learning_rate_at(number);
  for (size_t first = 0; first < count; first += per_update) {
    std::vector<GroupLengths> lengths;
    int64_t update_tokens = 0;
    for (size_t p = first; p < first + per_update; ++p) {
      lengths.push_back({puzzles[p].prompt.length(), {static_cast<int64_t>(targets[p].size())}});
      update_tokens += lengths.back().completions[0];
    }
    double loss_value = 0;
    for (const MicroBatch& batch : micro_batches(lengths, run_.train.micro_batch_tokens)) {
      if (updates == 0) run_.interrupt.check();
      std::vector<models::PackedGroup> packed;
      for (const GroupPart& part : batch)
        packed.push_back({&puzzles[first + part.group].prompt, {targets[first + part.group]}});
      const nn::TokenLogProbs values = run_.policy.completion_logprobs(
          models::pack(packed, run_.policy.config().ids.image, run_.policy.device()), 1);
      const Tensor loss = -values.logprob_T.sum() / static_cast<double>(update_tokens);
      loss_value += loss.item<double>();
      entropy += values.entropy_T.sum().item<double>();
      loss.backward();
    }
    const train::UpdateResult result =
        train::apply_update(run_.optimizer, run_.train, loss_value, learning_rate, run_.state, run_.log);
    loss_sum += loss_value;
    norm_sum += result.grad_norm;
    tokens += update_tokens;
    ++updates;
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  return {{"step", number},
          {"loss", loss_sum / static_cast<double>(updates)},
          {"entropy", entropy / static_cast<double>(tokens)},
          {"grad_norm", norm_sum / static_cast<double>(updates)},
          {"learning_rate", learning_rate},
          {"updates/skipped", run_.state.skipped_updates},
          {"time/total", seconds},
          {"tokens", tokens},
          {"tokens/s", static_cast<double>(tokens) / seconds},
          {"memory", peak_memory_gib()}};
}

}  // namespace ssl4rl::rl
