// What a configuration sets without effect: said as warnings before a run.
#pragma once

#include <string>
#include <vector>

#include "ssl4rl/cli/run_config.h"

namespace ssl4rl::cli {

/// One sentence for each key that was given and cannot matter as the others stand. `keys` knows which were given.
[[nodiscard]] std::vector<std::string> settings_without_effect(const RunConfig& config, const config::Section& keys,
                                                               bool supervised);

}  // namespace ssl4rl::cli
