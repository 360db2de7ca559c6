#include "ssl4rl/nn/attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/tensors.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

struct Case {
  const char* name;
  int64_t heads, key_heads, dim;
  std::vector<int64_t> prompts;
  std::vector<std::vector<int64_t>> responses;
};

const std::vector<Case> kCases{
    {"ragged, grouped queries", 6, 2, 16, {40, 13}, {{9, 1, 33, 7}, {5, 5, 24}}},
    {"equal lengths", 4, 4, 8, {12, 12}, {{6, 6, 6}, {6, 6, 6}}},
    {"one response", 2, 1, 32, {7}, {{3}}},
    {"prompts only", 4, 2, 16, {40, 7, 7}, {{}, {}, {}}},
    {"longer than a block of queries and a task", 2, 1, 40, {290}, {{150, 131}}},
};

// Who may attend to whom, over the whole packed row: [T, T].
Tensor dense_mask(const Layout& layout) {
  Tensor mask = at::zeros({layout.tokens, layout.tokens}, at::kBool);
  const auto causal = [&](Span s) {
    mask.narrow(0, s.begin, s.length)
        .narrow(1, s.begin, s.length)
        .copy_(at::ones({s.length, s.length}, at::kBool).tril());
  };
  for (const GroupSpans& group : layout.groups) {
    causal(group.prompt);
    for (const Span response : group.responses) {
      causal(response);
      mask.narrow(0, response.begin, response.length).narrow(1, group.prompt.begin, group.prompt.length).fill_(true);
    }
  }
  return mask;
}

// Masked attention over the whole row, by operators that autograd differentiates. [T, E, H] → [T, N * H].
Tensor dense_attention(const Tensor& qkv, int64_t heads, int64_t key_heads, const RopeTable& rope, const Tensor& mask) {
  const int64_t half = qkv.size(2) / 2;
  const auto rotate = [&](const Tensor& x) {
    const Tensor a = x.slice(2, 0, half), b = x.slice(2, half), cos = rope.cos_TR.unsqueeze(1).to(x.scalar_type()),
                 sin = rope.sin_TR.unsqueeze(1).to(x.scalar_type());
    return at::cat({a * cos - b * sin, b * cos + a * sin}, 2);
  };
  const Tensor q = rotate(qkv.narrow(1, 0, heads)),
               k = rotate(qkv.narrow(1, heads, key_heads)).repeat_interleave(heads / key_heads, 1),
               v = qkv.narrow(1, heads + key_heads, key_heads).repeat_interleave(heads / key_heads, 1);
  const Tensor scores = at::einsum("qhd,khd->hqk", {q, k}) / std::sqrt(static_cast<double>(qkv.size(2)));
  return at::einsum("hqk,khd->qhd", {scores.masked_fill(mask.logical_not(), -INFINITY).softmax(-1), v}).flatten(1);
}

RopeTable random_rope(int64_t tokens, int64_t dim) {
  const Tensor positions = at::randint(0, 50, {3, tokens}, at::kLong);
  std::vector<int64_t> axes;
  for (int64_t i = 0; i < dim / 2; ++i) axes.push_back(i % 3);
  return rope_table(positions, rope_frequencies(dim / 2, 1e4), axes);
}

class AttentionTypes : public testing::TestWithParam<at::ScalarType> {};

