#include "ssl4rl/nn/norm.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels.h"
#include "tensor_kind.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

Tensor forward_cpu(const Tensor& x, const Tensor& weight, double eps, Tensor* rstd) {
  const int64_t rows = x.size(0), width = x.size(1);
  Tensor y = at::empty({rows, width}, x.options());
  if (rstd) *rstd = at::empty({rows}, x.options());
  const float *in = x.const_data_ptr<float>(), *w = weight.const_data_ptr<float>();
  float *out = y.mutable_data_ptr<float>(), *r = rstd ? rstd->mutable_data_ptr<float>() : nullptr;
  at::parallel_for(0, rows, rows_per_task(width), [&](int64_t begin, int64_t end) {
    kernels::best().rms_norm(in + begin * width, w, out + begin * width, r ? r + begin : nullptr, end - begin, width,
                             static_cast<float>(eps));
  });
  return y;
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& x, const Tensor& weight, double eps) {
    Tensor rstd;
    Tensor y = forward_cpu(x, weight, eps, &rstd);
    ctx->save_for_backward({x, weight, rstd});
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &rstd = saved[2], dy = grads[0].contiguous();
    const int64_t rows = x.size(0), width = x.size(1);
    // The weight's gradient is summed in blocks of rows of fixed size, so that it does not depend on the threads.
    constexpr int64_t kBlock = 128;
    const int64_t blocks = (rows + kBlock - 1) / kBlock;
    Tensor dx = at::empty_like(x), partial = at::zeros({blocks, width}, x.options());
    const float *g = dy.const_data_ptr<float>(), *in = x.const_data_ptr<float>(), *w = weight.const_data_ptr<float>(),
                *r = rstd.const_data_ptr<float>();
    float *out = dx.mutable_data_ptr<float>(), *sums = partial.mutable_data_ptr<float>();
    at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        const int64_t first = block * kBlock, count = std::min(kBlock, rows - first);
        kernels::best().rms_norm_backward(g + first * width, in + first * width, w, r + first, out + first * width,
                                          sums + block * width, count, width);
      }
    });
    return {dx, partial.sum(0), Tensor()};
  }
};

}  // namespace

Tensor rms_norm(const Tensor& x_TD, const Tensor& weight_D, double eps) {
  if (!on_cpu_float(x_TD)) return at::rms_norm(x_TD, {x_TD.size(1)}, weight_D, eps);
  const Tensor x = x_TD.contiguous();
  const bool differentiable = at::GradMode::is_enabled() && (x.requires_grad() || weight_D.requires_grad());
  return differentiable ? RmsNorm::apply(x, weight_D, eps) : forward_cpu(x, weight_D, eps, nullptr);
}

}  // namespace ssl4rl::nn
