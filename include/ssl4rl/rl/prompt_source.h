// Puzzles drawn and encoded ahead of the trainer, on threads, in order.
#pragma once

#include <memory>
#include <optional>

#include "ssl4rl/base/pipeline.h"
#include "ssl4rl/models/processor.h"
#include "ssl4rl/tasks/mixture.h"

namespace ssl4rl::rl {

/// A puzzle as the network reads it; its images are dropped once encoded.
struct EncodedPuzzle {
  tasks::Puzzle puzzle;
  models::Prompt prompt;
};

/// Draws and encodes one puzzle. A prompt longer than the limit is replaced by the puzzle's next attempt; throws Error
/// where ten in a row are too long.
[[nodiscard]] EncodedPuzzle draw_encoded(const tasks::Mixture& mixture, const models::Processor& processor,
                                         int64_t index, std::optional<int64_t> max_prompt_length,
                                         int64_t first_attempt = 0);

struct Run;

class PromptSource {
 public:
  /// Hands out this rank's share of the puzzles of the run's next steps. At most those of two steps are made ahead.
  explicit PromptSource(const Run& run);

  [[nodiscard]] EncodedPuzzle next() { return pipeline_.next(); }

 private:
  Pipeline<EncodedPuzzle> pipeline_;
};

}  // namespace ssl4rl::rl
