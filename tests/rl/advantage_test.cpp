#include "ssl4rl/rl/advantage.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ssl4rl::rl {
namespace {

using Scale = AlgorithmConfig::ScaleRewards;
using Groups = std::vector<std::vector<double>>;

// Each sample's advantage under GRPO; it is the same for all its tokens.
Groups group_advantages(const Groups& rewards, Scale scale) {
  AlgorithmConfig config;
  config.scale_rewards = scale;
  std::vector<OutcomeGroup> groups;
  for (const auto& group : rewards) {
    groups.emplace_back();
    for (const double reward : group) groups.back().samples.push_back({.reward = reward, .length = 3});
  }
  estimate_advantages(config, groups);
  Groups advantages;
  for (const OutcomeGroup& group : groups) {
    advantages.emplace_back();
    for (const Outcome& sample : group.samples) {
      EXPECT_EQ(sample.advantages, std::vector<double>(3, sample.advantages[0]));
      advantages.back().push_back(sample.advantages[0]);
    }
  }
  return advantages;
}

TEST(Advantage, IsTheRewardRelativeToItsGroupInUnbiasedDeviations) {
  const auto a = group_advantages(Groups{{1, 0, 0, 1}, {0.25, 0.5, 1}}, Scale::kGroup);
  const double s = std::sqrt(1.0 / 3);  // four values, mean 1/2
  EXPECT_NEAR(a[0][0], 0.5 / (s + 1e-4), 1e-12);
  EXPECT_NEAR(a[0][1], -0.5 / (s + 1e-4), 1e-12);
  const double mean = 1.75 / 3,
               t = std::sqrt((std::pow(0.25 - mean, 2) + std::pow(0.5 - mean, 2) + std::pow(1 - mean, 2)) / 2);
  EXPECT_NEAR(a[1][2], (1 - mean) / (t + 1e-4), 1e-12);
}

TEST(Advantage, MayBeScaledByTheBatchOrNotAtAll) {
  const Groups rewards{{1, 0}, {3, 1}};
  const double batch =
      std::sqrt((std::pow(1 - 1.25, 2) + std::pow(1.25, 2) + std::pow(3 - 1.25, 2) + std::pow(1 - 1.25, 2)) / 3);
  const auto scaled = group_advantages(rewards, Scale::kBatch), plain = group_advantages(rewards, Scale::kNone);
  EXPECT_NEAR(scaled[0][0], 0.5 / (batch + 1e-4), 1e-12);
  EXPECT_NEAR(scaled[1][1], -1 / (batch + 1e-4), 1e-12);
  EXPECT_EQ(plain, (Groups{{0.5, -0.5}, {1, -1}}));
}

TEST(Advantage, AGroupOfEqualRewardsGetsExactlyZero) {
  // Fractions whose mean is not the value itself when it is summed up in floating point.
  for (const Scale scale : {Scale::kGroup, Scale::kBatch, Scale::kNone})
    for (const double reward : {0.0, 0.9, 1.1, 1.0 / 3, -0.7}) {
      const auto advantages = group_advantages(Groups{std::vector<double>(16, reward), {0, 1}}, scale);
      EXPECT_EQ(advantages[0], std::vector<double>(16, 0.0));
    }
}

TEST(Advantage, OfAGroupSumsToZero) {
  for (const Scale scale : {Scale::kGroup, Scale::kBatch, Scale::kNone})
    for (const auto& group : group_advantages(Groups{{0.1, 0.7, 0.2, 1, 0}, {1, 0.25, 0.25}}, scale)) {
      double sum = 0;
      for (const double a : group) sum += a;
      EXPECT_NEAR(sum, 0, 1e-12);
    }
}

TEST(StandardDeviation, OfFewerThanTwoValuesIsZero) {
  EXPECT_EQ(standard_deviation(std::vector<double>{}), 0);
  EXPECT_EQ(standard_deviation(std::vector<double>{3}), 0);
  EXPECT_NEAR(standard_deviation(std::vector<double>{1, 2, 3, 4}), std::sqrt(5.0 / 3), 1e-15);
}

}  // namespace
}  // namespace ssl4rl::rl
