#include "ssl4rl/nn/kv_cache.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/tensors.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

// Groups that start at different times, samples that finish early, slots that are used again: the block cache in
// float32 against the plain one in double.
TEST(KvCache, TheBlockCacheEqualsThePlainOne) {
  for (const int64_t dim : {16, 40, 64}) {
    at::manual_seed(dim);
    constexpr int64_t kHeads = 6, kKeyHeads = 2, kLayers = 2;
    const KvShape shape{kLayers, kKeyHeads, dim};
    const auto fast = make_kv_cache(shape, at::TensorOptions(at::kFloat)),
               plain = make_reference_kv_cache(shape, at::TensorOptions(at::kDouble));
    const auto add = [&](int64_t prompt, int64_t samples) {
      const int64_t a = fast->add_group(prompt, samples), b = plain->add_group(prompt, samples);
      EXPECT_EQ(a, b);
      for (int64_t layer = 0; layer < kLayers; ++layer) {
        const Tensor k = at::randn({prompt, kKeyHeads, dim}), v = at::randn({prompt, kKeyHeads, dim});
        fast->store_prompt(a, layer, k, v);
        plain->store_prompt(b, layer, k.to(at::kDouble), v.to(at::kDouble));
      }
      return a;
    };
    std::vector<DecodeRow> rows;
    const auto start = [&](int64_t group, int64_t samples) {
      for (int64_t s = 0; s < samples; ++s) rows.push_back({group, s, 0});
    };
    start(add(50, 3), 3);
    start(add(32, 5), 5);
    for (int step = 0; step < 80; ++step) {
      const auto n = static_cast<int64_t>(rows.size());
      for (int64_t layer = 0; layer < kLayers; ++layer) {
        const Tensor q = at::randn({n, kHeads, dim}), k = at::randn({n, kKeyHeads, dim}),
                     v = at::randn({n, kKeyHeads, dim});
        const Tensor a = fast->attend(layer, rows, q, k, v),
                     b = plain->attend(layer, rows, q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble));
        ASSERT_LT(difference(a, b), 1e-5) << "head dimension " << dim << ", step " << step;
      }
      for (DecodeRow& row : rows) ++row.position;
      if (step == 10) {  // a sample in the middle of a group ends
        fast->drop_sample(1, 2);
        plain->drop_sample(1, 2);
        std::erase_if(rows, [](const DecodeRow& row) { return row.group == 1 && row.sample == 2; });
      }
      if (step == 40) {  // a group ends and another takes its place
        fast->drop_group(0);
        plain->drop_group(0);
        std::erase_if(rows, [](const DecodeRow& row) { return row.group == 0; });
        const int64_t group = add(7, 2);
        EXPECT_EQ(group, 0);
        start(group, 2);
      }
    }
  }
}

}  // namespace
}  // namespace ssl4rl::nn
