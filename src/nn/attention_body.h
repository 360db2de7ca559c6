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
[[nodiscard]] SegmentBody cuda_flash_body();  // where flash_takes
[[nodiscard]] SegmentBody reference_body();

[[nodiscard]] inline bool flash_takes(at::Device device, at::ScalarType type, int64_t head_dim) {
  return device.is_cuda() && (type == at::kBFloat16 || type == at::kHalf) && head_dim % 8 == 0 && head_dim <= 256;
}
/// CUDA's kernel over keys and values that lie in a cache [cells, K, H] with room between segments: segment i's queries
/// are the rows query_offsets[i] to query_offsets[i + 1], and its keys the key_lengths[i] cells from key_begins[i] on
/// (int32; key_begins has one number more, which is not looked at). Rows of no segment have no result.
[[nodiscard]] AttentionOutput cuda_flash_over_cache(const at::Tensor& q_TNH, const at::Tensor& k_CKH,
                                                    const at::Tensor& v_CKH, const at::Tensor& query_offsets,
                                                    const at::Tensor& key_begins, const at::Tensor& key_lengths,
                                                    int64_t longest_query, int64_t longest_key);

/// The rows of a packed tensor that the segments' queries (or keys) cover; they lie one after the other.
[[nodiscard]] inline Span query_rows(const Segments& s) {
  return {s.pairs.front().queries.begin, s.pairs.back().queries.end() - s.pairs.front().queries.begin};
}
[[nodiscard]] inline Span key_rows(const Segments& s) {
  return {s.pairs.front().keys.begin, s.pairs.back().keys.end() - s.pairs.front().keys.begin};
}

}  // namespace ssl4rl::nn
