// Training data that comes from files instead of puzzles: recorded rollouts (rollout.replay) and conversations
// (sft.data).
#pragma once

#include <filesystem>
#include <vector>

#include "conversation.h"
#include "ssl4rl/models/processor.h"
#include "ssl4rl/rl/config.h"
#include "ssl4rl/rl/group.h"
#include "ssl4rl/rl/supervised.h"

namespace ssl4rl::cli {

/// The groups of a file of rollouts, in order of first appearance. Throws Error naming the line.
[[nodiscard]] std::vector<rl::Group> read_replay(const std::filesystem::path& file, const models::Processor& processor,
                                                 const rl::AlgorithmConfig& algorithm);

/// Conversations to imitate. The last message of each is the assistant's: its text is the target, what stands before it
/// the prompt. Every epoch has its own order.
class Conversations {
 public:
  /// Throws Error naming the line.
  Conversations(const std::filesystem::path& file, std::shared_ptr<const models::Processor> processor, uint64_t seed);

  /// Example `index`, counted over the whole run. Safe from several threads.
  [[nodiscard]] rl::SupervisedExample operator()(int64_t index) const;

 private:
  std::vector<InputLine> lines_;  // the prompts
  std::vector<std::vector<int64_t>> targets_;
  std::shared_ptr<const models::Processor> processor_;
  uint64_t seed_;
};

}  // namespace ssl4rl::cli
