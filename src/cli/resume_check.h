// Whether a run may be continued with the configuration that is given now.
#pragma once

#include <filesystem>

#include "ssl4rl/base/log.h"
#include "ssl4rl/cli/run_config.h"

namespace ssl4rl::cli {

/// Compares with the configuration of the run that a checkpoint belongs to. Logs what differs; throws Error where a key
/// differs that would make it another run, unless run.accept_changes is set. Threads (of a run in one process, as it is
/// now) and type that are left open are the run's.
void check_resume(RunConfig& config, const std::filesystem::path& checkpoint, int ranks, const Log& log);

}  // namespace ssl4rl::cli
