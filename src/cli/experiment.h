// Putting a configured run together: images, mixture, models, evaluations.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime.h"
#include "ssl4rl/cli/run_config.h"
#include "ssl4rl/eval/task_bench.h"
#include "ssl4rl/tasks/mixture.h"

namespace ssl4rl::cli {

/// Options of commands that read a run configuration.
struct ConfigOptions {
  std::filesystem::path file;
  std::vector<std::string> overrides;
};

/// Puzzles of all configured tasks over a pool of images.
[[nodiscard]] std::shared_ptr<const tasks::Mixture> make_mixture(const RunConfig& config,
                                                                 std::shared_ptr<const tasks::ImagePool> pool);

/// The benchmark of one configured task over held-out images. Throws Error if there are none.
[[nodiscard]] eval::TaskBench make_task_bench(const RunConfig& config, const tasks::TaskConfig& task,
                                              std::shared_ptr<const tasks::ImagePool> held_out, int64_t samples);

/// Names on the log how many images were skipped and why, the first few of them.
void report_skipped(const tasks::ImagePool& pool, const Log& log);

}  // namespace ssl4rl::cli
