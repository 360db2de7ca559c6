// The stand-in itself: as strict as the device it stands for.
#include "support/stand_in_cuda.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace ssl4rl {
namespace {
using at::Tensor;

const auto kCuda = at::TensorOptions().device(at::kCUDA);

TEST(StandInCuda, ComputesWhatTheHostDoes) {
  const Tensor x = at::randn({5, 7}), y = at::randn({7, 3});
  const Tensor far_x = x.cuda(), far_y = y.cuda();
  EXPECT_TRUE(far_x.is_cuda());
  EXPECT_TRUE(at::equal(far_x.mm(far_y).cpu(), x.mm(y)));
  EXPECT_TRUE(at::equal(far_x.t().softmax(0).select(1, 2).cpu(), x.t().softmax(0).select(1, 2)));
  EXPECT_TRUE(at::equal(at::cat({far_x, far_x}, 1).sum(0).cpu(), at::cat({x, x}, 1).sum(0)));
  EXPECT_TRUE(at::equal(at::arange(5, kCuda).cpu(), at::arange(5)));
}

TEST(StandInCuda, ViewsShareTheirTensorsMemory) {
  const Tensor x = at::zeros({4, 3}, kCuda);
  x.narrow(0, 1, 2).select(1, 1).add_(5);
  x.view({2, 6}).select(0, 1).index_fill_(0, at::tensor({5}, at::kLong).cuda(), 7);
  EXPECT_TRUE(at::equal(x.cpu(), at::tensor({0, 0, 0, 0, 5, 0, 0, 5, 0, 0, 0, 7}, at::kFloat).view({4, 3})));
}

TEST(StandInCuda, GradientsStayOnTheDevice) {
  const Tensor w = at::randn({3, 3}), far_w = w.cuda().requires_grad_();
  far_w.mm(far_w).exp().sum().backward();
  Tensor near_w = w.clone().requires_grad_();
  near_w.mm(near_w).exp().sum().backward();
  EXPECT_TRUE(far_w.grad().is_cuda());
  EXPECT_TRUE(at::equal(far_w.grad().cpu(), near_w.grad()));
}

TEST(StandInCuda, RefusesTensorsOfBothDevices) {
  const Tensor far = at::zeros({2, 2}, kCuda), near = at::zeros({2, 2});
  EXPECT_THROW((void)(far + near), c10::Error);
  EXPECT_THROW((void)near.mm(far), c10::Error);
  EXPECT_THROW((void)far.index_select(0, at::tensor({1}, at::kLong)), c10::Error);
  EXPECT_NO_THROW((void)(far + at::scalar_tensor(2)));
}

TEST(StandInCudaDeathTest, TheHostCannotReadItsMemory) {
  const Tensor far = at::zeros({2}, kCuda);
  EXPECT_DEATH(
      {
        const volatile float value = *far.const_data_ptr<float>();
        (void)value;
      },
      "");
}

TEST(StandInCuda, CountsWhatTheHostWaitsFor) {
  const auto waits_of = [](const auto& work) {
    const int64_t before = stand_in_cuda::waits();
    work();
    return stand_in_cuda::waits() - before;
  };
  const Tensor far = at::ones({3}, kCuda), flags = far > 0;
  EXPECT_EQ(waits_of([&] { (void)(far * 2).sum(); }), 0);
  EXPECT_EQ(waits_of([&] { (void)far.sum().item<float>(); }), 1);
  EXPECT_EQ(waits_of([&] { (void)far.cpu(); }), 1);
  EXPECT_EQ(waits_of([&] { (void)at::ones({3}).to(at::kCUDA); }), 1);
  EXPECT_EQ(waits_of([&] { (void)at::ones({3}).to(at::kCUDA, /*non_blocking=*/true); }), 1) << "memory with pages";
  EXPECT_EQ(waits_of([&] { (void)at::ones({3}).pin_memory().to(at::kCUDA, /*non_blocking=*/true); }), 0);
  EXPECT_GE(waits_of([&] { (void)far.index({flags}); }), 1);
  EXPECT_EQ(waits_of([&] { (void)at::equal(far, far); }), 1);
}

}  // namespace
}  // namespace ssl4rl
