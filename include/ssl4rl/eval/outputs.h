// The files of a scored benchmark: predictions.tsv, acc.csv or score.csv (MME-RealWorld: rating.json), result.json; and
// the summary over all benchmarks of a call.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "ssl4rl/eval/scoring.h"

namespace ssl4rl::eval {

/// The toolkit's table as CSV: every cell quoted, a missing value empty.
[[nodiscard]] std::string to_csv(const ScoreTable& table);
/// One object a row; a missing value is null.
[[nodiscard]] nlohmann::ordered_json to_json(const ScoreTable& table);

/// The toolkit's prediction file: its columns without the picture, and `prediction`.
[[nodiscard]] std::string predictions_tsv(const Dataset& dataset, const std::vector<io::Cell>& predictions);
/// The same as a spreadsheet, for submission servers.
void write_xlsx(const std::filesystem::path& file, const Dataset& dataset, const std::vector<io::Cell>& predictions);

/// `scores` is nullptr where there is nothing to score against.
void write_results(const std::filesystem::path& folder, const Dataset& dataset, const Scores* scores, Profile profile,
                   const nlohmann::ordered_json& settings);

/// One line of the summary.
struct SummaryLine {
  std::string bench;
  int64_t samples = 0;
  std::optional<double> overall, standard_error, chance;  ///< on the scale of `overall`
  std::optional<double> unparsed;                         ///< share of responses without a readable answer
};
void write_summary(const std::filesystem::path& folder, const std::vector<SummaryLine>& lines);
[[nodiscard]] std::string summary_markdown(const std::vector<SummaryLine>& lines);

}  // namespace ssl4rl::eval
