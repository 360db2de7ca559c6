#include "ssl4rl/models/block.h"

#include <ATen/core/grad_mode.h>

#include "ssl4rl/nn/recompute.h"

namespace ssl4rl::models {

using at::Tensor;

Tensor BlockRunner::run(Block block, std::function<Tensor(const Tensor&)> f, const Tensor& x) const {
  if (!keeper) return recompute && x.requires_grad() ? nn::recompute(std::move(f), x) : f(x);
  if (at::GradMode::is_enabled() && keeper->in_backward(block))
    return nn::recompute(std::move(f), x,
                         {.before = [keeper = keeper, block] { keeper->bring(block); },
                          .after = [keeper = keeper, block] { keeper->let_go(block); },
                          .after_backward = [keeper = keeper, block] { keeper->take_gradients(block); }});
  keeper->bring(block);
  Tensor y = f(x);
  keeper->let_go(block);
  return y;
}

}  // namespace ssl4rl::models
