// The cache for float32 on the CPU: keys (transposed) and values in blocks of 32 positions, so that growing copies
// nothing and a block is one panel of the product kernel. All samples of a group attend to its prompt in one go.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/nn/kv_cache.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;
using kernels::kBlock;

constexpr int64_t blocks_for(int64_t positions) { return (positions + kBlock - 1) / kBlock; }

// Keys and values of some positions: [block][layer][key head] of [H, 32] and [32, H].
class Blocks {
 public:
  void grow(int64_t positions, int64_t floats_per_block) {
    while (static_cast<int64_t>(storage_.size()) < blocks_for(positions)) {
      // Zeroed: positions that are not written yet take part in the score tiles, though not in the softmax.
      storage_.push_back(std::make_unique<float[]>(static_cast<size_t>(floats_per_block + kBlock)));
    }
  }
  [[nodiscard]] float* block(int64_t index) const { return storage_[static_cast<size_t>(index)].get(); }
  void clear() { storage_.clear(); }

 private:
  std::vector<std::unique_ptr<float[]>> storage_;
};

class BlockKvCache final : public KvCache {
 public:
  explicit BlockKvCache(const KvShape& shape) : shape_(shape) {}

  int64_t add_group(int64_t prompt_tokens, int64_t samples) override {
    size_t number = 0;
    while (number < groups_.size() && groups_[number].prompt_tokens > 0) ++number;
    if (number == groups_.size()) groups_.emplace_back();
    Group& group = groups_[number];
    group.prompt_tokens = prompt_tokens;
    group.prompt.grow(prompt_tokens, block_floats());
    group.samples.resize(static_cast<size_t>(samples));
    return static_cast<int64_t>(number);
  }

