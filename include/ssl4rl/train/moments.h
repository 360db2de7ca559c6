// AdamW's state of one parameter, and the update of several (Loshchilov & Hutter, ICLR 2019).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "ssl4rl/train/config.h"

namespace ssl4rl::train {

struct Moments {
  at::Tensor first, second;  ///< like the weights; bfloat16 where so asked for
  at::Tensor steps;          ///< the number of updates, a float32 scalar
  at::Tensor master;         ///< float32 weights beside a parameter of lower precision or on another device
  uint64_t parameter = 0;    ///< its number, which names its random numbers
  int64_t begin = 0;         ///< of these values in the parameter, flat
};

/// One update of each weight by its gradient, both float32 (or float64) and on the moments' device. Moments in bfloat16
/// are rounded up or down at random, by the distance to either, so that on average nothing is lost: rounded to the
/// nearest, a second moment would not follow changes of less than 0.4 %, which is all that adam_beta2 0.999 makes. The
/// random numbers follow from the parameter, the place in it and the number of updates.
void update_adamw(const std::vector<Moments*>& moments, const std::vector<at::Tensor>& weights,
                  const std::vector<at::Tensor>& gradients, double learning_rate, double weight_decay,
                  const TrainConfig& config);

}  // namespace ssl4rl::train
