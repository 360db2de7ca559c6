// --dry-run: what a run would do and need.
#pragma once

#include "run_parts.h"
#include "ssl4rl/base/interrupt.h"

namespace ssl4rl::cli {

/// Says what a run would do and need, and tries one step's largest part; nothing is written or changed. Each rank tries
/// it, so that they share the machine as they will; rank 0 speaks.
void describe_run(App& app, const RunInput& input, RunKind kind, RunParts& parts, const train::RunDirectory& directory,
                  const Runtime& runtime, const StepSample& sample, const InterruptGuard& interrupt);

}  // namespace ssl4rl::cli
