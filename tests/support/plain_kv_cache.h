// The cache of keys and values in the plainest way, group by group: what the others are compared with.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "ssl4rl/nn/kv_cache.h"

namespace ssl4rl::nn {

using at::Tensor;

class PlainKvCache final : public KvCache {
 public:
  PlainKvCache(const KvShape& shape, const at::TensorOptions& options) : shape_(shape), options_(options) {}

  int64_t add_group(int64_t prompt_tokens, int64_t samples) override {
    size_t number = 0;
    while (number < groups_.size() && groups_[number].in_use) ++number;
    if (number == groups_.size()) groups_.emplace_back();
    Group& group = groups_[number];
    group.in_use = true;
    group.samples = samples;
    group.capacity = 0;
    group.layers.assign(static_cast<size_t>(shape_.layers), {});
    for (Layer& layer : group.layers) {
      layer.prompt_k = at::empty({prompt_tokens, shape_.key_heads, shape_.head_dim}, options_);
      layer.prompt_v = at::empty_like(layer.prompt_k);
    }
    return static_cast<int64_t>(number);
  }

  void store_prompt(int64_t group, int64_t layer, const Tensor& k_PKH, const Tensor& v_PKH) override {
    Layer& l = groups_.at(static_cast<size_t>(group)).layers.at(static_cast<size_t>(layer));
    l.prompt_k.copy_(k_PKH);
    l.prompt_v.copy_(v_PKH);
  }

  void begin(std::span<const DecodeRow> rows, int64_t) override { rows_.assign(rows.begin(), rows.end()); }
  const std::vector<int64_t>& layout() const override { return no_layout_; }

  Tensor attend(int64_t layer, const Tensor& q_nNH, const Tensor& k_nKH, const Tensor& v_nKH) override {
    const std::span<const DecodeRow> rows(rows_);
    Tensor out = at::empty({q_nNH.size(0), q_nNH.size(1) * q_nNH.size(2)}, q_nNH.options());
    for (size_t begin = 0; begin < rows.size();) {
      size_t end = begin;
      while (end < rows.size() && rows[end].group == rows[begin].group) ++end;
      const auto first = static_cast<int64_t>(begin), count = static_cast<int64_t>(end - begin);
      out.narrow(0, first, count)
          .copy_(attend_group(layer, rows.subspan(begin, end - begin), q_nNH.narrow(0, first, count),
                              k_nKH.narrow(0, first, count), v_nKH.narrow(0, first, count)));
      begin = end;
    }
    return out;
  }

  void drop_sample(int64_t, int64_t) override {}
  void drop_group(int64_t group) override { groups_.at(static_cast<size_t>(group)) = {}; }

 private:
  struct Layer {
    Tensor prompt_k, prompt_v;  // [P, K, H]
    Tensor own_k, own_v;        // [samples, capacity, K, H]
  };
  struct Group {
    bool in_use = false;
    int64_t samples = 0, capacity = 0;
    std::vector<Layer> layers;
  };

  void reserve(Group& group, int64_t tokens) {
    if (tokens <= group.capacity) return;
    const int64_t capacity = std::max<int64_t>(64, group.capacity * 2);
    for (Layer& layer : group.layers)
      for (Tensor* own : {&layer.own_k, &layer.own_v}) {
        Tensor larger = at::zeros({group.samples, capacity, shape_.key_heads, shape_.head_dim}, options_);
        if (own->defined()) larger.narrow(1, 0, group.capacity).copy_(*own);
        *own = larger;
      }
    group.capacity = capacity;
  }

  Tensor attend_group(int64_t layer, std::span<const DecodeRow> rows, const Tensor& q_nNH, const Tensor& k_nKH,
                      const Tensor& v_nKH) {
    Group& group = groups_.at(static_cast<size_t>(rows.front().group));
    int64_t longest = 0;
    std::vector<int64_t> samples, positions;
    for (const DecodeRow& row : rows) {
      samples.push_back(row.sample);
      positions.push_back(row.position);
      longest = std::max(longest, row.position + 1);
    }
    reserve(group, longest);
    Layer& l = group.layers.at(static_cast<size_t>(layer));
    const at::Device device = q_nNH.device();
    const Tensor sample_n = at::tensor(samples, at::kLong).to(device),
                 position_n = at::tensor(positions, at::kLong).to(device);
    l.own_k.index_put_({sample_n, position_n}, k_nKH);
    l.own_v.index_put_({sample_n, position_n}, v_nKH);

    const int64_t n = q_nNH.size(0), repeat = q_nNH.size(1) / shape_.key_heads, d = shape_.head_dim;
    const auto wide = q_nNH.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    // [K, n * repeat, H]: all queries of a key head against the one prompt.
    const Tensor q_nKrH = q_nNH.to(wide).view({n, shape_.key_heads, repeat, d}) / std::sqrt(static_cast<double>(d));
    const Tensor q_KmH = q_nKrH.transpose(0, 1).reshape({shape_.key_heads, n * repeat, d});
    const Tensor prompt_k = l.prompt_k.to(wide).permute({1, 2, 0}), prompt_v = l.prompt_v.to(wide).transpose(0, 1);
    const Tensor prompt_scores =
        at::matmul(q_KmH, prompt_k).view({shape_.key_heads, n, repeat, -1}).transpose(0, 1);  // [n, K, r, P]
    const Tensor own_k = l.own_k.index_select(0, sample_n).narrow(1, 0, longest).to(wide),
                 own_v = l.own_v.index_select(0, sample_n).narrow(1, 0, longest).to(wide);
    Tensor own_scores = at::matmul(q_nKrH, own_k.permute({0, 2, 3, 1}));  // [n, K, r, longest]
    const Tensor ahead =
        at::arange(longest, at::TensorOptions().dtype(at::kLong).device(device)).unsqueeze(0) > position_n.unsqueeze(1);
    own_scores = own_scores.masked_fill(ahead.view({n, 1, 1, longest}), -INFINITY);
    const Tensor weights = at::cat({prompt_scores, own_scores}, -1).softmax(-1);
    const int64_t prompt = l.prompt_k.size(0);
    const Tensor prompt_weights =
        weights.narrow(3, 0, prompt).transpose(0, 1).reshape({shape_.key_heads, n * repeat, prompt});
    const Tensor from_prompt =
        at::matmul(prompt_weights, prompt_v).view({shape_.key_heads, n, repeat, d}).transpose(0, 1);
    const Tensor from_own = at::matmul(weights.narrow(3, prompt, longest), own_v.transpose(1, 2));
    return (from_prompt + from_own).reshape({n, -1}).to(q_nNH.scalar_type());
  }

  KvShape shape_;
  at::TensorOptions options_;
  std::vector<Group> groups_;
  std::vector<DecodeRow> rows_;
  const std::vector<int64_t> no_layout_;
};

}  // namespace ssl4rl::nn
