// What `train` and `sft` evaluate while they train.
#pragma once

#include <memory>

#include "ssl4rl/base/interrupt.h"
#include "ssl4rl/cli/app.h"
#include "ssl4rl/cli/run_config.h"
#include "ssl4rl/rl/run.h"
#include "ssl4rl/tasks/image_source.h"

namespace ssl4rl::cli {

/// Evaluates configured tasks on held-out images and public benchmarks; empty without train.eval_every. Throws Error
/// where a benchmark is not there.
[[nodiscard]] rl::Evaluate make_evaluation(App& app, const RunConfig& config,
                                           const std::shared_ptr<const tasks::ImagePool>& held_out,
                                           const InterruptGuard& interrupt);

}  // namespace ssl4rl::cli
