// A cache of keys and values against the plain one.
#pragma once

#include <gtest/gtest.h>

#include <functional>

#include "support/plain_kv_cache.h"
#include "support/tensors.h"

namespace ssl4rl::nn {

// Groups that start at different times, samples that finish early, slots that are used again, more positions than the
// first allocation holds: a cache against the plain one in double.
inline void expect_equal_to_plain(const std::function<std::unique_ptr<KvCache>(const KvShape&)>& make,
                                  at::ScalarType type, double tolerance, const std::vector<int64_t>& dims,
                                  at::Device device = at::kCPU) {
  for (const int64_t dim : dims) {
    at::manual_seed(static_cast<uint64_t>(dim));
    constexpr int64_t kHeads = 6, kKeyHeads = 2, kLayers = 2;
    const KvShape shape{kLayers, kKeyHeads, dim, kHeads};
    const auto cache = make(shape);
    PlainKvCache plain(shape, at::TensorOptions(at::kDouble));
    const auto drawn = [&](int64_t rows, int64_t heads) { return at::randn({rows, heads, dim}).to(type); };
    const auto far = [&](const Tensor& x) { return x.to(device); };
    const auto add = [&](int64_t prompt, int64_t samples) {
      const int64_t a = cache->add_group(prompt, samples), b = plain.add_group(prompt, samples);
      EXPECT_EQ(a, b);
      for (int64_t layer = 0; layer < kLayers; ++layer) {
        const Tensor k = drawn(prompt, kKeyHeads), v = drawn(prompt, kKeyHeads);
        cache->store_prompt(a, layer, far(k), far(v));
        plain.store_prompt(b, layer, k.to(at::kDouble), v.to(at::kDouble));
      }
      return a;
    };
    std::vector<DecodeRow> rows;
    const auto start = [&](int64_t group, int64_t samples) {
      for (int64_t s = 0; s < samples; ++s) rows.push_back({group, s, 0});
    };
    start(add(50, 3), 3);
    start(add(32, 5), 5);
    start(add(200, 3), 3);
    for (int step = 0; step < 135; ++step) {
      const auto n = static_cast<int64_t>(rows.size());
      cache->begin(rows);
      plain.begin(rows, 0);
      for (int64_t layer = 0; layer < kLayers; ++layer) {
        const Tensor q = drawn(n, kHeads), k = drawn(n, kKeyHeads), v = drawn(n, kKeyHeads);
        const Tensor a = cache->attend(layer, far(q), far(k), far(v)),
                     b = plain.attend(layer, q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble));
        ASSERT_EQ(a.scalar_type(), type);
        ASSERT_LT(difference(a.cpu(), b), tolerance) << "head dimension " << dim << ", step " << step;
      }
      for (DecodeRow& row : rows) ++row.position;
      if (step == 10) {  // a sample in the middle of a group ends
        cache->drop_sample(1, 2);
        plain.drop_sample(1, 2);
        std::erase_if(rows, [](const DecodeRow& row) { return row.group == 1 && row.sample == 2; });
      }
      if (step == 40) {  // a group ends and another takes its number; two more come in
        cache->drop_group(0);
        plain.drop_group(0);
        std::erase_if(rows, [](const DecodeRow& row) { return row.group == 0; });
        const int64_t group = add(7, 2);
        EXPECT_EQ(group, 0);
        start(group, 2);
        start(add(60, 5), 5);
        start(add(128, 3), 3);
      }
      if (step == 128) {  // what is left has equal prompts and as many samples
        for (const int64_t group : {0, 1, 2, 3}) {
          cache->drop_group(group);
          plain.drop_group(group);
        }
        std::erase_if(rows, [](const DecodeRow& row) { return row.group != 4; });
      }
    }
    cache->drop_group(4);
    EXPECT_EQ(cache->add_group(5, 1), 0);
  }
}

}  // namespace ssl4rl::nn
