#include "ssl4rl/nn/kv_cache.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/kv_cache_checks.h"

namespace ssl4rl::nn {
namespace {

TEST(KvCache, TheBlockCacheEqualsThePlainOne) {
  expect_equal_to_plain([](const KvShape& shape) { return make_kv_cache(shape, at::TensorOptions(at::kFloat)); },
                        at::kFloat, 1e-5, {16, 40, 64});
}

TEST(KvCache, TheBatchedCacheEqualsThePlainOne) {
  for (const auto& [type, tolerance] :
       std::vector<std::pair<at::ScalarType, double>>{{at::kDouble, 1e-12}, {at::kFloat, 1e-5}, {at::kBFloat16, 0.05}})
    expect_equal_to_plain(
        [type = type](const KvShape& shape) { return make_batched_kv_cache(shape, at::TensorOptions(type)); }, type,
        tolerance, {40});
}

}  // namespace
}  // namespace ssl4rl::nn
