// What a run's checkpoints need of the disk and of the time before a job's end.
#pragma once

#include <string>

#include "memory_estimate.h"
#include "ssl4rl/base/log.h"
#include "ssl4rl/cli/run_config.h"

namespace ssl4rl::cli {

/// Throws Error where one checkpoint exceeds the free space; warns where those that will lie there at once do.
/// `steps_done` are behind the run already.
void check_disk(const RunConfig& config, const MemoryEstimate& estimate, int64_t steps_done, const Log& log);
/// The same numbers as a line for the user.
[[nodiscard]] std::string disk_text(const RunConfig& config, const MemoryEstimate& estimate, int64_t steps_done);

/// How long before the end of its time a run needs its signal: a run that does not listen for `deaf` seconds at most,
/// and then writes a checkpoint. Measures the disk with a file that has no name and is gone afterwards.
[[nodiscard]] std::string signal_text(const RunConfig& config, const MemoryEstimate& estimate, double deaf);

}  // namespace ssl4rl::cli
