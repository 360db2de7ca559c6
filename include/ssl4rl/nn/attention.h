// Attention over packed tokens: every segment attends to its own keys, and responses attend to their group's prompt
// too.
//
// A response token attends to its whole prompt (not causal) and, causally, to its own response. The two parts are
// computed apart and merged by log-sum-exp; the backward of each part is fed the merged output and log-sum-exp, with
// which exp(score − lse) is the true probability, so the parts' gradients simply add up to the exact ones.
// Shape suffixes: T tokens, E query heads + 2 × key heads, N query heads, K key heads, H head dimension.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

#include "ssl4rl/nn/layout.h"
#include "ssl4rl/nn/rope.h"

namespace ssl4rl::nn {

/// Queries of segment i attend to keys of segment i.
struct Segments {
  struct Pair {
    Span queries, keys;
  };
  std::vector<Pair> pairs;
  bool causal = false;
  // For CUDA's variable-length kernels, made once by make_plan: int32 offsets on the device, and the longest spans.
  at::Tensor query_offsets, key_offsets;
  int64_t longest_query = 0, longest_key = 0;
};

/// What attends to what in one packed batch; made once and used in every layer.
struct AttentionPlan {
  int64_t tokens = 0;
  Segments self;                  ///< every span over itself; the spans cover all tokens in order
  std::optional<Segments> cross;  ///< answers of each group → their prompt
  int64_t prompt_tokens = 0;      ///< with cross: where the responses begin
};

[[nodiscard]] std::shared_ptr<const AttentionPlan> make_plan(const Layout& layout, at::Device device);
/// Spans of these lengths, one after the other, each attending to all of itself (images and their windows).
[[nodiscard]] std::shared_ptr<const AttentionPlan> make_plan(const std::vector<int64_t>& lengths, at::Device device);

/// qkv_TEH [T, N + 2K, H]: query heads, then key heads, then value heads, before rotation; it is rotated in place and
/// kept for backward, so it must be the caller's to give away. → [T, N * H]. Differentiable in qkv.
[[nodiscard]] at::Tensor attention(const at::Tensor& qkv_TEH, int64_t query_heads, int64_t key_heads,
                                   const RopeTable& rope, const std::shared_ptr<const AttentionPlan>& plan);

/// The device-specific primitive. out_TNH [T, N, H] and the log-sum-exp lse_NT [N, T] of each query. q, k and v are
/// rows of one packed batch ([T, N, H], [T, K, H]; the last stride is 1).
struct AttentionOutput {
  at::Tensor out_TNH, lse_NT;
};
enum class AttentionBody {
  kBest,       ///< the device's own kernel
  kReference,  ///< plain operators on any device and type, segment by segment; what CUDA uses for float32
};
[[nodiscard]] AttentionOutput attention_forward(const at::Tensor& q_TNH, const at::Tensor& k_TKH,
                                                const at::Tensor& v_TKH, const AttentionPlan& plan,
                                                AttentionBody body = AttentionBody::kBest);
/// Gradients of q, k and v, written to the given tensors (of q's, k's and v's shapes; overwritten).
void attention_backward(const at::Tensor& grad_TNH, const at::Tensor& q_TNH, const at::Tensor& k_TKH,
                        const at::Tensor& v_TKH, const AttentionOutput& output, const AttentionPlan& plan,
                        const at::Tensor& dq_TNH, const at::Tensor& dk_TKH, const at::Tensor& dv_TKH,
                        AttentionBody body = AttentionBody::kBest);

}  // namespace ssl4rl::nn
