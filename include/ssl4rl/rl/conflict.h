// Whether tasks of a mixture help or hinder one another: the cosine between their gradients (as in PCGrad, arXiv
// 2001.06782).
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "ssl4rl/train/communicator.h"

namespace ssl4rl::rl {

/// "A/B" → cosine between the gradients of A and B, for each pair of tasks in alphabetical order. A task's gradient is
/// a list of tensors, one a parameter, undefined for 0. Pairs with a gradient of norm 0 are left out.
/// Each rank gives its stretches of the tensors.
[[nodiscard]] std::map<std::string, double> pairwise_cosines(
    const std::map<std::string, std::vector<at::Tensor>>& gradients, const train::Communicator& communicator);

}  // namespace ssl4rl::rl
