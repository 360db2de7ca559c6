// Keys and values of the rows that are being decoded. A group's prompt stands there once; each sample owns what it
// generated. Nothing is copied when a cache grows.
// Shape suffixes: n rows of a decode step, P prompt tokens, N query heads, K key heads, H head dimension.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <vector>

namespace ssl4rl::nn {

/// One row of a decode step: sample `sample` of group `group`, which has generated `position` tokens before this one.
struct DecodeRow {
  int64_t group = 0, sample = 0, position = 0;
};

class KvCache {
 public:
  virtual ~KvCache() = default;

  /// Makes room for a group and returns its number; numbers of dropped groups are used again.
  [[nodiscard]] virtual int64_t add_group(int64_t prompt_tokens, int64_t samples) = 0;
  /// Stores one layer of a group's prompt: k and v [P, K, H], keys rotated.
  virtual void store_prompt(int64_t group, int64_t layer, const at::Tensor& k_PKH, const at::Tensor& v_PKH) = 0;
  /// Begins a decode step of these rows, of which those of one group stand together. computed_rows: attend() is called
  /// with so many rows, the last ones of which mean nothing; 0: with these.
  virtual void begin(std::span<const DecodeRow> rows, int64_t computed_rows = 0) = 0;
  /// Where two steps of a cache have the same, attend() does the same work on the same tensors, which differ in their
  /// contents alone. Empty: it cannot be told.
  [[nodiscard]] virtual const std::vector<int64_t>& layout() const = 0;
  /// Appends the key and value of each of the step's rows and attends to prompt and own tokens. q [n, N, H], k and v
  /// [n, K, H], rotated → [n, N * H].
  [[nodiscard]] virtual at::Tensor attend(int64_t layer, const at::Tensor& q_nNH, const at::Tensor& k_nKH,
                                          const at::Tensor& v_nKH) = 0;
  /// Frees what a finished sample owns; the other samples and the prompt stay.
  virtual void drop_sample(int64_t group, int64_t sample) = 0;
  virtual void drop_group(int64_t group) = 0;
};

/// Rows that a step of so many is filled up to, so that steps are alike.
[[nodiscard]] int64_t step_rows(int64_t rows);

struct KvShape {
  int64_t layers = 0, key_heads = 0, head_dim = 0, query_heads = 0;
};

/// The cache for tensors like `example`: blocks and fused loops for float32 on the CPU, ATen's operators for the rest.
[[nodiscard]] std::unique_ptr<KvCache> make_kv_cache(const KvShape& shape, const at::TensorOptions& options);
/// The one of ATen's operators, for any device and type.
[[nodiscard]] std::unique_ptr<KvCache> make_batched_kv_cache(const KvShape& shape, const at::TensorOptions& options);

}  // namespace ssl4rl::nn
