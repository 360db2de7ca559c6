// Collectives and shards between ranks that are threads of the test.
#include "ssl4rl/train/communicator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <mutex>

#include "ssl4rl/train/shards.h"
#include "support/errors.h"
#include "support/ranks.h"

namespace ssl4rl::train {
namespace {

using at::Tensor;
using namespace std::chrono_literals;

TEST(Communicator, AProcessAloneGetsBackWhatItGave) {
  Communicator alone;
  EXPECT_EQ(alone.ranks(), 1);
  EXPECT_TRUE(alone.first());
  EXPECT_EQ(alone.sum(0.1), 0.1);
  EXPECT_EQ(alone.norm(0.1), 0.1);
  EXPECT_EQ(alone.gather("bytes"), std::vector<std::string>{"bytes"});
  for (int64_t i = 0; i < 9; ++i) EXPECT_EQ(alone.item(i, 4), i);
}

TEST(Communicator, CollectivesJoinWhatTheRanksHave) {
  with_ranks(3, [](const Communicator& communicator) {
    const double own = communicator.rank() + 1;
    EXPECT_EQ(communicator.sum(own), 6);
    EXPECT_NEAR(communicator.norm(own), std::sqrt(14.0), 1e-12);
    double largest[] = {own, -own};
    communicator.max(largest);
    EXPECT_EQ(largest[0], 3);
    EXPECT_EQ(largest[1], -1);
    EXPECT_FALSE(std::isfinite(communicator.sum(communicator.rank() == 1 ? NAN : own)));
    const std::string text(static_cast<size_t>(2 * communicator.rank()), 'a');
    EXPECT_EQ(communicator.gather(text), (std::vector<std::string>{"", "aa", "aaaa"}));
  });
}

TEST(Communicator, DealsOutEveryItemOnce) {
  std::mutex mutex;
  std::map<int64_t, int> seen;
  with_ranks(3, [&](const Communicator& communicator) {
    const int64_t per_step = 7;
    for (int64_t i = 0; i < 2 * communicator.share(per_step); ++i) {
      const int64_t item = communicator.item(i, per_step);
      EXPECT_TRUE(communicator.has(item % per_step));
      const std::lock_guard lock(mutex);
      ++seen[item];
    }
  });
  EXPECT_EQ(seen.size(), 14u);
  for (const auto& [item, times] : seen) EXPECT_TRUE(item >= 0 && item < 14 && times == 1) << item;
}

TEST(Shards, SumGradientsAndPutTensorsTogetherAgain) {
  const std::vector<Tensor> tensors{at::arange(10, at::kFloat).view({2, 5}), at::arange(1, at::kFloat),
                                    at::arange(7, at::kFloat).to(at::kBFloat16), at::arange(4, at::kDouble),
                                    at::arange(6, at::kFloat)};
  with_ranks(3, [&](const Communicator& communicator) {
    std::vector<Tensor> own_tensors, gradients;
    for (const Tensor& tensor : tensors) {
      own_tensors.push_back(tensor.clone());
      gradients.push_back(tensor * (communicator.rank() + 1));
    }
    gradients[4] = Tensor();                                // nobody has one
    if (communicator.rank() != 1) gradients[1] = Tensor();  // one has it
    const Shards shards(communicator, own_tensors);
    const std::vector<Tensor> sums = shards.reduce(gradients);
    for (size_t i = 0; i < tensors.size(); ++i) {
      SCOPED_TRACE(i);
      ASSERT_EQ(sums[i].defined(), i != 4);
      if (i == 4) continue;
      const Tensor whole = shards.gather(i, sums[i]);
      EXPECT_EQ(whole.sizes(), tensors[i].sizes());
      EXPECT_TRUE(at::equal(whole.to(at::kDouble), tensors[i].to(at::kDouble) * (i == 1 ? 2 : 6)));
      shards.own(i, own_tensors[i]).copy_(sums[i]);  // an update of the own stretch alone
    }
    shards.complete(own_tensors);
    for (size_t i = 0; i < 4; ++i)
      EXPECT_TRUE(at::equal(own_tensors[i].to(at::kDouble), tensors[i].to(at::kDouble) * (i == 1 ? 2 : 6))) << i;
  });
}

TEST(Rendezvous, NamesTheRanksThatHaveNotCome) {
  const auto [listener, port] = listen_anywhere();
  const Log log(Log::Level::kOff);
  const Place place{.rank = 0, .ranks = 3, .host = "127.0.0.1", .port = port, .listener = listener};
  const std::string message = error_of([&, copy = place] { Communicator communicator(copy, 1s, log); });
  EXPECT_NE(message.find("2 of 3 ranks"), std::string::npos) << message;
  EXPECT_NE(message.find("1, 2"), std::string::npos) << message;
}

}  // namespace
}  // namespace ssl4rl::train
