#include "comparison.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "ssl4rl/base/error.h"
#include "ssl4rl/eval/predictions.h"

namespace ssl4rl::eval {
namespace fs = std::filesystem;

double mcnemar(int64_t gained, int64_t lost) {
  const int64_t n = gained + lost, fewer = std::min(gained, lost);
  if (n == 0) return 1;
  // 2 × P(X ≤ fewer) for X ~ Binomial(n, 1/2), in logarithms.
  const auto log_term = [n](int64_t k) {
    const auto d = [](int64_t v) { return static_cast<double>(v); };
    return std::lgamma(d(n) + 1) - std::lgamma(d(k) + 1) - std::lgamma(d(n - k) + 1) - d(n) * std::log(2.0);
  };
  double sum = 0;
  for (int64_t k = 0; k <= fewer; ++k) sum += std::exp(log_term(k));
  return std::min(1.0, 2 * sum);
}

std::string Comparison::headline() const {
  return fmt::format("{:.2f} against {:.2f} ({:+.2f}); {} questions gained, {} lost; McNemar's p = {:.3g}", overall,
                     baseline_overall, overall - baseline_overall, gained.size(), lost.size(), p);
}

std::vector<io::Cell> read_baseline(const Dataset& dataset, const fs::path& folder) {
  for (const fs::path& file : {folder / dataset.benchmark.name / "predictions.jsonl", folder / "predictions.jsonl"})
    if (fs::exists(file)) return read_predictions(file, dataset);
  fail("--baseline {}: expected {}", folder.string(), (folder / dataset.benchmark.name / "predictions.jsonl").string());
}

Comparison compare(const Dataset& dataset, const Scorer& scorer, const Scores& scores, const fs::path& folder) {
  Comparison result{.overall = scores.overall, .baseline = read_baseline(dataset, folder)};
  const Scores other = scorer.score(result.baseline);
  result.baseline_overall = other.overall;
  for (size_t u = 0; u < scores.units.size(); ++u) {
    const bool now = scores.units[u].hit, before = other.units[u].hit;
    result.both += now && before;
    result.neither += !now && !before;
    if (now && !before) result.gained.push_back(scores.units[u].row);
    if (!now && before) result.lost.push_back(scores.units[u].row);
  }
  result.p = mcnemar(static_cast<int64_t>(result.gained.size()), static_cast<int64_t>(result.lost.size()));
  return result;
}

nlohmann::ordered_json to_json(const Comparison& comparison, const Dataset& dataset) {
  const auto indices = [&](const std::vector<size_t>& rows) {
    std::vector<std::string> list;
    for (const size_t row : rows) list.push_back(dataset.index[row]);
    return list;
  };
  return {{"overall", comparison.overall},
          {"baseline", comparison.baseline_overall},
          {"difference", comparison.overall - comparison.baseline_overall},
          {"both_right", comparison.both},
          {"both_wrong", comparison.neither},
          {"gained", indices(comparison.gained)},
          {"lost", indices(comparison.lost)},
          {"mcnemar_p", comparison.p}};
}

}  // namespace ssl4rl::eval
