#include "ssl4rl/rl/micro_batch.h"

#include <numeric>

namespace ssl4rl::rl {

std::vector<MicroBatch> micro_batches(std::span<const GroupLengths> groups, int64_t token_budget) {
  std::vector<MicroBatch> batches;
  int64_t used = 0;
  const auto open = [&] {
    batches.emplace_back();
    used = 0;
  };
  for (size_t g = 0; g < groups.size(); ++g) {
    const auto& [prompt, completions] = groups[g];
    const int64_t whole = prompt + std::accumulate(completions.begin(), completions.end(), int64_t{0});
    if (whole == prompt) continue;
    if (batches.empty() || (used > 0 && used + whole > token_budget)) open();
    for (size_t s = 0; s < completions.size(); ++s) {
      if (completions[s] == 0) continue;
      const bool begins = batches.back().empty() || batches.back().back().group != g;
      if (const int64_t more = completions[s] + (begins ? prompt : 0); used > 0 && used + more > token_budget) open();
      if (batches.back().empty() || batches.back().back().group != g) {
        batches.back().push_back({g, {}});
        used += prompt;
      }
      batches.back().back().samples.push_back(s);
      used += completions[s];
    }
  }
  return batches;
}

}  // namespace ssl4rl::rl
