// The CPU's body, float32: small matrix products on slices of the packed tensors, which go in and out by their strides
// without a copy, and fused softmax rows between them. Tasks are blocks of queries (forward) or key heads of a segment
// (backward), taken by the threads as they come free; each writes rows of its own, so results do not depend on the
// threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <atomic>
#include <cmath>

#include "attention_body.h"
#include "kernels.h"

// BLAS, column-major; exported by LibTorch.
extern "C" void sgemm_(const char* trans_a, const char* trans_b, const int* m, const int* n, const int* k,
                       const float* alpha, const float* a, const int* lda, const float* b, const int* ldb,
                       const float* beta, float* c, const int* ldc);

namespace ssl4rl::nn {
namespace {

using at::Tensor;

constexpr int64_t kQueries = 64;  // rows of scores at a time

// A slice of a packed tensor: rows of `width` values, `stride` apart.
struct Slice {
  float* data;
  int64_t stride;

  [[nodiscard]] Slice row(int64_t r) const { return {data + r * stride, stride}; }
};

Slice slice(const Tensor& x_TnH, int64_t row, int64_t head) {
  // Inputs are only read; one type of slice serves both directions.
  auto* const data = static_cast<float*>(const_cast<void*>(x_TnH.const_data_ptr()));
  return {data + row * x_TnH.stride(0) + head * x_TnH.stride(1), x_TnH.stride(0)};
}

// Row-major products: c [m, n] = beta * c + alpha * op(a) op(b).
void gemm(char trans_b, char trans_a, int64_t m, int64_t n, int64_t k, float alpha, Slice a, Slice b, float beta,
          Slice c) {
  const int rows = static_cast<int>(m), columns = static_cast<int>(n), inner = static_cast<int>(k);
  const int lda = static_cast<int>(a.stride), ldb = static_cast<int>(b.stride), ldc = static_cast<int>(c.stride);
  sgemm_(&trans_b, &trans_a, &columns, &rows, &inner, &alpha, b.data, &ldb, a.data, &lda, &beta, c.data, &ldc);
}
// a [m, k] · b [n, k]ᵀ, a [m, k] · b [k, n], and a [k, m]ᵀ · b [k, n].
void multiply_abt(int64_t m, int64_t n, int64_t k, float alpha, Slice a, Slice b, float beta, Slice c) {
  gemm('T', 'N', m, n, k, alpha, a, b, beta, c);
}
void multiply_ab(int64_t m, int64_t n, int64_t k, float alpha, Slice a, Slice b, float beta, Slice c) {
  gemm('N', 'N', m, n, k, alpha, a, b, beta, c);
}
void multiply_atb(int64_t m, int64_t n, int64_t k, float alpha, Slice a, Slice b, float beta, Slice c) {
  gemm('N', 'T', m, n, k, alpha, a, b, beta, c);
}

// Runs task(i, scratch) for all i; threads take the next one when they are free.
template <typename Task>
void run_tasks(int64_t count, Task task) {
  std::atomic<int64_t> next{0};
  at::parallel_for(0, std::min<int64_t>(count, at::get_num_threads()), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch;
    for (int64_t worker = begin; worker < end; ++worker)
      for (int64_t i; (i = next.fetch_add(1)) < count;) task(i, scratch);
  });
}

// A block of a segment's queries: how many keys its rows may see.
struct Block {
  int64_t first, rows;  // queries, counted in the segment
  int64_t keys;         // that any of its rows sees
  int64_t valid, step;  // keys of the first row, and how many more each next row sees
};

Block block_of(const Segments::Pair& pair, int64_t first, bool causal) {
  const int64_t rows = std::min(kQueries, pair.queries.length - first);
  return causal ? Block{first, rows, first + rows, first + 1, 1}
                : Block{first, rows, pair.keys.length, pair.keys.length, 0};
}

AttentionOutput forward(const Tensor& q, const Tensor& k, const Tensor& v, const Segments& segments) {
  const Span rows = query_rows(segments);
  const int64_t heads = q.size(1), key_heads = k.size(1), d = q.size(2);
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  AttentionOutput result{at::empty({rows.length, heads, d}, q.options()), at::empty({heads, rows.length}, q.options())};
  std::vector<std::pair<size_t, int64_t>> blocks;  // segment, first query
  for (size_t s = 0; s < segments.pairs.size(); ++s)
    for (int64_t first = 0; first < segments.pairs[s].queries.length; first += kQueries) blocks.emplace_back(s, first);
  float* const lse = result.lse_NT.mutable_data_ptr<float>();
  const auto& kernels = kernels::best();
  run_tasks(static_cast<int64_t>(blocks.size()) * heads, [&](int64_t task, std::vector<float>& scratch) {
    const auto [segment, first] = blocks[static_cast<size_t>(task / heads)];
    const Segments::Pair& pair = segments.pairs[segment];
    const Block block = block_of(pair, first, segments.causal);
    const int64_t head = task % heads, key_head = head / (heads / key_heads), row = pair.queries.begin + first;
    scratch.resize(static_cast<size_t>(block.rows * block.keys));
    const Slice scores{scratch.data(), block.keys};
    multiply_abt(block.rows, block.keys, d, scale, slice(q, row, head), slice(k, pair.keys.begin, key_head), 0, scores);
    kernels.attention_softmax(scores.data, block.rows, block.keys, block.valid, block.step, block.keys,
                              lse + head * rows.length + row - rows.begin);
    multiply_ab(block.rows, d, block.keys, 1, scores, slice(v, pair.keys.begin, key_head), 0,
                slice(result.out_TNH, row - rows.begin, head));
  });
  return result;
}

void backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out,
              const Tensor& lse_NT, const Segments& segments, const Tensor& dq, const Tensor& dk, const Tensor& dv,
              bool add) {
  const int64_t heads = q.size(1), key_heads = k.size(1), repeat = heads / key_heads, d = q.size(2),
                tokens = lse_NT.size(1);
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  const float* const lse = lse_NT.const_data_ptr<float>();
  const auto& kernels = kernels::best();
  run_tasks(static_cast<int64_t>(segments.pairs.size()) * key_heads, [&](int64_t task, std::vector<float>& scratch) {
    const Segments::Pair& pair = segments.pairs[static_cast<size_t>(task / key_heads)];
    const int64_t key_head = task % key_heads;
    const auto rows_of = [&](const Tensor& x) { return slice(x, pair.keys.begin, key_head); };
    const Slice keys = rows_of(k), values = rows_of(v), dkeys = rows_of(dk), dvalues = rows_of(dv);
    scratch.resize(static_cast<size_t>(2 * kQueries * pair.keys.length));
    if (!add)  // a causal block touches the keys that it sees only
      for (const Slice target : {dkeys, dvalues})
        for (int64_t r = 0; r < pair.keys.length; ++r) std::fill_n(target.row(r).data, d, 0.0f);
    for (int64_t head = key_head * repeat; head < (key_head + 1) * repeat; ++head)
      for (int64_t first = 0; first < pair.queries.length; first += kQueries) {
        const Block block = block_of(pair, first, segments.causal);
        const int64_t row = pair.queries.begin + first;
        const Slice queries = slice(q, row, head), dout = slice(grad, row, head);
        const Slice p{scratch.data(), block.keys}, ds{scratch.data() + kQueries * pair.keys.length, block.keys};
        multiply_abt(block.rows, block.keys, d, scale, queries, keys, 0, p);
        kernels.attention_probabilities(p.data, block.rows, block.keys, block.valid, block.step, block.keys,
                                        lse + head * tokens + row);
        multiply_atb(block.keys, d, block.rows, 1, p, dout, 1, dvalues);
        multiply_abt(block.rows, block.keys, d, 1, dout, values, 0, ds);
        const Slice outs = slice(out, row, head);
        kernels.attention_dscores(p.data, ds.data, block.rows, block.keys, block.keys, outs.data, dout.data,
                                  outs.stride, d);
        multiply_ab(block.rows, d, block.keys, scale, ds, keys, add ? 1.0f : 0.0f, slice(dq, row, head));
        multiply_atb(block.keys, d, block.rows, scale, ds, queries, 1, dkeys);
      }
  });
}

}  // namespace

SegmentBody cpu_body() { return {forward, backward}; }

}  // namespace ssl4rl::nn
