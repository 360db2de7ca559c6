#include "ssl4rl/nn/activation.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels.h"
#include "tensor_kind.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

Tensor forward(const Tensor& gate_up) {
  if (!on_cpu_float(gate_up)) {
    const auto parts = gate_up.chunk(2, 1);
    return at::silu(parts[0]).mul_(parts[1]);
  }
  const int64_t rows = gate_up.size(0), width = gate_up.size(1) / 2;
  Tensor out = at::empty({rows, width}, gate_up.options());
  const float* const in = gate_up.const_data_ptr<float>();
  float* const y = out.mutable_data_ptr<float>();
  at::parallel_for(0, rows, rows_per_task(width), [&](int64_t begin, int64_t end) {
    kernels::best().swiglu(in + begin * 2 * width, y + begin * width, end - begin, width);
  });
  return out;
}

struct SwiGlu : torch::autograd::Function<SwiGlu> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& gate_up) {
    ctx->save_for_backward({gate_up});
    return nn::forward(gate_up);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    Tensor gate_up = ctx->get_saved_variables()[0];
    const Tensor grad = grads[0].contiguous();
    if (!on_cpu_float(gate_up)) {
      Tensor result = at::empty_like(gate_up);
      const auto in = gate_up.chunk(2, 1), out = result.chunk(2, 1);
      Tensor of_gate = out[0], of_up = out[1];
      at::silu_backward_out(of_gate, grad * in[1], in[0]);
      at::mul_out(of_up, grad, at::silu(in[0]));
      return {result};
    }
    const int64_t rows = gate_up.size(0), width = gate_up.size(1) / 2;
    const float* const g = grad.const_data_ptr<float>();
    float* const values = gate_up.mutable_data_ptr<float>();
    at::parallel_for(0, rows, rows_per_task(width), [&](int64_t begin, int64_t end) {
      kernels::best().swiglu_backward(g + begin * width, values + begin * 2 * width, end - begin, width);
    });
    gate_up.unsafeGetTensorImpl()->bump_version();  // a second backward through it is an error, not a wrong result
    return {gate_up.detach()};
  }
};

}  // namespace

Tensor swiglu(const Tensor& gate_up_TF2) {
  const Tensor gate_up = gate_up_TF2.contiguous();
  return at::GradMode::is_enabled() && gate_up.requires_grad() ? SwiGlu::apply(gate_up) : forward(gate_up);
}

}  // namespace ssl4rl::nn
