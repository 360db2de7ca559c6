#include "ssl4rl/rl/advantage.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace ssl4rl::rl {
namespace {

constexpr double kEpsilon = 1e-4;

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace

double standard_deviation(std::span<const double> values) {
  if (values.size() < 2) return 0;
  const double centre = mean(values);
  double sum = 0;
  for (const double value : values) sum += (value - centre) * (value - centre);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

bool all_equal(std::span<const double> values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return values.empty() || *low == *high;
}

std::vector<std::vector<double>> group_advantages(std::span<const std::vector<double>> rewards,
                                                  AlgorithmConfig::ScaleRewards scale) {
  double batch_deviation = 0;
  if (scale == AlgorithmConfig::ScaleRewards::kBatch) {
    std::vector<double> all;
    for (const auto& group : rewards) all.insert(all.end(), group.begin(), group.end());
    batch_deviation = standard_deviation(all);
  }
  std::vector<std::vector<double>> advantages;
  for (const auto& group : rewards) {
    auto& result = advantages.emplace_back(group.size(), 0.0);
    if (all_equal(group)) continue;
    const double centre = mean(group);
    double divisor = 1;
    if (scale == AlgorithmConfig::ScaleRewards::kGroup) divisor = standard_deviation(group) + kEpsilon;
    if (scale == AlgorithmConfig::ScaleRewards::kBatch) divisor = batch_deviation + kEpsilon;
    for (size_t i = 0; i < group.size(); ++i) result[i] = (group[i] - centre) / divisor;
  }
  return advantages;
}

}  // namespace ssl4rl::rl
