#include "ssl4rl/rl/prompt_source.h"

#include "ssl4rl/base/error.h"
#include "ssl4rl/rl/run.h"

namespace ssl4rl::rl {

EncodedPuzzle draw_encoded(const tasks::Mixture& mixture, const models::Processor& processor, int64_t index,
                           std::optional<int64_t> max_prompt_length, int64_t first_attempt) {
  constexpr int kAttempts = 10;
  int64_t length = 0;
  for (int64_t attempt = first_attempt; attempt < first_attempt + kAttempts; ++attempt) {
    EncodedPuzzle encoded{mixture.draw(index, attempt), {}};
    encoded.prompt = processor.encode(tasks::messages_of(encoded.puzzle), encoded.puzzle.images);
    encoded.puzzle.images.clear();
    length = encoded.prompt.length();
    if (!max_prompt_length || length <= *max_prompt_length) return encoded;
  }
  fail(
      "rollout.max_prompt_length: {} puzzles in a row have longer prompts (the last one {} tokens, the limit is {}); "
      "lower model.max_pixels or raise the limit",
      kAttempts, length, *max_prompt_length);
}

PromptSource::PromptSource(const Run& run)
    : pipeline_(run.state.step * run.own_prompts(), run.data_threads, 2 * run.own_prompts(), [&run](int64_t i) {
        return draw_encoded(*run.mixture, run.policy.processor(), run.communicator.item(i, run.train.prompts_per_step),
                            run.max_prompt_length);
      }) {}

}  // namespace ssl4rl::rl
