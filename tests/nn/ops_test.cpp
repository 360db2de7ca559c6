// RMSNorm, SwiGLU, RoPE, recomputation and gathering against plain operators in double.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "ssl4rl/nn/activation.h"
#include "ssl4rl/nn/logprob.h"
#include "ssl4rl/nn/norm.h"
#include "ssl4rl/nn/recompute.h"
#include "ssl4rl/nn/rope.h"
#include "support/tensors.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

TEST(Ops, RmsNormMatchesItsFormulaForwardAndBackward) {
  for (const int64_t rows : {1, 7, 300})
    for (const int64_t width : {5, 64, 193}) {
      at::manual_seed(1);
      const Tensor x = at::randn({rows, width}, at::kDouble).mul_(3), w = at::randn({width}, at::kDouble),
                   g = at::randn({rows, width}, at::kDouble);
      const Tensor xe = x.clone().requires_grad_(), we = w.clone().requires_grad_();
      const Tensor expected = xe * (xe.pow(2).mean(1, true) + 1e-6).rsqrt() * we;
      (expected * g).sum().backward();
      const Tensor xf = x.to(at::kFloat).requires_grad_(), wf = w.to(at::kFloat).requires_grad_();
      const Tensor got = rms_norm(xf, wf, 1e-6);
      (got * g.to(at::kFloat)).sum().backward();
      EXPECT_LT(difference(got, expected), 1e-5);
      EXPECT_LT(difference(xf.grad(), xe.grad()), 1e-5);
      EXPECT_LT(difference(wf.grad(), we.grad()), 1e-4);
      const at::NoGradGuard no_grad;
      EXPECT_EQ(difference(rms_norm(xf, wf, 1e-6), got), 0);
      EXPECT_LT(difference(rms_norm(x, w, 1e-6), expected), 1e-12) << "the generic body";
    }
}

TEST(Ops, SwiGluMatchesItsFormulaForwardAndBackward) {
  at::manual_seed(2);
  Tensor x = at::randn({37, 2 * 50}, at::kDouble).mul_(4);
  x.index_put_({at::tensor({0}), at::tensor({0})}, -200.0).index_put_({at::tensor({0}), at::tensor({1})}, 200.0);
  const Tensor g = at::randn({37, 50}, at::kDouble), xe = x.clone().requires_grad_();
  const Tensor expected = xe.slice(1, 0, 50) * xe.slice(1, 0, 50).sigmoid() * xe.slice(1, 50);
  (expected * g).sum().backward();
  const Tensor xf = x.to(at::kFloat).requires_grad_(), got = swiglu(xf * 1);
  (got * g.to(at::kFloat)).sum().backward();
  EXPECT_LT(difference(got, expected), 2e-4);
  EXPECT_LT(difference(xf.grad(), xe.grad()), 2e-4);
  const Tensor xd = x.clone().requires_grad_(), wide = swiglu(xd);  // by ATen's operators
  (wide * g).sum().backward();
  EXPECT_LT(difference(wide, expected), 1e-12);
  EXPECT_LT(difference(xd.grad(), xe.grad()), 1e-12);
}

TEST(Ops, ASecondBackwardThroughSwiGluIsAnErrorNotAWrongResult) {
  const Tensor x = at::randn({3, 8}).requires_grad_(), sum = swiglu(x * 1).sum();
  sum.backward({}, /*retain_graph=*/true);
  EXPECT_THROW(sum.backward(), c10::Error);
}

TEST(Ops, RopeTurnsPairsByTheAngleOfTheirAxis) {
  const Tensor positions = at::tensor({5, 7, 2, 9}, at::kLong).view({2, 2});  // two axes, two tokens
  const Tensor frequencies = rope_frequencies(2, 100);
  EXPECT_LT(difference(frequencies, at::tensor({1.0, 0.1})), 1e-7);
  const RopeTable table = rope_table(positions, frequencies, {0, 1});
  Tensor x = at::zeros({2, 2, 4});
  x.select(2, 0).fill_(1);  // pair 0 = (1, 0)
  x.select(2, 3).fill_(1);  // pair 1 = (0, 1)
  const Tensor original = x.clone();
  apply_rope_(x, 1, table);
  const auto value = [&](int64_t token, int64_t i) { return x[token][0][i].item<double>(); };
  EXPECT_NEAR(value(0, 0), std::cos(5.0), 1e-6);
  EXPECT_NEAR(value(0, 2), std::sin(5.0), 1e-6);
  EXPECT_NEAR(value(1, 1), -std::sin(0.9), 1e-6);
  EXPECT_NEAR(value(1, 3), std::cos(0.9), 1e-6);
  EXPECT_EQ(difference(x.select(1, 1), original.select(1, 1)), 0) << "heads beyond `heads` stay";
  Tensor wide = original.to(at::kDouble);
  apply_rope_(wide, 1, table);
  EXPECT_LT(difference(wide, x), 1e-6) << "the generic body";
  apply_rope_(x, 1, table, -1);
  EXPECT_LT(difference(x, original), 1e-6);
}

TEST(Ops, RecomputationGivesTheSameGradients) {
  at::manual_seed(3);
  const Tensor w = at::randn({8, 8}).requires_grad_(), x0 = at::randn({4, 8});
  std::vector<Tensor> results;
  for (const bool again : {false, true}) {
    w.mutable_grad() = Tensor();
    const Tensor x = x0.clone().requires_grad_();
    Tensor y = x;
    const auto f = [&](const Tensor& t) { return t + at::gelu(at::linear(t, w)); };
    for (int layer = 0; layer < 5; ++layer) y = again ? recompute(f, y) : f(y);
    y.pow(2).sum().backward();
    results.insert(results.end(), {y.detach(), w.grad().clone(), x.grad().clone()});
  }
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(results[i], results[i + 3])) << i;
}

TEST(Ops, GatheredRowsGiveTheirGradientsBackEachTime) {
  const Tensor x = at::arange(12.0f).view({4, 3}).requires_grad_(), index = at::tensor({2, 2, 0, 2}, at::kLong);
  const Tensor y = gather_rows(x, index);
  EXPECT_TRUE(at::equal(y, x.index_select(0, index)));
  (y * at::tensor({1.0f, 10.0f, 100.0f, 1000.0f}).unsqueeze(1)).sum().backward();
  EXPECT_TRUE(at::equal(x.grad().select(1, 0), at::tensor({100.0f, 0.0f, 1011.0f, 0.0f})));
}

}  // namespace
}  // namespace ssl4rl::nn
