#include "ssl4rl/rl/micro_batch.h"

#include <gtest/gtest.h>

#include <set>

#include "ssl4rl/base/rng.h"

namespace ssl4rl::rl {
namespace {

int64_t tokens_of(const MicroBatch& batch, const std::vector<GroupLengths>& groups) {
  int64_t tokens = 0;
  for (const GroupPart& part : batch) {
    tokens += groups[part.group].prompt;
    for (const size_t s : part.samples) tokens += groups[part.group].completions[s];
  }
  return tokens;
}

TEST(MicroBatch, EverySampleOccursOnceInOrderAndTheBudgetHolds) {
  Rng rng(1, Stream::kTask);
  for (int round = 0; round < 200; ++round) {
    std::vector<GroupLengths> groups;
    for (int64_t g = rng.between(1, 6); g > 0; --g) {
      groups.push_back({rng.between(1, 60), {}});
      for (int64_t s = rng.between(1, 9); s > 0; --s) groups.back().completions.push_back(rng.between(1, 40));
    }
    const int64_t budget = rng.between(1, 400);
    std::vector<std::pair<size_t, size_t>> seen, expected;
    for (const MicroBatch& batch : micro_batches(groups, budget)) {
      ASSERT_FALSE(batch.empty());
      size_t samples = 0;
      std::set<size_t> once;
      for (const GroupPart& part : batch) {
        ASSERT_FALSE(part.samples.empty());
        EXPECT_TRUE(once.insert(part.group).second) << "a prompt stands once in a micro-batch";
        samples += part.samples.size();
        for (const size_t s : part.samples) seen.emplace_back(part.group, s);
      }
      EXPECT_TRUE(tokens_of(batch, groups) <= budget || samples == 1);
    }
    for (size_t g = 0; g < groups.size(); ++g)
      for (size_t s = 0; s < groups[g].completions.size(); ++s) expected.emplace_back(g, s);
    EXPECT_EQ(seen, expected);
  }
}

TEST(MicroBatch, AGroupThatFitsStaysTogether) {
  const std::vector<GroupLengths> groups{{10, {5, 5}}, {10, {5, 5}}, {10, {5, 5}}};
  const auto batches = micro_batches(groups, 45);
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(batches[0].size(), 2u);
  EXPECT_EQ(batches[1].size(), 1u);
}

}  // namespace
}  // namespace ssl4rl::rl
