// The CPU's body: LibTorch's flash attention for the CPU, on runs of equal segments.
//
// That operator wants [batch, heads, length, H] of any strides but the last, which must be 1 (unchecked: wrong results);
// it takes fewer key heads than query heads natively and answers in the strides of q. So consecutive segments of equal
// lengths, seen as [n, heads, length, H], go in and out without a copy, in one call. Spans must not be empty (SIGFPE).
#include <ATen/ATen.h>

#include "attention_body.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

// `count` consecutive segments of equal lengths.
struct Run {
  Span queries, keys;  // of the first segment
  int64_t count;

  [[nodiscard]] Span all_queries() const { return {queries.begin, queries.length * count}; }
  [[nodiscard]] Span all_keys() const { return {keys.begin, keys.length * count}; }
};

std::vector<Run> runs_of(const Segments& segments) {
  std::vector<Run> runs;
  for (const auto& [queries, keys] : segments.pairs) {
    if (!runs.empty()) {
      Run& last = runs.back();
      if (last.queries.length == queries.length && last.keys.length == keys.length && last.all_queries().end() == queries.begin &&
          last.all_keys().end() == keys.begin) {
        ++last.count;
        continue;
      }
    }
    runs.push_back({queries, keys, 1});
  }
  return runs;
}

// Rows [span] of x [T, heads, H], as [count, heads, length, H]; of lse [N, T] as [count, N, length].
Tensor batched(const Tensor& x, Span span, int64_t count) {
  return x.narrow(0, span.begin, span.length).unflatten(0, {count, span.length / count}).transpose(1, 2);
}
Tensor batched_lse(const Tensor& lse_NT, Span span, int64_t count) {
  return lse_NT.narrow(1, span.begin, span.length).unflatten(1, {count, span.length / count}).transpose(0, 1);
}
Tensor as_rows(const Tensor& batched) { return batched.transpose(1, 2).flatten(0, 1); }

AttentionOutput forward(const Tensor& q, const Tensor& k, const Tensor& v, const Segments& segments) {
  const Span rows = query_rows(segments);
  const auto runs = runs_of(segments);
  AttentionOutput result;
  result.lse_NT = at::empty({q.size(1), rows.length}, q.options().dtype(q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat));
  if (runs.size() > 1) result.out_TNH = at::empty({rows.length, q.size(1), q.size(2)}, q.options());
  for (const Run& run : runs) {
    const auto [out, lse] = at::_scaled_dot_product_flash_attention_for_cpu(
        batched(q, run.all_queries(), run.count), batched(k, run.all_keys(), run.count), batched(v, run.all_keys(), run.count), 0.0, segments.causal);
    const Span at_rows{run.queries.begin - rows.begin, run.all_queries().length};
    batched_lse(result.lse_NT, at_rows, run.count).copy_(lse);
    if (runs.size() == 1) {
      result.out_TNH = as_rows(out).contiguous();
    } else {
      batched(result.out_TNH, at_rows, run.count).copy_(out);
    }
  }
  return result;
}

void backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out, const Tensor& lse, const Segments& segments,
              const Tensor& dq, const Tensor& dk, const Tensor& dv, bool add) {
  for (const Run& run : runs_of(segments)) {
    const Span queries = run.all_queries(), keys = run.all_keys();
    const auto [gq, gk, gv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
        batched(grad, queries, run.count), batched(q, queries, run.count), batched(k, keys, run.count), batched(v, keys, run.count),
        batched(out, queries, run.count), batched_lse(lse, queries, run.count), 0.0, segments.causal);
    const auto put = [&](const Tensor& target, Span span, const Tensor& value) {
      Tensor view = batched(target, span, run.count);
      if (add) {
        view.add_(value);
      } else {
        view.copy_(value);
      }
    };
    put(dq, queries, gq);
    put(dk, keys, gk);
    put(dv, keys, gv);
  }
}

}  // namespace

SegmentBody cpu_flash_body() { return {forward, backward}; }

}  // namespace ssl4rl::nn