  void store_prompt(int64_t group, int64_t layer, const Tensor& k_PKH, const Tensor& v_PKH) override {
    const Group& g = groups_.at(static_cast<size_t>(group));
    SSL4RL_CHECK(k_PKH.size(0) == g.prompt_tokens && k_PKH.stride(2) == 1 && v_PKH.stride(2) == 1,
                 "a prompt of {} tokens", k_PKH.size(0));
    const float *k = k_PKH.const_data_ptr<float>(), *v = v_PKH.const_data_ptr<float>();
    at::parallel_for(0, g.prompt_tokens, 32, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p)
        for (int64_t head = 0; head < shape_.key_heads; ++head)
          store(g.prompt, layer, head, p, k + p * k_PKH.stride(0) + head * k_PKH.stride(1),
                v + p * v_PKH.stride(0) + head * v_PKH.stride(1));
    });
  }

  void begin(std::span<const DecodeRow> rows, int64_t computed_rows) override {
    SSL4RL_CHECK(computed_rows == 0, "the block cache computes the rows that there are");
    rows_.assign(rows.begin(), rows.end());
    runs_.clear();
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      if (i == 0 || rows[i - 1].group != rows[i].group) runs_.emplace_back(row, row);
      runs_.back().second = row + 1;
      sample_of(rows[i]).grow(rows[i].position + 1, block_floats());
    }
  }

  const std::vector<int64_t>& layout() const override { return no_layout_; }

  Tensor attend(int64_t layer, const Tensor& q_nNH, const Tensor& k_nKH, const Tensor& v_nKH) override {
    const std::span<const DecodeRow> rows(rows_);
    const int64_t n = q_nNH.size(0), heads = q_nNH.size(1), d = shape_.head_dim, key_heads = shape_.key_heads;
    SSL4RL_CHECK(q_nNH.stride(2) == 1 && q_nNH.stride(1) == d && k_nKH.stride(2) == 1 && v_nKH.stride(2) == 1,
                 "queries with gaps");
    Tensor out = at::zeros({n, heads * d}, q_nNH.options());
    const float *q = q_nNH.const_data_ptr<float>(), *k = k_nKH.const_data_ptr<float>(),
                *v = v_nKH.const_data_ptr<float>();
    float* const result = out.mutable_data_ptr<float>();
    at::parallel_for(0, static_cast<int64_t>(runs_.size()) * key_heads, 1, [&](int64_t begin, int64_t end) {
      Scratch scratch;
      for (int64_t task = begin; task < end; ++task) {
        const auto [first, last] = runs_[static_cast<size_t>(task / key_heads)];
        const int64_t head = task % key_heads;
        for (int64_t i = first; i < last; ++i)
          store(sample_of(rows[static_cast<size_t>(i)]), layer, head, rows[static_cast<size_t>(i)].position,
                k + i * k_nKH.stride(0) + head * k_nKH.stride(1), v + i * v_nKH.stride(0) + head * v_nKH.stride(1));
        attend_run(layer, head, rows.subspan(static_cast<size_t>(first), static_cast<size_t>(last - first)),
                   heads / key_heads, q + first * q_nNH.stride(0), q_nNH.stride(0), result + first * heads * d,
                   heads * d, scratch);
      }
    });
    return out;
  }

  void drop_sample(int64_t group, int64_t sample) override {
    groups_.at(static_cast<size_t>(group)).samples.at(static_cast<size_t>(sample)).clear();
  }
  void drop_group(int64_t group) override { groups_.at(static_cast<size_t>(group)) = {}; }

 private:
  struct Group {
    int64_t prompt_tokens = 0;  // 0: free
    Blocks prompt;
    std::vector<Blocks> samples;
  };
  struct Scratch {
    std::vector<float> queries, scores, results;
  };

  [[nodiscard]] int64_t head_floats() const { return 2 * shape_.head_dim * kBlock; }
  [[nodiscard]] int64_t block_floats() const { return shape_.layers * shape_.key_heads * head_floats(); }
  [[nodiscard]] Blocks& sample_of(const DecodeRow& row) {
    return groups_[static_cast<size_t>(row.group)].samples[static_cast<size_t>(row.sample)];
  }
  [[nodiscard]] float* keys_of(const Blocks& blocks, int64_t index, int64_t layer, int64_t head) const {
    return blocks.block(index) + (layer * shape_.key_heads + head) * head_floats();
  }

  void store(const Blocks& blocks, int64_t layer, int64_t head, int64_t position, const float* k,
             const float* v) const {
    const int64_t d = shape_.head_dim, within = position % kBlock;
    float* const keys = keys_of(blocks, position / kBlock, layer, head);
    for (int64_t h = 0; h < d; ++h) keys[h * kBlock + within] = k[h];
    std::memcpy(keys + d * kBlock + within * d, v, static_cast<size_t>(d) * sizeof(float));
  }

  // scores[r, position] = q[r] · key, for all positions of the blocks.
  void score(const Blocks& blocks, int64_t positions, int64_t layer, int64_t head, const float* q, int64_t rows,
             float* scores, int64_t width) const {
    const int64_t d = shape_.head_dim;
    for (int64_t b = 0; b < blocks_for(positions); ++b)
      kernels::best().multiply_panel(q, rows, d, keys_of(blocks, b, layer, head), kBlock, d, scores + b * kBlock, width,
                                     kBlock, /*add=*/false, nullptr);
  }

  // out[r] += Σ weights[r, position] · value.
  void add_values(const Blocks& blocks, int64_t positions, int64_t layer, int64_t head, const float* weights,
                  int64_t rows, int64_t width, float* out) const {
    const int64_t d = shape_.head_dim;
    for (int64_t b = 0; b < blocks_for(positions); ++b) {
      const float* const values = keys_of(blocks, b, layer, head) + d * kBlock;
      for (int64_t h = 0; h < d; h += kBlock)
        kernels::best().multiply_panel(weights + b * kBlock, rows, width, values + h, d,
                                       std::min(kBlock, positions - b * kBlock), out + h, d, std::min(kBlock, d - h),
                                       /*add=*/true, nullptr);
    }
  }

  // All active samples of a group, one key head: `repeat` query heads each. q and out point at the first row.
  void attend_run(int64_t layer, int64_t head, std::span<const DecodeRow> rows, int64_t repeat, const float* q,
                  int64_t q_stride, float* out, int64_t out_stride, Scratch& scratch) {
    const Group& group = groups_[static_cast<size_t>(rows.front().group)];
    const auto count = static_cast<int64_t>(rows.size());
    const int64_t d = shape_.head_dim, m = count * repeat, prompt_width = blocks_for(group.prompt_tokens) * kBlock;
    int64_t longest = 0;
    for (const DecodeRow& row : rows) longest = std::max(longest, row.position + 1);
    const int64_t width = prompt_width + blocks_for(longest) * kBlock;
    scratch.queries.resize(static_cast<size_t>(m * d));
    scratch.results.assign(static_cast<size_t>(m * d), 0.0f);
    scratch.scores.resize(static_cast<size_t>(m * width));
    const float scale = 1.0f / std::sqrt(static_cast<float>(d));
    for (int64_t i = 0; i < count; ++i)
      for (int64_t j = 0; j < repeat * d; ++j)
        scratch.queries[static_cast<size_t>(i * repeat * d + j)] = scale * q[i * q_stride + head * repeat * d + j];

    float* const scores = scratch.scores.data();
    score(group.prompt, group.prompt_tokens, layer, head, scratch.queries.data(), m, scores, width);
    for (int64_t i = 0; i < count; ++i) {
      const DecodeRow& row = rows[static_cast<size_t>(i)];
      const Blocks& own = group.samples[static_cast<size_t>(row.sample)];
      const int64_t first = i * repeat;
      score(own, row.position + 1, layer, head, scratch.queries.data() + first * d, repeat,
            scores + first * width + prompt_width, width);
      for (int64_t r = first; r < first + repeat; ++r)
        kernels::best().split_softmax(scores + r * width, group.prompt_tokens, prompt_width, row.position + 1);
      add_values(own, row.position + 1, layer, head, scores + first * width + prompt_width, repeat, width,
                 scratch.results.data() + first * d);
    }
    add_values(group.prompt, group.prompt_tokens, layer, head, scores, m, width, scratch.results.data());
    for (int64_t i = 0; i < count; ++i)
      std::memcpy(out + i * out_stride + head * repeat * d, scratch.results.data() + i * repeat * d,
                  static_cast<size_t>(repeat * d) * sizeof(float));
  }

  KvShape shape_;
  std::vector<Group> groups_;
  const std::vector<int64_t> no_layout_;
  // Of the present step.
  std::vector<DecodeRow> rows_;
  std::vector<std::pair<int64_t, int64_t>> runs_;  // rows of one group: begin, end
};

}  // namespace

std::unique_ptr<KvCache> make_block_kv_cache(const KvShape& shape) { return std::make_unique<BlockKvCache>(shape); }

}  // namespace ssl4rl::nn
