// Two runs on the same questions: which were gained and lost, and whether that may be chance (McNemar's exact test).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "ssl4rl/eval/scoring.h"

namespace ssl4rl::eval {

struct Comparison {
  double overall = 0, baseline_overall = 0;
  int64_t both = 0, neither = 0;
  std::vector<size_t> gained, lost;  ///< rows of the units
  double p = 1;                      ///< two-sided, exact
  std::vector<io::Cell> baseline;    ///< the other run's predictions, by row

  [[nodiscard]] std::string headline() const;
};

/// Predictions of another run, by row: `folder` is its output folder, or its folder of this benchmark. Throws Error
/// where it lacks some.
[[nodiscard]] std::vector<io::Cell> read_baseline(const Dataset& dataset, const std::filesystem::path& folder);
[[nodiscard]] Comparison compare(const Dataset& dataset, const Scorer& scorer, const Scores& scores,
                                 const std::filesystem::path& folder);
[[nodiscard]] nlohmann::ordered_json to_json(const Comparison& comparison, const Dataset& dataset);

/// The two-sided exact test of McNemar: of gained + lost changes, as many one way, each with probability 1/2.
[[nodiscard]] double mcnemar(int64_t gained, int64_t lost);

}  // namespace ssl4rl::eval
