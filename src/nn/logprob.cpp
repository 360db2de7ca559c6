#include "ssl4rl/nn/logprob.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "kernels.h"
#include "ssl4rl/base/error.h"
#include "tensor_kind.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

// Logits of a chunk of rows, in `buffer` if the types are the same.
Tensor chunk_logits(const Tensor& hidden, const Tensor& weight, Tensor& buffer) {
  if (buffer.scalar_type() != hidden.scalar_type()) return logits(hidden, weight);
  Tensor z = buffer.narrow(0, 0, hidden.size(0));
  return at::mm_out(z, hidden, weight.t());
}

Tensor chunk_buffer(const Tensor& hidden, const Tensor& weight, int64_t chunk) {
  const bool used = wide_type(hidden) == hidden.scalar_type();
  return at::empty({used ? std::min(chunk, hidden.size(0)) : 0, weight.size(0)},
                   hidden.options().dtype(wide_type(hidden)));
}

// Log-sum-exp and entropy of softmax(z / temperature), row by row.
void row_stats(const Tensor& z, double temperature, Tensor lse, Tensor entropy) {
  if (on_cpu_float(z)) {
    const int64_t rows = z.size(0), width = z.size(1);
    const float* const in = z.const_data_ptr<float>();
    float *l = lse.mutable_data_ptr<float>(), *h = entropy.mutable_data_ptr<float>();
    at::parallel_for(0, rows, rows_per_task(width), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        kernels::LogitStats stats;
        kernels::best().logit_stats(in + r * width, 1, width, static_cast<float>(1 / temperature), &stats);
        l[r] = stats.log_sum_exp;
        h[r] = stats.entropy;
      }
    });
    return;
  }
  const Tensor tempered = z / temperature, sum = tempered.logsumexp(1, /*keepdim=*/true);
  lse.copy_(sum.squeeze(1));
  entropy.copy_(lse - (tempered - sum).exp_().mul_(tempered).sum(1));
}

// z ← scale * softmax(z / temperature), row by row.
void scaled_softmax_(Tensor& z, double temperature, const Tensor& lse, const Tensor& scale) {
  if (on_cpu_float(z)) {
    const int64_t rows = z.size(0), width = z.size(1);
    float* const values = z.mutable_data_ptr<float>();
    const float *l = lse.const_data_ptr<float>(), *s = scale.const_data_ptr<float>();
    at::parallel_for(0, rows, rows_per_task(width), [&](int64_t begin, int64_t end) {
      kernels::best().scaled_softmax(values + begin * width, end - begin, width, static_cast<float>(1 / temperature),
                                     l + begin, s + begin);
    });
    return;
  }
  z.div_(temperature).sub_(lse.unsqueeze(1)).exp_().mul_(scale.unsqueeze(1));
}

// z ← (scale − grad · (log p + H)) · p with p = softmax(z / temperature), H its entropy: ∂H/∂(z_j / temperature) is
// −p_j (log p_j + H).
void entropy_softmax_(Tensor& z, double temperature, const Tensor& lse, const Tensor& scale, const Tensor& entropy,
                      const Tensor& grad) {
  const Tensor logp = z.div_(temperature).sub_(lse.unsqueeze(1));
  const Tensor factor = (logp + entropy.unsqueeze(1)).mul_(-grad.unsqueeze(1)).add_(scale.unsqueeze(1));
  logp.exp_().mul_(factor);
}

