#include "ssl4rl/nn/logprob.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/tensors.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

struct Inputs {
  Tensor hidden, weight, targets, grad;
};

Inputs random_inputs() {
  at::manual_seed(1);
  return {at::randn({101, 64}, at::kDouble), at::randn({3001, 64}, at::kDouble) * 0.2,
          at::randint(0, 3001, {101}, at::kLong), at::randn({101}, at::kDouble)};
}

TEST(LogProb, EqualsDenseLogSoftmaxForEveryChunkAndTemperature) {
  const Inputs in = random_inputs();
  for (const double temperature : {1.0, 0.7, 2.5}) {
    const Tensor he = in.hidden.clone().requires_grad_(), we = in.weight.clone().requires_grad_();
    const Tensor logp = (at::linear(he, we) / temperature).log_softmax(1);
    const Tensor expected = logp.gather(1, in.targets.unsqueeze(1)).squeeze(1), entropy = -(logp.exp() * logp).sum(1);
    (expected * in.grad).sum().backward();
    for (const auto type : {at::kFloat, at::kDouble})
      for (const int64_t chunk : {0, 1, 16, 1000}) {
        const double tolerance = type == at::kDouble ? 1e-11 : 2e-5;
        const auto leaf = [type](const Tensor& t) { return t.to(type, false, /*copy=*/true).requires_grad_(); };
        const Tensor h = leaf(in.hidden), w = leaf(in.weight);
        const TokenLogProbs got = token_logprobs(h, w, in.targets, temperature, chunk);
        (got.logprob_T * in.grad.to(type)).sum().backward();
        EXPECT_LT(difference(got.logprob_T, expected), tolerance);
        EXPECT_LT(difference(got.entropy_T, entropy), tolerance);
        EXPECT_LT(difference(h.grad(), he.grad()), tolerance);
        EXPECT_LT(difference(w.grad(), we.grad()), tolerance);
        EXPECT_FALSE(got.entropy_T.requires_grad());
      }
  }
}

TEST(LogProb, TheEntropysGradientIsTheDenseOne) {
  const Inputs in = random_inputs();
  const Tensor of_entropy = at::randn({101}, at::kDouble);
  for (const double temperature : {1.0, 0.7}) {
    const Tensor he = in.hidden.clone().requires_grad_(), we = in.weight.clone().requires_grad_();
    const Tensor logp = (at::linear(he, we) / temperature).log_softmax(1);
    const Tensor taken = logp.gather(1, in.targets.unsqueeze(1)).squeeze(1), entropy = -(logp.exp() * logp).sum(1);
    (taken * in.grad + entropy * of_entropy).sum().backward();
    for (const auto type : {at::kFloat, at::kDouble})
      for (const int64_t chunk : {0, 7}) {
        const Tensor h = in.hidden.to(type).clone().requires_grad_(), w = in.weight.to(type).clone().requires_grad_();
        const TokenLogProbs found = token_logprobs(h, w, in.targets, temperature, chunk, /*entropy_gradient=*/true);
        (found.logprob_T * in.grad.to(type) + found.entropy_T * of_entropy.to(type)).sum().backward();
        const double tolerance = type == at::kFloat ? 2e-4 : 1e-11;
        EXPECT_LT(difference(h.grad(), he.grad()), tolerance);
        EXPECT_LT(difference(w.grad(), we.grad()), tolerance);
      }
  }
}

TEST(LogProb, ExtremeLogitsStayFinite) {
  Tensor hidden = at::tensor({1000.0f, -1000.0f}).view({2, 1}), weight = at::tensor({1.0f, -1.0f, 0.0f}).view({3, 1});
  const auto got = token_logprobs(hidden, weight, at::tensor({0, 0}, at::kLong));
  EXPECT_NEAR(got.logprob_T[0].item<float>(), 0, 1e-6);
  EXPECT_NEAR(got.logprob_T[1].item<float>(), -2000, 1e-3);
  EXPECT_NEAR(got.entropy_T.abs().max().item<float>(), 0, 1e-6);
}

TEST(LogProb, ANonFiniteHiddenStateShowsInTheResult) {
  Tensor hidden = at::ones({1, 4});
  hidden[0][1] = NAN;
  EXPECT_TRUE(at::isnan(token_logprobs(hidden, at::ones({5, 4}), at::tensor({2}, at::kLong)).logprob_T).item<bool>());
}

}  // namespace
}  // namespace ssl4rl::nn
