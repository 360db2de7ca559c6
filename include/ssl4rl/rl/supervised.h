// The supervised start: the puzzles' answers (or random legal ones, which teach the format alone), or the answers of
// given conversations, by maximum likelihood.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "ssl4rl/rl/config.h"
#include "ssl4rl/rl/pending_sum.h"
#include "ssl4rl/rl/prompt_source.h"
#include "ssl4rl/rl/run.h"

namespace ssl4rl::rl {

/// A prompt and what is to be said to it.
struct SupervisedExample {
  models::Prompt prompt;
  std::vector<int64_t> target;
};

class SupervisedTrainer {
 public:
  /// On the run's puzzles.
  SupervisedTrainer(Run& run, SftConfig config, tasks::PromptConfig::Style style);
  /// On examples by number, counted over the whole run; called from several threads.
  SupervisedTrainer(Run& run, std::function<SupervisedExample(int64_t index)> make);

  /// Runs the remaining steps.
  void run();

 private:
  nlohmann::ordered_json step(int64_t number);
  double update(std::span<const SupervisedExample> examples, double tokens, bool may_stop);

  Run& run_;
  Pipeline<SupervisedExample> examples_;
  PendingSum entropy_sum_;      // of the step
  uint64_t micro_batches_ = 0;  // of the step, so far
};

}  // namespace ssl4rl::rl
