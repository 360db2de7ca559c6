// The reference body: plain operators, segment by segment, on any device and type. Scores are materialised, so it is
// for float32 on CUDA and for tests.
#include <ATen/ATen.h>

#include <cmath>

#include "attention_body.h"
#include "tensor_kind.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

// Rows of a packed tensor as [heads, rows, H], each key head repeated for its query heads.
Tensor by_head(const Tensor& x_TnH, Span span, int64_t heads, at::ScalarType type) {
  const Tensor rows = x_TnH.narrow(0, span.begin, span.length).transpose(0, 1).to(type);
  return rows.size(0) == heads ? rows : rows.repeat_interleave(heads / rows.size(0), 0);
}

Tensor scores(const Tensor& q_NLH, const Tensor& k_NLH, bool causal) {
  Tensor s = at::matmul(q_NLH, k_NLH.transpose(1, 2)) / std::sqrt(static_cast<double>(q_NLH.size(2)));
  if (causal) s = s.masked_fill(at::ones({s.size(1), s.size(2)}, s.options().dtype(at::kBool)).triu(1), -INFINITY);
  return s;
}

AttentionOutput forward(const Tensor& q, const Tensor& k, const Tensor& v, const Segments& segments) {
  const Span rows = query_rows(segments);
  const auto wide = wide_type(q);
  AttentionOutput result{at::empty({rows.length, q.size(1), q.size(2)}, q.options()),
                         at::empty({q.size(1), rows.length}, q.options().dtype(wide))};
  for (const auto& [queries, keys] : segments.pairs) {
    const Tensor s = scores(by_head(q, queries, q.size(1), wide), by_head(k, keys, q.size(1), wide), segments.causal);
    const Tensor lse = s.logsumexp(-1);
    const Tensor out = at::matmul((s - lse.unsqueeze(-1)).exp(), by_head(v, keys, q.size(1), wide));
    result.out_TNH.narrow(0, queries.begin - rows.begin, queries.length).copy_(out.transpose(0, 1));
    result.lse_NT.narrow(1, queries.begin - rows.begin, queries.length).copy_(lse);
  }
  return result;
}

void backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out,
              const Tensor& lse, const Segments& segments, const Tensor& dq, const Tensor& dk, const Tensor& dv,
              bool add) {
  const auto wide = wide_type(q);
  const int64_t heads = q.size(1), key_heads = k.size(1);
  const double scale = 1 / std::sqrt(static_cast<double>(q.size(2)));
  for (const auto& [queries, keys] : segments.pairs) {
    const Tensor qs = by_head(q, queries, heads, wide), ks = by_head(k, keys, heads, wide),
                 vs = by_head(v, keys, heads, wide);
    const Tensor g = by_head(grad, queries, heads, wide), o = by_head(out, queries, heads, wide);
    const Tensor p =
        (scores(qs, ks, segments.causal) - lse.narrow(1, queries.begin, queries.length).unsqueeze(-1)).exp();
    const Tensor ds = p * (at::matmul(g, vs.transpose(1, 2)) - (g * o).sum(-1, true)) * scale;
    const auto put = [&](const Tensor& target, Span span, Tensor value_NLH) {
      if (target.size(1) != heads) value_NLH = value_NLH.unflatten(0, {key_heads, heads / key_heads}).sum(1);
      Tensor view = target.narrow(0, span.begin, span.length);
      if (add) {
        view.add_(value_NLH.transpose(0, 1));
      } else {
        view.copy_(value_NLH.transpose(0, 1));
      }
    };
    put(dq, queries, at::matmul(ds, ks));
    put(dk, keys, at::matmul(ds.transpose(1, 2), qs));
    put(dv, keys, at::matmul(p.transpose(1, 2), g));
  }
}

}  // namespace

SegmentBody reference_body() { return {forward, backward}; }

}  // namespace ssl4rl::nn
