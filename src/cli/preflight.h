// What a run will need of memory and time, found out before it starts: memory by calculation, time by trying one step's
// largest micro-batch and a few tokens of its rollouts. The disk: disk_estimate.h.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "memory_estimate.h"
#include "runtime.h"
#include "ssl4rl/base/interrupt.h"
#include "ssl4rl/cli/run_config.h"
#include "ssl4rl/rl/group.h"
#include "ssl4rl/rl/supervised.h"

namespace ssl4rl::cli {

/// Where a run's prompts come from: groups of a file, examples by number, or puzzles.
struct DataOfRun {
  std::span<const rl::Group> replay;
  std::function<rl::SupervisedExample(int64_t)> example;
  std::shared_ptr<const tasks::Mixture> mixture;
  bool supervised = false;

  [[nodiscard]] bool samples_completions() const { return !supervised && replay.empty(); }
};

/// Some of a step's prompts, the longest first, with the lengths that completions may have.
struct StepSample {
  struct Part {
    std::string name;
    models::Prompt prompt;
    std::vector<int64_t> completions;
  };
  std::vector<Part> parts;
};
[[nodiscard]] StepSample draw_sample(const RunConfig& config, const models::Processor& processor,
                                     const DataOfRun& data);

/// Of a step, rank 0's share.
[[nodiscard]] int64_t prompts_of_a_rank(const RunConfig& config, int ranks);

/// The numbers behind a run's memory, from the shapes in config.json alone.
[[nodiscard]] MemoryQuestion memory_question(const RunConfig& config, const models::ModelConfig& model,
                                             const StepSample& sample, const DataOfRun& data, int ranks);

/// What a rank has: its share of the machine's free memory, or its GPU's. Unknown where the system does not say.
[[nodiscard]] std::optional<int64_t> memory_of_rank(const Runtime& runtime, const train::Place& place);
/// Throws Error where weights, gradients and optimiser alone exceed the memory that is left; warns where the whole run
/// is expected to.
void check_memory(const MemoryEstimate& estimate, int64_t left, const Log& log);

/// Whether a trial with the model alone, without an optimiser, fits; else why not.
[[nodiscard]] std::optional<std::string> no_trial_because(const MemoryEstimate& estimate, const Runtime& runtime,
                                                          const train::Place& place);

/// What one rank took for the sample, and what a step would take by it. Seconds.
struct Trial {
  int64_t tokens = 0;                ///< of the micro-batch
  double forward = 0, backward = 0;  ///< of the micro-batch
  int64_t updates = 1;               ///< of a step
  double rollouts = 0, update = 0;   ///< of a step, at most
  double memory = 0;                 ///< at its highest, in GiB
  double deaf = 0;                   ///< the longest stretch in which a signal is only noted
};
/// Runs the sample once, forward and backward, and a few tokens of its rollouts, changing nothing.
[[nodiscard]] Trial try_sample(const RunConfig& config, models::Model& policy, const StepSample& sample,
                               const DataOfRun& data, int ranks, const InterruptGuard& interrupt);
/// The same as lines for the user, with when the run would end.
[[nodiscard]] std::string trial_text(const Trial& trial, const StepSample& sample, int64_t steps_left);

}  // namespace ssl4rl::cli
