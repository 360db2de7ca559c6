// Tables in tab-separated files, read as pandas.read_csv(sep="\t") reads them and written as DataFrame.to_csv with
// QUOTE_ALL writes them, because benchmarks are defined by what pandas makes of their files.
//
// A cell is kept as the text that Python's str() gives for pandas' value: a column whose cells are all integers prints
// "7" for "007", one with a hole prints "7.0", one of truth values prints "True". That text is what prompts and
// matching see.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ssl4rl::io {

using Cell = std::optional<std::string>;  ///< nothing: missing (NaN)

struct Column {
  enum class Type { kInteger, kFloat, kBool, kText };
  std::string name;
  Type type = Type::kText;
  std::vector<Cell> cells;
  bool literal = false;  ///< "None", "NA" and the like are texts, too: only an empty cell is missing
};

struct Table {
  std::vector<Column> columns;
  std::vector<int64_t> lines;  ///< where each row begins in the file, from 1

  [[nodiscard]] size_t rows() const { return lines.size(); }
  /// The column of exactly this name, or nullptr.
  [[nodiscard]] const Column* find(std::string_view name) const;
  [[nodiscard]] Column* find(std::string_view name);
};

/// Texts that pandas takes for a missing value ("", "NA", "None", "null", …).
[[nodiscard]] bool is_missing_text(std::string_view text);

/// Gives the column pandas' type for its texts and rewrites the cells to what that type prints.
void infer_type(Column& column);

/// Columns named in `literal` are read as such (see Column). Throws Error naming `name`, the line, what was expected
/// and what was found.
[[nodiscard]] Table parse_tsv(std::string_view text, const std::string& name,
                              std::span<const std::string> literal = {});
[[nodiscard]] Table read_tsv(const std::filesystem::path& file);

/// One line in which every cell is quoted; a missing one is "".
[[nodiscard]] std::string quoted_line(std::span<const Cell> cells, char separator);

/// repr() of a Python float: the shortest text that reads back to it ("0.5", "1e-05", "2.0", "nan").
[[nodiscard]] std::string python_float(double value);

}  // namespace ssl4rl::io
