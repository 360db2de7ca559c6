// What a training run is made of, for the RL trainer and the supervised start alike.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "ssl4rl/base/interrupt.h"
#include "ssl4rl/base/log.h"
#include "ssl4rl/models/model.h"
#include "ssl4rl/tasks/mixture.h"
#include "ssl4rl/train/checkpoint_writer.h"
#include "ssl4rl/train/communicator.h"
#include "ssl4rl/train/run_directory.h"
#include "ssl4rl/train/update.h"

namespace ssl4rl::rl {

/// Figures of an evaluation by name ("rotation/accuracy").
using EvalReport = std::map<std::string, double>;
/// Evaluates the policy after a step. Handed in from above: this layer knows no benchmark.
using Evaluate = std::function<EvalReport(int64_t step, models::Model& policy)>;

struct Run {
  uint64_t seed = 0;
  train::TrainConfig train;
  train::LogConfig logging;
  train::Communicator& communicator;
  models::Model& policy;
  train::AdamW& optimizer;
  std::shared_ptr<train::ShardedWeights> sharded;  ///< the policy's, or null
  std::shared_ptr<const tasks::Mixture> mixture;
  int data_threads = 1;
  std::optional<int64_t> max_prompt_length;
  train::RunDirectory& directory;
  train::TrainerState state;  ///< where the run stands
  const Log& log;
  const InterruptGuard& interrupt;
  Evaluate evaluate;                               ///< may be empty
  std::function<void()> collect_more;              ///< all ranks, before more_files(); may be empty
  std::function<train::TensorFiles()> more_files;  ///< more of the state, for checkpoints; may be empty

  /// How many of a step's prompts this rank has.
  [[nodiscard]] int64_t own_prompts() const { return communicator.share(train.prompts_per_step); }
};

/// Runs the remaining steps: `step` does one and returns its metrics (it may throw Interrupted as long as it has
/// changed no weight). Logs, saves and evaluates when due. Where a stop is asked for, or a step fails before it has
/// changed a weight, the last finished step is saved and the exception goes on.
void run_steps(Run& run, const std::function<nlohmann::ordered_json(int64_t step)>& step);

/// Names the adapters' dropout in one of this rank's micro-batches, whatever came before a resume.
[[nodiscard]] uint64_t dropout_key(const Run& run, int64_t step, uint64_t micro_batch);

/// Memory at its highest, in GiB: what this process held, or its tensors on a GPU.
[[nodiscard]] double peak_memory_gib(at::Device device);

}  // namespace ssl4rl::rl
