#include "ssl4rl/train/update.h"

#include <cmath>

#include "ssl4rl/base/error.h"

namespace ssl4rl::train {

UpdateResult apply_update(AdamW& optimizer, const TrainConfig& config, double loss, double learning_rate,
                          TrainerState& state, const Log& log) {
  UpdateResult result{.grad_norm = optimizer.gradient_norm()};
  if (std::isfinite(loss) && std::isfinite(result.grad_norm)) {
    optimizer.clip_gradients(result.grad_norm, config.max_grad_norm);
    optimizer.step(learning_rate);
    state.skipped_in_row = 0;
  } else {
    result.skipped = true;
    ++state.skipped_updates;
    if (++state.skipped_in_row > config.max_skipped)
      fail(
          "{} updates in a row had a loss or gradient that is not finite (loss {}, gradient norm {}); the weights are "
          "those before them. Lower train.learning_rate "
          "or look at the completions",
          state.skipped_in_row, loss, result.grad_norm);
    log.warn("update skipped: loss {}, gradient norm {}", loss, result.grad_norm);
  }
  optimizer.clear_gradients();
  return result;
}

}  // namespace ssl4rl::train
