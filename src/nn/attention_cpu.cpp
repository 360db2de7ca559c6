// The CPU's body, float32: the product kernels on slices of the packed tensors, whose results go out by their strides
// without a copy, and fused softmax rows between them. What is multiplied with many rows is laid out in panels first.
// Tasks are runs of queries (forward) or all queries (backward) of a segment that share a key head, taken by the
// threads as they come free; each writes rows of its own, so results do not depend on the threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <utility>

#include "attention_body.h"
#include "kernels.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;
using kernels::kBlock;

constexpr int64_t kQueries = 64;  // rows of scores at a time
constexpr int64_t kRun = 256;     // queries of a task of forward

constexpr int64_t whole(int64_t count, int64_t part) { return (count + part - 1) / part * part; }

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

// The right side of a product: a [k, n] matrix in panels of 32 columns, zero beyond n.
struct Panels {
  const float* data;
  int64_t k, n;

  [[nodiscard]] static int64_t floats(int64_t k, int64_t n) { return k * whole(n, kBlock); }
};

// Of the transpose of rows [n, k].
Panels pack_transposed(Slice rows, int64_t n, int64_t k, float* to) {
  for (int64_t j = 0; j < n; j += kBlock)
    kernels::best().pack_panel(rows.row(j).data, std::min(kBlock, n - j), rows.stride, k, to + j * k);
  return {to, k, n};
}

// Of rows [k, n] as they are.
Panels pack_rows(Slice rows, int64_t k, int64_t n, float* to) {
  for (int64_t j = 0; j < n; j += kBlock) {
    const int64_t width = std::min(kBlock, n - j);
    float* panel = to + j * k;
    for (int64_t r = 0; r < k; ++r, panel += kBlock) {
      std::memcpy(panel, rows.row(r).data + j, static_cast<size_t>(width) * sizeof(float));
      std::fill(panel + width, panel + kBlock, 0.0f);
    }
  }
  return {to, k, n};
}

// c [m, columns] = (c if add) + a [m, k] · the first k rows of b.
void multiply(Slice a, int64_t m, int64_t k, const Panels& b, Slice c, int64_t columns, bool add) {
  for (int64_t j = 0; j < columns; j += kBlock)
    kernels::best().multiply_panel(a.data, m, a.stride, b.data + j * b.k, kBlock, k, c.data + j, c.stride,
                                   std::min(kBlock, columns - j), add, nullptr);
}

// c [m, n] += a [k, m]ᵀ · b.
void add_transposed(Slice a, int64_t m, const Panels& b, Slice c) {
  for (int64_t j = 0; j < b.n; j += kBlock)
    kernels::best().multiply_panel_transposed(a.data, m, a.stride, b.data + j * b.k, kBlock, b.k, c.data + j, c.stride,
                                              std::min(kBlock, b.n - j), /*add=*/true);
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

  [[nodiscard]] int64_t columns() const { return whole(keys, kernels::kLane); }  // of scores
};

Block block_of(const Segments::Pair& pair, int64_t first, bool causal) {
  const int64_t rows = std::min(kQueries, pair.queries.length - first);
  return causal ? Block{first, rows, first + rows, first + 1, 1}
                : Block{first, rows, pair.keys.length, pair.keys.length, 0};
}

