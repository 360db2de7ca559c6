#include "ssl4rl/nn/packed_matrix.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "support/tensors.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

bool equal_bits(const Tensor& a, const Tensor& b) { return at::equal(a.view(at::kInt), b.view(at::kInt)); }

TEST(PackedMatrix, ProductsEqualThePlainOnes) {
  at::manual_seed(3);
  for (const auto& [outputs, inputs] :
       std::vector<std::pair<int64_t, int64_t>>{{32, 16}, {7, 5}, {70, 1030}, {129, 64}})
    for (const int64_t rows : {1, 5, 12, 13, 260}) {
      const Tensor w = at::randn({outputs, inputs}), x = at::randn({rows, inputs}), bias = at::randn({outputs});
      const Tensor plain = at::linear(x.to(at::kDouble), w.to(at::kDouble));
      const PackedMatrix packed(w);
      EXPECT_LT(difference(packed.multiply(x, {}), plain), 2e-4)
          << rows << " rows, [" << outputs << ", " << inputs << "]";
      EXPECT_LT(difference(packed.multiply(x, bias), plain + bias), 2e-4);
      EXPECT_TRUE(equal_bits(PackedMatrix(w, /*keep_panels=*/false).multiply(x, bias), packed.multiply(x, bias)));
    }
}

TEST(PackedMatrix, ARowDependsOnItselfAlone) {
  at::manual_seed(4);
  const Tensor w = at::randn({75, 1100}), x = at::randn({500, 1100}), bias = at::randn({75});
  const PackedMatrix packed(w);
  const Tensor all = packed.multiply(x, bias);
  for (const int64_t count : {1, 2, 7, 12, 31, 250})
    for (const int64_t first : {0, 11, 249})
      EXPECT_TRUE(equal_bits(packed.multiply(x.narrow(0, first, count), bias), all.narrow(0, first, count)))
          << count << " rows from " << first;
  const int threads = at::get_num_threads();
  at::set_num_threads(threads + 1);
  EXPECT_TRUE(equal_bits(packed.multiply(x, bias), all)) << "another number of threads";
  at::set_num_threads(threads);
}

}  // namespace
}  // namespace ssl4rl::nn
