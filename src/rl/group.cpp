#include "ssl4rl/rl/group.h"

#include <numeric>

namespace ssl4rl::rl {

double Sample::mean_advantage() const {
  return advantages.empty()
             ? 0
             : std::accumulate(advantages.begin(), advantages.end(), 0.0) / static_cast<double>(advantages.size());
}

GroupLengths Group::lengths() const {
  GroupLengths lengths{puzzle.prompt.length(), {}};
  for (const Sample& sample : samples) lengths.completions.push_back(sample.trained_length());
  return lengths;
}

std::vector<double> Group::rewards() const {
  std::vector<double> rewards;
  for (const Sample& sample : samples) rewards.push_back(sample.score.total);
  return rewards;
}

}  // namespace ssl4rl::rl
