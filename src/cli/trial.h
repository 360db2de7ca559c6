// Choosing the number of threads and the weights' type by a short measurement on the model at hand.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "runtime.h"
#include "ssl4rl/cli/run_config.h"
#include "ssl4rl/models/model.h"

namespace ssl4rl::cli {

struct Setting {
  int threads = 1;
  at::ScalarType dtype = at::kFloat;
  bool operator==(const Setting&) const = default;
};

/// Seconds that a piece of work takes under a setting.
using Measure = std::function<double(const Setting&)>;

/// The first of `settings`, unless another takes less than three quarters of the time of all before it.
[[nodiscard]] Setting choose_setting(const std::vector<Setting>& settings, const Measure& measure);

/// `most` threads, half as many, and so on down to one; then, where the processor multiplies bfloat16 matrices (AMX)
/// and the type may be chosen, the same in bfloat16.
[[nodiscard]] std::vector<Setting> possible_settings(int most, bool type_is_open);

/// Seconds of a share of a training step in one decoder layer of the model: forward and backward of 256 packed tokens,
/// and six decoding steps of 32 samples. The best of at least three runs, and of as many as fit into 0.1 s, so that
/// passing load does not count. Leaves the threads set to those of the setting.
[[nodiscard]] double trial_seconds(const models::Model& model, const Setting& setting);

/// What a run's own file says by now about threads and type (check_resume), in place of what choose_runtime took.
void take_over(const App& app, const RunConfig& config, Runtime& runtime);
/// Chooses by trial what nobody has said. Returns whether the policy must be loaded anew, in another type.
[[nodiscard]] bool try_settings(App& app, const RunConfig& config, Runtime& runtime, const models::Model& policy);
/// From here on they are the run's: a resume computes in the same way.
void note_settings(const App& app, RunConfig& config, const Runtime& runtime);

}  // namespace ssl4rl::cli
