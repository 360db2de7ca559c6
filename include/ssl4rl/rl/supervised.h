// The supervised start: the puzzles' answers (or random legal ones, which teach the format alone) by maximum
// likelihood.
#pragma once

#include "ssl4rl/rl/config.h"
#include "ssl4rl/rl/prompt_source.h"
#include "ssl4rl/rl/run.h"

namespace ssl4rl::rl {

class SupervisedTrainer {
 public:
  SupervisedTrainer(Run& run, SftConfig config, tasks::PromptConfig::Style style);

  /// Runs the remaining steps.
  void run();

 private:
  nlohmann::ordered_json step(int64_t number);
  [[nodiscard]] std::vector<int64_t> target(const tasks::Puzzle& puzzle) const;

  Run& run_;
  SftConfig config_;
  tasks::PromptConfig::Style style_;
  PromptSource prompts_;
};

}  // namespace ssl4rl::rl
