// How far the sampler's log-probs lie from the trainer's, over all sampled tokens of a step.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace ssl4rl::rl {

struct LogprobGap {
  double sum = 0, max = 0;
  int64_t tokens = 0;

  /// Takes note of a sample's tokens: |trained − drawn|.
  void add(const std::vector<float>& trained, const std::vector<float>& drawn) {
    for (size_t t = 0; t < drawn.size(); ++t) {
      const double gap = std::abs(static_cast<double>(trained[t]) - drawn[t]);
      sum += gap;
      max = std::max(max, gap);
    }
    tokens += static_cast<int64_t>(drawn.size());
  }
  [[nodiscard]] double mean() const { return sum / static_cast<double>(std::max<int64_t>(1, tokens)); }
};

}  // namespace ssl4rl::rl
