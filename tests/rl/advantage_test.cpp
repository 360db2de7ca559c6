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

// Two groups with ragged lengths, penalties and values; what each estimator makes of them is written out by hand.
std::vector<OutcomeGroup> two_groups() {
  std::vector<OutcomeGroup> groups(2);
  groups[0].baseline = 0.25;
  groups[0].samples = {{.reward = 1, .length = 3, .token_penalty = {0.1, 0.2, -0.1}, .values = {0.5, 0.2, 0.7}},
                       {.reward = 0, .length = 1, .token_penalty = {0.3}, .values = {-0.1}}};
  groups[1].samples = {{.reward = 0.5, .length = 2, .token_penalty = {0, 0}, .values = {0, 0}},
                       {.reward = 2, .length = 2, .token_penalty = {0, 0.5}, .values = {1, 1}}};
  return groups;
}

std::vector<OutcomeGroup> estimate(AlgorithmConfig config) {
  auto groups = two_groups();
  estimate_advantages(config, groups);
  return groups;
}

std::vector<double> all_advantages(const std::vector<OutcomeGroup>& groups) {
  std::vector<double> all;
  for (const OutcomeGroup& group : groups)
    for (const Outcome& sample : group.samples)
      all.insert(all.end(), sample.advantages.begin(), sample.advantages.end());
  return all;
}

void expect_near(const std::vector<double>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-9) << i;
}

std::vector<double> whitened(std::vector<double> values) {
  const double centre = mean(values), deviation = standard_deviation(values);
  for (double& value : values) value = (value - centre) / std::sqrt(deviation * deviation + 1e-8);
  return values;
}

TEST(Estimator, RlooComparesWithTheOthersOfTheGroup) {
  AlgorithmConfig config;
  config.name = AlgorithmConfig::Estimator::kRloo;  // rewards less penalties: 0.8, -0.3 and 0.5, 1.5
  expect_near(all_advantages(estimate(config)), {1.1, 1.1, 1.1, -1.1, -1, -1, 1, 1});
}

TEST(Estimator, ReinforceWhitensTheDiscountedReturn) {
  AlgorithmConfig config;
  config.name = AlgorithmConfig::Estimator::kReinforce;
  config.gamma = 0.5;  // returns from the end: 1.1; -0.2 + 0.55 = 0.35; -0.1 + 0.175 = 0.075 and so on
  expect_near(all_advantages(estimate(config)), whitened({0.075, 0.35, 1.1, -0.3, 0.25, 0.5, 0.75, 1.5}));
}

TEST(Estimator, ReinforceWithBaselineWhitensTheRewardLessItsGroups) {
  AlgorithmConfig config;
  config.name = AlgorithmConfig::Estimator::kReinforceBaseline;
  expect_near(all_advantages(estimate(config)), whitened({0.55, 0.55, 0.55, -0.55, -0.5, -0.5, 0.5, 0.5}));
}

TEST(Estimator, RemaxComparesWithTheGreedySample) {
  AlgorithmConfig config;
  config.name = AlgorithmConfig::Estimator::kRemax;
  expect_near(all_advantages(estimate(config)), {0.55, 0.65, 0.85, -0.55, 0.5, 0.5, 1.5, 1.5});
}

TEST(Estimator, GaeFollowsItsRecursion) {
  AlgorithmConfig config;
  config.name = AlgorithmConfig::Estimator::kPpo;
  config.gamma = 0.9;
  config.lam = 0.5;
  config.whiten_advantages = false;
  const auto groups = estimate(config);
  const Outcome& one = groups[0].samples[0];
  const double d2 = 1.1 - 0.7, d1 = -0.2 + 0.9 * 0.7 - 0.2, d0 = -0.1 + 0.9 * 0.2 - 0.5;
  const double a2 = d2, a1 = d1 + 0.45 * a2, a0 = d0 + 0.45 * a1;
  expect_near(one.advantages, {a0, a1, a2});
  expect_near(one.returns, {a0 + 0.5, a1 + 0.2, a2 + 0.7});
  config.whiten_advantages = true;
  expect_near(all_advantages(estimate(config)), whitened(all_advantages(groups)));
}

TEST(Estimator, CompatFixesEpsilonAndLoneSamples) {
  AlgorithmConfig config;
  std::vector<OutcomeGroup> groups(2);
  groups[0].samples = {{.reward = 1, .length = 1}, {.reward = 0, .length = 1}};
  groups[1].samples = {{.reward = 0.7, .length = 1}};
  estimate_advantages(config, groups);
  expect_near(all_advantages(groups), {0.5 / (std::sqrt(0.5) + 1e-4), -0.5 / (std::sqrt(0.5) + 1e-4), 0});
  config.compat = AlgorithmConfig::Compat::kVerl;
  estimate_advantages(config, groups);
  expect_near(all_advantages(groups), {0.5 / (std::sqrt(0.5) + 1e-6), -0.5 / (std::sqrt(0.5) + 1e-6), 0.7});
}

TEST(Estimator, RewardsMayBeNormalisedByTaskOrByFunctionAndGroupsWeighted) {
  AlgorithmConfig config;
  std::vector<OutcomeGroup> groups(3);
  for (size_t g = 0; g < 3; ++g) {
    groups[g].task = std::string(1, g < 2 ? 'a' : 'b');
    groups[g].part_weights = {1, 0.5};
    groups[g].samples = {{.reward = 1 + static_cast<double>(g), .length = 1, .parts = {1, 0}},
                         {.reward = 0.5, .length = 1, .parts = {0, 1}}};
  }
  config.scale_rewards = Scale::kTask;
  estimate_advantages(config, groups);
  const double of_task = standard_deviation(std::vector<double>{1, 0.5, 2, 0.5});
  EXPECT_NEAR(groups[0].samples[0].advantages[0], 0.25 / (of_task + 1e-4), 1e-12);
  EXPECT_NEAR(groups[2].samples[0].advantages[0], 1.25 / (standard_deviation(std::vector<double>{3, 0.5}) + 1e-4),
              1e-12);

  config.multi_objective_aggregation = AlgorithmConfig::Aggregation::kNormalizeThenSum;
  estimate_advantages(config, groups);
  const double z = 0.5 / (std::sqrt(0.5) + 1e-4), sum = z - 0.5 * z;  // z-scores ±z of both functions
  const double of_batch = standard_deviation(std::vector<double>{sum, -sum, sum, -sum, sum, -sum});
  EXPECT_NEAR(groups[1].samples[0].advantages[0], sum / (of_batch + 1e-4), 1e-12);

  config = {};
  config.difficulty_weight = true;
  groups[0].difficulty = 0.25;
  estimate_advantages(config, groups);
  EXPECT_NEAR(groups[0].samples[0].advantages[0],
              0.75 * 0.25 / (standard_deviation(std::vector<double>{1, 0.5}) + 1e-4), 1e-12);
  EXPECT_EQ(groups[1].samples[0].advantages[0], 0) << "difficulty 0: nothing to learn";
}

TEST(StandardDeviation, OfFewerThanTwoValuesIsZero) {
  EXPECT_EQ(standard_deviation(std::vector<double>{}), 0);
  EXPECT_EQ(standard_deviation(std::vector<double>{3}), 0);
  EXPECT_NEAR(standard_deviation(std::vector<double>{1, 2, 3, 4}), std::sqrt(5.0 / 3), 1e-15);
}

}  // namespace
}  // namespace ssl4rl::rl
