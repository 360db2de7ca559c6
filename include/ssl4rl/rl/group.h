// A prompt's samples and what a step comes to know of them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ssl4rl/rewards/reward.h"
#include "ssl4rl/rl/micro_batch.h"
#include "ssl4rl/rl/prompt_source.h"
#include "ssl4rl/rollout/engine.h"
#include "ssl4rl/tasks/curriculum.h"

namespace ssl4rl::rl {

struct Sample {
  rollout::Completion completion;
  std::string text;
  rewards::Score score;
  bool left_out = false;  ///< of the loss: cut off, with mask_truncated
  // One number a token. Empty where nobody needs them.
  std::vector<float> old_logprobs;        ///< when it was drawn, by the training forward; empty: the update's own
  std::vector<float> reference_logprobs;  ///< of the reference model
  std::vector<float> values;              ///< of the critic, before the step's updates
  std::vector<float> advantages, returns;

  [[nodiscard]] int64_t length() const { return static_cast<int64_t>(completion.ids.size()); }
  /// Tokens that the loss sees.
  [[nodiscard]] int64_t trained_length() const { return left_out ? 0 : length(); }
  /// The mean over its tokens, for people.
  [[nodiscard]] double mean_advantage() const;
};

struct Group {
  EncodedPuzzle puzzle;
  std::vector<Sample> samples;
  double baseline = 0;    ///< remax: the reward of a greedy sample
  bool recorded = false;  ///< replayed from a file: the reward alone is known
  int64_t resampled = 0;  ///< times that it was drawn anew
  bool here = true;       ///< this rank samples it and trains on it; of another's the outcome alone is known
  std::optional<tasks::Curriculum::Outcome> fresh;  ///< of the puzzle that was drawn first, with a curriculum

  [[nodiscard]] GroupLengths lengths() const;
  [[nodiscard]] std::vector<double> rewards() const;
};

}  // namespace ssl4rl::rl
