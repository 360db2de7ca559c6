#include "ssl4rl/nn/packed_matrix.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "../../src/nn/kernels.h"
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

// Every instruction set that this processor has, tiles of every shape, sums that go on and sums that begin anew.
TEST(PackedMatrix, EveryKernelComputesTheProduct) {
  at::manual_seed(5);
  constexpr int64_t kInputs = 37, kStride = kernels::kBlock + 3;
  kernels::Choice all[kernels::kMostChoices];
  const int count = kernels::choices(all);
  const Tensor b = at::randn({kInputs, kernels::kBlock}), bias = at::randn({kernels::kBlock});
  for (int c = 0; c < count; ++c)
    for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 29})
      for (const int64_t columns : {1, 8, 15, 16, 17, 31, 32})
        for (const bool add : {false, true}) {
          const Tensor a = at::randn({rows, kInputs}), before = at::randn({rows, kStride});
          Tensor out = before.clone();
          all[c].table->multiply_panel(a.const_data_ptr<float>(), rows, kInputs, b.const_data_ptr<float>(),
                                       kernels::kBlock, kInputs, out.mutable_data_ptr<float>(), kStride, columns, add,
                                       add ? nullptr : bias.const_data_ptr<float>());
          const Tensor start = add ? before.narrow(1, 0, columns) : bias.narrow(0, 0, columns);
          const Tensor expected = start.to(at::kDouble) + a.to(at::kDouble).mm(b.narrow(1, 0, columns).to(at::kDouble));
          EXPECT_LT(difference(out.narrow(1, 0, columns), expected), 1e-4)
              << all[c].name << ", " << rows << " rows, " << columns << " columns";
          EXPECT_TRUE(
              at::equal(out.narrow(1, columns, kStride - columns), before.narrow(1, columns, kStride - columns)))
              << all[c].name << " writes beyond the columns";
          if (!add) continue;
          Tensor transposed = before.clone();
          all[c].table->multiply_panel_transposed(a.t().contiguous().const_data_ptr<float>(), rows, rows,
                                                  b.const_data_ptr<float>(), kernels::kBlock, kInputs,
                                                  transposed.mutable_data_ptr<float>(), kStride, columns, add);
          EXPECT_TRUE(at::equal(transposed, out)) << all[c].name << ", " << rows << " rows, " << columns << " columns";
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
