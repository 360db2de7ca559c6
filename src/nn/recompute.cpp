#include "ssl4rl/nn/recompute.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ssl4rl/base/error.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

void call(const std::function<void()>& f) {
  if (f) f();
}

struct Segment : torch::CustomClassHolder {
  std::function<Tensor(const Tensor&)> run;
  Around around;
};

struct Recompute : torch::autograd::Function<Recompute> {
  // An anchor, which requires a gradient, makes sure that backward comes here.
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& x, const std::optional<Tensor>& /*anchor*/,
                        const c10::intrusive_ptr<Segment>& segment) {
    ctx->save_for_backward({x});
    ctx->saved_data["segment"] = c10::IValue::make_capsule(segment);
    call(segment->around.before);
    Tensor y = segment->run(x);
    call(segment->around.after);
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto segment = c10::static_intrusive_pointer_cast<Segment>(ctx->saved_data["segment"].toCapsule());
    const Tensor x = ctx->get_saved_variables()[0].detach().requires_grad_(ctx->needs_input_grad(0));
    Tensor y;
    call(segment->around.before);
    {
      const at::AutoGradMode grad_mode(true);
      y = segment->run(x);
    }
    if (y.requires_grad()) torch::autograd::backward({y}, {grads[0]});
    call(segment->around.after_backward);
    return {x.grad(), Tensor(), Tensor()};
  }
};

Tensor apply(std::function<Tensor(const Tensor&)> f, const Tensor& x, const std::optional<Tensor>& anchor,
             Around around) {
  auto segment = c10::make_intrusive<Segment>();
  segment->run = std::move(f);
  segment->around = std::move(around);
  return Recompute::apply(x, anchor, segment);
}

}  // namespace

Tensor recompute(std::function<Tensor(const Tensor&)> f, const Tensor& x) {
  if (!at::GradMode::is_enabled()) return f(x);
  SSL4RL_CHECK(x.requires_grad(), "the input of a recomputed segment must require a gradient");
  return apply(std::move(f), x, {}, {});
}

Tensor recompute(std::function<Tensor(const Tensor&)> f, const Tensor& x, Around around) {
  SSL4RL_CHECK(at::GradMode::is_enabled(), "a segment is computed again for the sake of gradients");
  return apply(std::move(f), x, at::empty({0}, x.options()).requires_grad_(true), std::move(around));
}

}  // namespace ssl4rl::nn
