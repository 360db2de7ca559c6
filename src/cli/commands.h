// The commands, one file each. A command adds its options to CLI11's parser and returns what to run when it is chosen.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "ssl4rl/cli/app.h"

namespace ssl4rl::cli {

using Action = std::function<int(App&)>;

Action add_train(CLI::App& command);
Action add_sft(CLI::App& command);
Action add_eval(CLI::App& command);
Action add_generate(CLI::App& command);
Action add_score(CLI::App& command);
Action add_preview(CLI::App& command);
Action add_reward(CLI::App& command);
Action add_inspect(CLI::App& command);
Action add_init(CLI::App& command);
Action add_merge(CLI::App& command);
Action add_bench(CLI::App& command);

}  // namespace ssl4rl::cli
