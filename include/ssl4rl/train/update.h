// One optimiser update after backward: the check for non-finite values, clipping, AdamW.
#pragma once

#include "ssl4rl/base/log.h"
#include "ssl4rl/train/checkpoint.h"
#include "ssl4rl/train/optimizer.h"

namespace ssl4rl::train {

struct UpdateResult {
  double grad_norm = 0;  ///< before clipping
  bool skipped = false;
};

/// Updates the parameters, or skips the update where loss or gradient is not finite, and clears the gradients. Throws
/// Error when more than max_skipped updates in a row were skipped.
UpdateResult apply_update(AdamW& optimizer, const TrainConfig& config, double loss, double learning_rate,
                          TrainerState& state, const Log& log);

}  // namespace ssl4rl::train