struct ChunkedLogProb : torch::autograd::Function<ChunkedLogProb> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* ctx, const Tensor& hidden,
                                                const Tensor& weight, const Tensor& targets, double temperature,
                                                int64_t chunk, bool entropy_gradient) {
    const int64_t rows = hidden.size(0);
    Tensor logprob = at::empty({rows}, hidden.options().dtype(wide_type(hidden))), lse = at::empty_like(logprob),
           entropy = at::empty_like(logprob);
    Tensor buffer = chunk_buffer(hidden, weight, chunk);
    for (int64_t begin = 0; begin < rows; begin += chunk) {
      const int64_t n = std::min(chunk, rows - begin);
      const Tensor z = chunk_logits(hidden.narrow(0, begin, n), weight, buffer);
      row_stats(z, temperature, lse.narrow(0, begin, n), entropy.narrow(0, begin, n));
      logprob.narrow(0, begin, n)
          .copy_(z.gather(1, targets.narrow(0, begin, n).unsqueeze(1)).squeeze(1) / temperature -
                 lse.narrow(0, begin, n));
    }
    ctx->save_for_backward({hidden, weight, targets, lse, entropy_gradient ? entropy.clone() : Tensor()});
    ctx->saved_data["temperature"] = temperature;
    ctx->saved_data["chunk"] = chunk;
    if (!entropy_gradient) ctx->mark_non_differentiable({entropy});
    return {logprob, entropy};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &hidden = saved[0], &weight = saved[1], &targets = saved[2], &lse = saved[3], &entropy = saved[4];
    const double temperature = ctx->saved_data["temperature"].toDouble();
    const int64_t chunk = ctx->saved_data["chunk"].toInt(), rows = hidden.size(0);
    Tensor grad_hidden = at::empty_like(hidden);
    // Summed over the chunks in the wide type, in which the optimiser takes it (AdamW).
    Tensor grad_weight =
        ctx->needs_input_grad(1) ? at::zeros_like(weight, weight.options().dtype(wide_type(weight))) : Tensor();
    Tensor buffer = chunk_buffer(hidden, weight, chunk);
    for (int64_t begin = 0; begin < rows; begin += chunk) {
      const int64_t n = std::min(chunk, rows - begin);
      const Tensor h = hidden.narrow(0, begin, n), grad = (grads[0].narrow(0, begin, n) / temperature).contiguous();
      Tensor d = chunk_logits(h, weight, buffer);  // becomes the logits' gradient: grad · (onehot − softmax)
      if (entropy.defined() && grads[1].defined()) {
        entropy_softmax_(d, temperature, lse.narrow(0, begin, n), -grad, entropy.narrow(0, begin, n),
                         grads[1].narrow(0, begin, n) / temperature);
      } else {
        scaled_softmax_(d, temperature, lse.narrow(0, begin, n), -grad);
      }
      d.scatter_add_(1, targets.narrow(0, begin, n).unsqueeze(1), grad.unsqueeze(1));
      const Tensor dz = d.to(hidden.scalar_type());
      Tensor dh = grad_hidden.narrow(0, begin, n);
      at::mm_out(dh, dz, weight);
      if (!grad_weight.defined()) continue;
      if (dz.scalar_type() == grad_weight.scalar_type())
        grad_weight.addmm_(dz.t(), h);
      else
        grad_weight.add_(wide_product(dz.t(), h));
    }
    return {grad_hidden, grad_weight, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

struct GatherRows : torch::autograd::Function<GatherRows> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& x, const Tensor& index) {
    ctx->save_for_backward({index});
    ctx->saved_data["rows"] = x.size(0);
    return x.index_select(0, index);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const Tensor index = ctx->get_saved_variables()[0], grad = grads[0].contiguous();
    const auto wide = wide_type(grad);
    Tensor dx = at::zeros({ctx->saved_data["rows"].toInt(), grad.size(1)}, grad.options().dtype(wide));
    if (!on_cpu_float(grad)) return {dx.index_add_(0, index, grad.to(wide)).to(grad.scalar_type()), Tensor()};
    const int64_t width = grad.size(1);
    const auto* const rows = index.const_data_ptr<int64_t>();
    const float* const from = grad.const_data_ptr<float>();
    float* const to = dx.mutable_data_ptr<float>();
    for (int64_t i = 0; i < index.size(0); ++i)
      for (int64_t j = 0; j < width; ++j) to[rows[i] * width + j] += from[i * width + j];
    return {dx, Tensor()};
  }
};

}  // namespace

Tensor logits(const Tensor& hidden_TD, const Tensor& weight_VD) { return wide_product(hidden_TD, weight_VD.t()); }

int64_t logit_rows(int64_t vocabulary, at::Device device) {
  // 16 MiB of float32 logits on the CPU, so that they stay in its caches, 512 MiB on a GPU; but never so few rows that
  // the product is slow.
  const int64_t values = device.is_cpu() ? 1 << 22 : 1 << 27;
  return std::max<int64_t>(256, values / vocabulary);
}

TokenLogProbs token_logprobs(const Tensor& hidden_TD, const Tensor& weight_VD, const Tensor& targets_T,
                             double temperature, int64_t chunk, bool entropy_gradient) {
  SSL4RL_CHECK(targets_T.size(0) == hidden_TD.size(0), "{} targets for {} rows", targets_T.size(0), hidden_TD.size(0));
  if (chunk == 0) chunk = logit_rows(weight_VD.size(0), hidden_TD.device());
  if (hidden_TD.size(0) == 0) {
    const Tensor none = at::empty({0}, hidden_TD.options().dtype(wide_type(hidden_TD)));
    return {none, none};
  }
  const auto outputs = ChunkedLogProb::apply(hidden_TD, weight_VD, targets_T, temperature, chunk, entropy_gradient);
  return {outputs[0], outputs[1]};
}

Tensor gather_rows(const Tensor& x_TD, const Tensor& index_n) {
  if (!at::GradMode::is_enabled() || !x_TD.requires_grad()) return x_TD.index_select(0, index_n);
  return GatherRows::apply(x_TD, index_n);
}

}  // namespace ssl4rl::nn
