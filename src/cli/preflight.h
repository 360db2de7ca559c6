// What a run will need and how long it will take, found out before it starts: memory by calculation, the disk by its
// free space, time by trying one step's largest micro-batch and a few tokens of its rollouts.
#pragma once

#include <filesystem>
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

/// The numbers behind a run's memory, from the shapes in config.json alone.
[[nodiscard]] MemoryQuestion memory_question(const RunConfig& config, const models::ModelConfig& model,
                                             const StepSample& sample, const DataOfRun& data);

/// Throws Error where weights, gradients and optimiser alone exceed the memory that is left, or one checkpoint exceeds
/// the free space; warns where the whole run is expected to. The memory is shared with the other ranks of the host.
/// `steps_done` are behind the run already.
void check_memory(const MemoryEstimate& estimate, const Runtime& runtime, const train::Place& place, const Log& log);
void check_disk(const RunConfig& config, const MemoryEstimate& estimate, int64_t steps_done, const Log& log);

/// The same as lines for the user, of a dry run.
[[nodiscard]] std::string disk_text(const RunConfig& config, const MemoryEstimate& estimate, int64_t steps_done);

/// Whether a trial with the model alone, without an optimiser, fits; else why not.
[[nodiscard]] std::optional<std::string> no_trial_because(const MemoryEstimate& estimate, const Runtime& runtime);
/// Runs the sample once, forward and backward, changing nothing; → lines with what it took and when the run would end.
[[nodiscard]] std::string trial_text(const RunConfig& config, models::Model& policy, const StepSample& sample,
                                     const DataOfRun& data, int64_t steps_done, const InterruptGuard& interrupt);

}  // namespace ssl4rl::cli