TEST_P(AttentionTypes, EqualsDenseMaskedAttentionForwardAndBackward) {
  const auto type = GetParam();
  const double tolerance = type == at::kDouble ? 1e-12 : 3e-5;
  for (const Case& c : kCases) {
    at::manual_seed(1);
    const Layout layout = Layout::from_lengths(c.prompts, c.responses);
    const RopeTable rope = random_rope(layout.tokens, c.dim);
    const Tensor start = at::randn({layout.tokens, c.heads + 2 * c.key_heads, c.dim}, at::kDouble) * 1.5;
    const Tensor weight = at::randn({layout.tokens, c.heads * c.dim}, at::kDouble);
    const Tensor expected_in = start.clone().requires_grad_();
    const Tensor expected = dense_attention(expected_in, c.heads, c.key_heads, rope, dense_mask(layout));
    (expected * weight).sum().backward();

    const Tensor leaf = start.to(type).requires_grad_();
    const Tensor got = attention(leaf * 1, c.heads, c.key_heads, rope, make_plan(layout, at::kCPU));
    (got * weight.to(type)).sum().backward();
    EXPECT_LT(difference(got, expected), tolerance) << c.name;
    EXPECT_LT(difference(leaf.grad(), expected_in.grad()), 10 * tolerance) << c.name;

    const at::NoGradGuard no_grad;
    EXPECT_EQ(
        difference(attention(start.to(type).clone(), c.heads, c.key_heads, rope, make_plan(layout, at::kCPU)), got), 0)
        << c.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, AttentionTypes, testing::Values(at::kFloat, at::kDouble));

TEST(Attention, TheReferenceBodyAgrees) {
  for (const Case& c : kCases) {
    at::manual_seed(2);
    const Layout layout = Layout::from_lengths(c.prompts, c.responses);
    const auto plan = make_plan(layout, at::kCPU);
    const auto random = [&](int64_t heads) { return at::randn({layout.tokens, heads, c.dim}, at::kDouble); };
    const Tensor q = random(c.heads), k = random(c.key_heads), v = random(c.key_heads), grad = random(c.heads);
    std::vector<std::vector<Tensor>> results;
    for (const auto body : {AttentionBody::kBest, AttentionBody::kReference}) {
      const AttentionOutput out = attention_forward(q, k, v, *plan, body);
      const Tensor dq = at::empty_like(q), dk = at::empty_like(k), dv = at::empty_like(v);
      attention_backward(grad, q, k, v, out, *plan, dq, dk, dv, body);
      results.push_back({out.out_TNH, out.lse_NT, dq, dk, dv});
    }
    for (size_t i = 0; i < results[0].size(); ++i)
      EXPECT_LT(difference(results[0][i], results[1][i]), 1e-12) << c.name << " " << i;
  }
}

TEST(Attention, ASharedPromptEqualsRepeatedPrompts) {
  at::manual_seed(3);
  constexpr int64_t kHeads = 4, kKeyHeads = 2, kDim = 16, kPrompt = 21;
  const std::vector<int64_t> lengths{5, 9, 1};
  const Layout shared = Layout::from_lengths({kPrompt}, {lengths});
  const Tensor x = at::randn({shared.tokens, kHeads + 2 * kKeyHeads, kDim}, at::kDouble),
               weight = at::randn({shared.tokens, kHeads * kDim}, at::kDouble);
  const RopeTable rope = random_rope(shared.tokens, kDim);
  const Tensor leaf = x.clone().requires_grad_();
  const Tensor out = attention(leaf * 1, kHeads, kKeyHeads, rope, make_plan(shared, at::kCPU));
  (out * weight).sum().backward();

  Tensor repeated_grad = at::zeros_like(x);
  for (size_t i = 0; i < lengths.size(); ++i) {
    const Span response = shared.groups[0].responses[i];
    const auto rows = [&](const Tensor& t) {
      return at::cat({t.narrow(0, 0, kPrompt), t.narrow(0, response.begin, response.length)});
    };
    const Layout single = Layout::from_lengths({kPrompt + response.length}, {{}});
    const Tensor own = rows(x).requires_grad_();
    const Tensor own_out =
        attention(own * 1, kHeads, kKeyHeads, {rows(rope.cos_TR), rows(rope.sin_TR)}, make_plan(single, at::kCPU));
    EXPECT_LT(difference(own_out.narrow(0, kPrompt, response.length), out.narrow(0, response.begin, response.length)),
              1e-12);
    EXPECT_LT(difference(own_out.narrow(0, 0, kPrompt), out.narrow(0, 0, kPrompt)), 1e-12);
    // The prompt's own outputs count once in the shared form.
    Tensor own_weight = rows(weight).clone();
    if (i > 0) own_weight.narrow(0, 0, kPrompt).zero_();
    (own_out * own_weight).sum().backward();
    repeated_grad.narrow(0, 0, kPrompt).add_(own.grad().narrow(0, 0, kPrompt));
    repeated_grad.narrow(0, response.begin, response.length).add_(own.grad().narrow(0, kPrompt, response.length));
  }
  EXPECT_LT(difference(leaf.grad(), repeated_grad), 1e-12);
}

TEST(Attention, WindowsAttendToThemselvesAlone) {
  at::manual_seed(4);
  const std::vector<int64_t> lengths{4, 4, 2, 6, 1};
  const int64_t tokens = 17;
  const RopeTable rope = random_rope(tokens, 8);
  const Tensor x = at::randn({tokens, 6, 8}, at::kDouble);
  Tensor mask = at::zeros({tokens, tokens}, at::kBool);
  for (int64_t begin = 0, i = 0; i < 5; begin += lengths[static_cast<size_t>(i++)])
    mask.narrow(0, begin, lengths[static_cast<size_t>(i)])
        .narrow(1, begin, lengths[static_cast<size_t>(i)])
        .fill_(true);
  const Tensor got = attention(x.clone(), 2, 2, rope, make_plan(lengths, at::kCPU));
  EXPECT_LT(difference(got, dense_attention(x, 2, 2, rope, mask)), 1e-12);
}

}  // namespace
}  // namespace ssl4rl::nn
