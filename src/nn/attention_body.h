// The bodies of the segment primitive, one file a kind. Each handles one Segments; merging lies in attention.cpp.
#pragma once

#include "ssl4rl/nn/attention.h"

namespace ssl4rl::nn {

struct SegmentBody {
  /// Results for the queries' rows only: out [rows, N, H], lse [N, rows], rows counted from the first segment's.
  AttentionOutput (*forward)(const at::Tensor& q_TNH, const at::Tensor& k_TKH, const at::Tensor& v_TKH,
                             const Segments& segments);
  /// dq, dk and dv of the rows that the segments touch; set where `add` is false, else added.
  void (*backward)(const at::Tensor& grad_TNH, const at::Tensor& q_TNH, const at::Tensor& k_TKH,
                   const at::Tensor& v_TKH, const at::Tensor& out_TNH, const at::Tensor& lse_NT,
                   const Segments& segments, const at::Tensor& dq_TNH, const at::Tensor& dk_TKH,
                   const at::Tensor& dv_TKH, bool add);
};

[[nodiscard]] SegmentBody cpu_body();         // float32 on the CPU
[[nodiscard]] SegmentBody cuda_flash_body();  // bfloat16 and float16 on CUDA
[[nodiscard]] SegmentBody reference_body();

/// The rows of a packed tensor that the segments' queries (or keys) cover; they lie one after the other.
[[nodiscard]] inline Span query_rows(const Segments& s) {
  return {s.pairs.front().queries.begin, s.pairs.back().queries.end() - s.pairs.front().queries.begin};
}
[[nodiscard]] inline Span key_rows(const Segments& s) {
  return {s.pairs.front().keys.begin, s.pairs.back().keys.end() - s.pairs.front().keys.begin};
}

}  // namespace ssl4rl::nn
