// CUDA's body: variable-length flash attention, one call for all segments.
//
// The operators take q [rows, N, H] and k, v [rows, K, H] with int32 offsets on the device, bfloat16 or float16, H a
// multiple of 8 up to 256, on sm80 or newer; lse is [N, rows] float32. They are plain ATen calls: this file compiles
// without CUDA, where the calls throw. Their signatures drift between LibTorch's versions, so they are called here
// only.
#include <ATen/ATen.h>

#include "attention_body.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

Tensor rows_of(const Tensor& x, Span span) { return x.narrow(0, span.begin, span.length); }

AttentionOutput forward(const Tensor& q, const Tensor& k, const Tensor& v, const Segments& s) {
  auto [out, lse, rng_state, unused, debug_mask] =
      at::_flash_attention_forward(rows_of(q, query_rows(s)), rows_of(k, key_rows(s)), rows_of(v, key_rows(s)),
                                   s.query_offsets, s.key_offsets, s.longest_query, s.longest_key,
                                   /*dropout_p=*/0.0, s.causal, /*return_debug_mask=*/false);
  return {out, lse};
}

void backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out,
              const Tensor& lse, const Segments& s, const Tensor& dq, const Tensor& dk, const Tensor& dv, bool add) {
  const Span queries = query_rows(s), keys = key_rows(s);
  const Tensor rng_state = at::zeros({2}, q.options().dtype(at::kUInt64)), unused = at::empty({}, rng_state.options());
  const auto [gq, gk, gv] = at::_flash_attention_backward(
      rows_of(grad, queries), rows_of(q, queries), rows_of(k, keys), rows_of(v, keys), rows_of(out, queries),
      lse.narrow(1, queries.begin, queries.length).contiguous(), s.query_offsets, s.key_offsets, s.longest_query,
      s.longest_key, 0.0, s.causal, rng_state, unused);
  const auto put = [&](const Tensor& target, Span span, const Tensor& value) {
    Tensor view = rows_of(target, span);
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

}  // namespace

// With lengths of their own (seqused_k), segments' keys are found by the first of their two offsets alone (BlockInfo in
// flash-attention's block_info.h; they are no longer told to be one after the other), so a cache is read where it lies.
// Where there is one query a segment and more query heads than key heads, the operator wants a row for each segment.
AttentionOutput cuda_flash_over_cache(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& query_offsets,
                                      const Tensor& key_begins, const Tensor& key_lengths, int64_t longest_query,
                                      int64_t longest_key) {
  auto [out, lse, rng_state, unused, debug_mask] = at::_flash_attention_forward(
      q, k, v, query_offsets, key_begins, longest_query, longest_key, /*dropout_p=*/0.0, /*is_causal=*/false,
      /*return_debug_mask=*/false, /*scale=*/std::nullopt, /*window_size_left=*/std::nullopt,
      /*window_size_right=*/std::nullopt, key_lengths);
  return {out, lse};
}

SegmentBody cuda_flash_body() { return {forward, backward}; }

}  // namespace ssl4rl::nn
