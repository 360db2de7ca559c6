// Cutting an update into micro-batches that fit a token budget. A group stays together where it fits; a larger one is
// cut between its samples, and its prompt then stands in each part. Results do not depend on the cut.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ssl4rl::rl {

/// Lengths of one group, in tokens.
struct GroupLengths {
  int64_t prompt = 0;
  std::vector<int64_t> completions;
};

/// Part of a micro-batch: some samples of one group.
struct GroupPart {
  size_t group = 0;
  std::vector<size_t> samples;
};
using MicroBatch = std::vector<GroupPart>;

/// A micro-batch holds at least one sample, even where that exceeds the budget. Samples without tokens are in none.
[[nodiscard]] std::vector<MicroBatch> micro_batches(std::span<const GroupLengths> groups, int64_t token_budget);

}  // namespace ssl4rl::rl
