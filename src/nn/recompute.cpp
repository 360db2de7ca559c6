#include "ssl4rl/nn/recompute.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ssl4rl/base/error.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

struct Segment : torch::CustomClassHolder {
  std::function<Tensor(const Tensor&)> run;
};

struct Recompute : torch::autograd::Function<Recompute> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& x,
                        const c10::intrusive_ptr<Segment>& segment) {
    ctx->save_for_backward({x});
    ctx->saved_data["segment"] = c10::IValue::make_capsule(segment);
    return segment->run(x);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto segment = c10::static_intrusive_pointer_cast<Segment>(ctx->saved_data["segment"].toCapsule());
    const Tensor x = ctx->get_saved_variables()[0].detach().requires_grad_(true);
    Tensor y;
    {
      const at::AutoGradMode grad_mode(true);
      y = segment->run(x);
    }
    torch::autograd::backward({y}, {grads[0]});
    return {x.grad(), Tensor()};
  }
};

}  // namespace

Tensor recompute(std::function<Tensor(const Tensor&)> f, const Tensor& x) {
  if (!at::GradMode::is_enabled()) return f(x);
  SSL4RL_CHECK(x.requires_grad(), "the input of a recomputed segment must require a gradient");
  auto segment = c10::make_intrusive<Segment>();
  segment->run = std::move(f);
  return Recompute::apply(x, segment);
}

}  // namespace ssl4rl::nn
