// From predictions to the toolkit's tables: same columns, order and units.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ssl4rl/eval/dataset.h"
#include "ssl4rl/eval/matching.h"

namespace ssl4rl::eval {

struct ScoreSettings {
  MatcherSettings matcher;
  Extract extract = Extract::kNone;
};

/// A row's prediction and what was read from it.
struct Answer {
  std::string prediction;  ///< as it comes out of the toolkit's spreadsheet: an empty or NA-like text is "nan"
  std::optional<std::string> extracted;
  bool hit = false;
  std::string why;  ///< why nothing was read
};

/// What is counted once: a row, or in a circular benchmark a question with all its rotations.
struct Unit {
  size_t row = 0;            ///< the question itself
  std::vector<size_t> rows;  ///< all rows that must be right
  bool hit = false;
};

using ScoreCell = std::variant<std::monostate, int64_t, double, std::string>;  ///< nothing: NaN

struct ScoreTable {
  std::vector<std::string> columns;
  std::vector<std::vector<ScoreCell>> rows;

  /// Sets a column; one of the same name is overwritten where it stands.
  void set(const std::string& column, std::vector<ScoreCell> values);
};

struct Scores {
  std::vector<Answer> answers;  ///< by row
  std::vector<Unit> units;      ///< in the order of scoring
  ScoreTable table;
  std::shared_ptr<const nlohmann::ordered_json> nested;  ///< MME-RealWorld's rating instead of a table
  double overall = 0;                                    ///< what the leaderboard shows; 0 to 100, MME to 2800
  double standard_error = 0;                             ///< of `overall`
  struct Vanilla {
    double base = 0, all = 0;  ///< accuracy of the base rows, of all rows; 0 to 100
  };
  std::optional<Vanilla> vanilla;  ///< of a circular benchmark
};

/// Reads and scores the answers to one benchmark.
class Scorer {
 public:
  Scorer(const Dataset& dataset, const ScoreSettings& settings);

  /// What one prediction alone gives.
  [[nodiscard]] Answer read(size_t row, const std::string& prediction) const;
  /// All of them, `predictions` by row. Throws Error where the rows break a rule of the benchmark (an odd number of
  /// MMVP rows).
  [[nodiscard]] Scores score(const std::vector<io::Cell>& predictions) const;
  /// A question's options, as the scorer sees them: after the spreadsheet.
  [[nodiscard]] Options options(size_t row) const;

 private:
  [[nodiscard]] Answer read_cell(size_t row, const io::Cell& prediction) const;

  const Dataset& dataset_;
  ScoreSettings settings_;
  std::vector<std::pair<char, io::Column>> options_;
};

/// A column as it comes back from the toolkit's spreadsheet: floats that are all whole, without holes, become integers;
/// truth values with holes become 1.0 and 0.0.
[[nodiscard]] io::Column spreadsheet_round_trip(io::Column column);

}  // namespace ssl4rl::eval
