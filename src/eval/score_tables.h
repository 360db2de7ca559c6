// The tables of the benchmark kinds, from answers that were read already.
#pragma once

#include "ssl4rl/eval/scoring.h"

namespace ssl4rl::eval {

/// Each fills units, table, overall and standard error of `scores`, whose answers are there.
void tabulate_multiple_choice(const Dataset& dataset, Profile profile, Scores& scores);
void tabulate_yes_no(const Dataset& dataset, Scores& scores);
void tabulate_mme_realworld(const Dataset& dataset, Scores& scores);

/// Accuracy of some units, as a cell: nothing where there is none.
[[nodiscard]] ScoreCell accuracy_cell(int64_t hits, int64_t count, double scale);
/// 100 × the standard error of a mean of `count` zeros and ones.
[[nodiscard]] double accuracy_error(int64_t hits, int64_t count);
/// One unit a row, in file order.
[[nodiscard]] std::vector<Unit> row_units(const Scores& scores);

/// A column's cells at some rows, as they come out of the toolkit's spreadsheet; nothing where there is no such column.
struct Labels {
  std::vector<io::Cell> cells;
  std::vector<std::string> distinct;  ///< sorted as Python sorts them, numbers by value
};
[[nodiscard]] std::optional<Labels> labels_at(const io::Column* column, const std::vector<size_t>& rows);

}  // namespace ssl4rl::eval