AttentionOutput forward(const Tensor& q, const Tensor& k, const Tensor& v, const Segments& segments) {
  const Span rows = query_rows(segments);
  const int64_t heads = q.size(1), key_heads = k.size(1), repeat = heads / key_heads, d = q.size(2);
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  AttentionOutput result{at::empty({rows.length, heads, d}, q.options()), at::empty({heads, rows.length}, q.options())};
  std::vector<std::pair<size_t, int64_t>> runs;  // segment, first query
  for (size_t s = 0; s < segments.pairs.size(); ++s)
    for (int64_t first = 0; first < segments.pairs[s].queries.length; first += kRun) runs.emplace_back(s, first);
  float* const lse = result.lse_NT.mutable_data_ptr<float>();
  const auto& kernels = kernels::best();
  run_tasks(static_cast<int64_t>(runs.size()) * key_heads, [&](int64_t task, std::vector<float>& scratch) {
    const auto [segment, begin] = runs[static_cast<size_t>(task / key_heads)];
    const Segments::Pair& pair = segments.pairs[segment];
    const int64_t key_head = task % key_heads, end = std::min(begin + kRun, pair.queries.length),
                  count = segments.causal ? end : pair.keys.length;
    const int64_t key_floats = Panels::floats(d, count), value_floats = Panels::floats(count, d);
    scratch.resize(static_cast<size_t>(key_floats + value_floats + kQueries * whole(count, kernels::kLane)));
    const Panels keys = pack_transposed(slice(k, pair.keys.begin, key_head), count, d, scratch.data()),
                 values = pack_rows(slice(v, pair.keys.begin, key_head), count, d, scratch.data() + key_floats);
    for (int64_t head = key_head * repeat; head < (key_head + 1) * repeat; ++head)
      for (int64_t first = begin; first < end; first += kQueries) {
        const Block block = block_of(pair, first, segments.causal);
        const int64_t row = pair.queries.begin + first;
        const Slice scores{scratch.data() + key_floats + value_floats, block.columns()};
        multiply(slice(q, row, head), block.rows, d, keys, scores, block.columns(), /*add=*/false);
        kernels.attention_softmax(scores.data, block.rows, scores.stride, block.valid, block.step, block.columns(),
                                  scale, lse + head * rows.length + row - rows.begin);
        multiply(scores, block.rows, block.keys, values, slice(result.out_TNH, row - rows.begin, head), d,
                 /*add=*/false);
      }
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
    const int64_t count = pair.keys.length, scores_floats = kQueries * whole(count, kernels::kLane),
                  key_floats = Panels::floats(d, count), row_floats = Panels::floats(count, d),
                  query_floats = Panels::floats(kQueries, d);
    scratch.resize(static_cast<size_t>(2 * (scores_floats + key_floats + query_floats) + row_floats));
    float* room = scratch.data();
    const auto take = [&room](int64_t floats) { return std::exchange(room, room + floats); };
    const auto rows_of = [&](const Tensor& x) { return slice(x, pair.keys.begin, key_head); };
    const Panels keys = pack_transposed(rows_of(k), count, d, take(key_floats)),
                 values = pack_transposed(rows_of(v), count, d, take(key_floats)),
                 key_rows = pack_rows(rows_of(k), count, d, take(row_floats));
    float *const packed_queries = take(query_floats), *const packed_dout = take(query_floats),
                 *const p_data = take(scores_floats), *const ds_data = take(scores_floats);
    const Slice dkeys = rows_of(dk), dvalues = rows_of(dv);
    if (!add)  // a causal block touches the keys that it sees only
      for (const Slice target : {dkeys, dvalues})
        for (int64_t r = 0; r < count; ++r) std::fill_n(target.row(r).data, d, 0.0f);
    for (int64_t head = key_head * repeat; head < (key_head + 1) * repeat; ++head)
      for (int64_t first = 0; first < pair.queries.length; first += kQueries) {
        const Block block = block_of(pair, first, segments.causal);
        const int64_t row = pair.queries.begin + first, columns = block.columns();
        const Slice queries = slice(q, row, head), outs = slice(out, row, head), dout = slice(grad, row, head);
        const Slice p{p_data, columns}, ds{ds_data, columns};
        multiply(queries, block.rows, d, keys, p, columns, /*add=*/false);
        kernels.attention_probabilities(p.data, block.rows, columns, block.valid, block.step, columns, scale,
                                        lse + head * tokens + row);
        add_transposed(p, block.keys, pack_rows(dout, block.rows, d, packed_dout), dvalues);
        multiply(dout, block.rows, d, values, ds, columns, /*add=*/false);
        kernels.attention_dscores(p.data, ds.data, block.rows, columns, columns, scale, outs.data, dout.data,
                                  outs.stride, d);
        multiply(ds, block.rows, block.keys, key_rows, slice(dq, row, head), d, add);
        add_transposed(ds, block.keys, pack_rows(queries, block.rows, d, packed_queries), dkeys);
      }
  });
}

}  // namespace

SegmentBody cpu_body() { return {forward, backward}; }

}  // namespace ssl4rl::nn
