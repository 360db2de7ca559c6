// A benchmark's page to look through: accuracy by category with confidence intervals, then the questions, wrong ones
// first, with pictures, options, the model's text, what was read from it and why not.
#pragma once

#include "comparison.h"
#include "ssl4rl/eval/scoring.h"

namespace ssl4rl::eval {

void write_page(const std::filesystem::path& file, const Dataset& dataset, const Scorer& scorer, const Scores& scores,
                const std::vector<io::Cell>& predictions, Profile profile, const Comparison* comparison);

/// Wilson's 95 % interval of a share.
struct Interval {
  double low = 0, high = 0;
};
[[nodiscard]] Interval wilson(int64_t hits, int64_t count);

}  // namespace ssl4rl::eval
