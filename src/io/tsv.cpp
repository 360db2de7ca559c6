#include "ssl4rl/io/tsv.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <utility>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"

namespace ssl4rl::io {
namespace {

// pandas._libs.parsers.STR_NA_VALUES.
constexpr std::array<std::string_view, 19> kMissing{"",     "#N/A",   "#N/A N/A", "#NA",  "-1.#IND", "-1.#QNAN", "-NaN",
                                                    "-nan", "1.#IND", "1.#QNAN",  "<NA>", "N/A",     "NA",       "NULL",
                                                    "NaN",  "None",   "n/a",      "nan",  "null"};

// pandas' tokenizer: cells of one record after the other.
class Tokenizer {
 public:
  Tokenizer(std::string_view text, const std::string& name) : text_(text), name_(name) {
    if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;
  }

  /// False at the end. Blank lines are passed over.
  bool next(std::vector<std::string>& cells) {
    cells.clear();
    skip_blank_lines();
    if (at_ >= text_.size()) return false;
    record_line_ = line_;
    cells.emplace_back();
    bool quoted = false, begin = true;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (quoted) {
        take_quoted(cells.back(), quoted);
        continue;
      }
      if (begin && c == '"') {
        quoted = true;
        begin = false;
        ++at_;
      } else if (c == '\t') {
        cells.emplace_back();
        begin = true;
        ++at_;
      } else if (c == '\n' || c == '\r') {
        end_line();
        return true;
      } else {  // up to the next separator: a quote in it is a character like any other
        const size_t end = std::min(text_.find_first_of("\t\n\r", at_), text_.size());
        cells.back().append(text_.substr(at_, end - at_));
        at_ = end;
        begin = false;
      }
    }
    if (quoted) fail("{}:{}: the file ends inside a quoted cell: it is cut off", name_, record_line_);
    ended_by_line_break_ = false;
    return true;
  }

  [[nodiscard]] int64_t record_line() const { return record_line_; }
  [[nodiscard]] bool ended_by_line_break() const { return ended_by_line_break_; }

 private:
  // Up to the closing quote; "" is a quote.
  void take_quoted(std::string& cell, bool& quoted) {
    const size_t quote = text_.find('"', at_), end = std::min(quote, text_.size());
    cell.append(text_.substr(at_, end - at_));
    line_ += std::count(text_.begin() + static_cast<ptrdiff_t>(at_), text_.begin() + static_cast<ptrdiff_t>(end), '\n');
    at_ = end;
    if (quote == std::string_view::npos) return;
    if (quote + 1 < text_.size() && text_[quote + 1] == '"') {
      cell += '"';
      at_ = quote + 2;
    } else {
      quoted = false;
      at_ = quote + 1;
    }
  }

  void end_line() {
    at_ += text_[at_] == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n' ? 2 : 1;
    ++line_;
  }

  void skip_blank_lines() {
    while (at_ < text_.size()) {
      const size_t end = text_.find_first_not_of(' ', at_);
      if (end == std::string_view::npos) {
        at_ = text_.size();
        return;
      }
      if (text_[end] != '\n' && text_[end] != '\r') return;
      at_ = end;
      end_line();
    }
  }

  std::string_view text_;
  const std::string& name_;
  size_t at_ = 0;
  int64_t line_ = 1, record_line_ = 1;
  bool ended_by_line_break_ = true;
};

std::string_view trimmed(std::string_view text) {
  constexpr const char* kSpace = " \t\n\v\f\r";
  const size_t begin = text.find_first_not_of(kSpace);
  return begin == std::string_view::npos ? std::string_view{}
                                         : text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

// A sign and digits only.
bool is_integer_text(std::string_view text) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

template <typename T>
std::optional<T> to_integer(std::string_view text) {
  text = trimmed(text);
  if (!is_integer_text(text)) return {};
  if (text[0] == '+') text.remove_prefix(1);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

std::optional<double> to_float(std::string_view text) {
  text = trimmed(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || text[0] == '+') return {};
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size() || std::isnan(value)) return {};
  if (error == std::errc::result_out_of_range)
    return std::abs(std::strtod(std::string(text).c_str(), nullptr)) > 1
               ? std::copysign(INFINITY, text[0] == '-' ? -1.0 : 1.0)
               : 0.0;
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<bool> to_bool(std::string_view text) {
  if (text == "True" || text == "TRUE" || text == "true") return true;
  if (text == "False" || text == "FALSE" || text == "false") return false;
  return {};
}

// Rewrites all present cells by `print`, which gives nothing where a text is not of the type.
template <typename Print>
bool rewrite(Column& column, Print print) {
  std::vector<Cell> cells;
  for (const Cell& cell : column.cells) {
    if (!cell) {
      cells.emplace_back();
      continue;
    }
    cells.push_back(print(*cell));
    if (!cells.back()) return false;
  }
  column.cells = std::move(cells);
  return true;
}

// A name that stands twice gets ".1", ".2", …; an empty one is "Unnamed: POSITION".
std::vector<std::string> header_names(const std::vector<std::string>& header) {
  std::vector<std::string> names;
  std::set<std::string> used;
  for (size_t i = 0; i < header.size(); ++i) {
    const std::string base = header[i].empty() ? fmt::format("Unnamed: {}", i) : header[i];
    std::string name = base;
    for (int n = 1; used.contains(name); ++n) name = fmt::format("{}.{}", base, n);
    used.insert(name);
    names.push_back(std::move(name));
  }
  return names;
}

}  // namespace

const Column* Table::find(std::string_view name) const {
  const auto found = std::find_if(columns.begin(), columns.end(), [name](const Column& c) { return c.name == name; });
  return found == columns.end() ? nullptr : &*found;
}

Column* Table::find(std::string_view name) { return const_cast<Column*>(std::as_const(*this).find(name)); }

bool is_missing_text(std::string_view text) {
  return text.size() <= 8 && std::find(kMissing.begin(), kMissing.end(), text) != kMissing.end();
}

void infer_type(Column& column) {
  using Type = Column::Type;
  bool holes = false, present = false, integers = true;
  for (Cell& cell : column.cells) {
    if (cell && (column.literal ? cell->empty() : is_missing_text(*cell))) cell.reset();
    holes = holes || !cell;
    present = present || cell;
    integers = integers && (!cell || is_integer_text(trimmed(*cell)));
  }
  column.type = Type::kText;
  if (!present) {
    column.type = Type::kFloat;
    return;
  }
  if (integers && !holes) {
    const auto print = [](auto value) { return value ? Cell(fmt::format("{}", *value)) : Cell(); };
    if (rewrite(column, [&](const std::string& text) { return print(to_integer<int64_t>(text)); }) ||
        rewrite(column, [&](const std::string& text) { return print(to_integer<uint64_t>(text)); }))
      column.type = Type::kInteger;
    return;  // too large for either: text
  }
  const auto print_float = [](const std::string& text) {
    const auto value = to_float(text);
    return value ? Cell(python_float(*value)) : Cell();
  };
  if (rewrite(column, print_float)) {
    column.type = Type::kFloat;
  } else if (rewrite(column, [](const std::string& text) {
               const auto value = to_bool(text);
               return value ? Cell(*value ? "True" : "False") : Cell();
             })) {
    column.type = Type::kBool;
  }
}

Table parse_tsv(std::string_view text, const std::string& name, std::span<const std::string> literal) {
  Tokenizer tokens(text, name);
  std::vector<std::string> cells;
  if (!tokens.next(cells)) fail("{}: the file is empty", name);
  Table table;
  for (std::string& column : header_names(cells)) table.columns.push_back({std::move(column), Column::Type::kText, {}});
  const size_t width = table.columns.size();
  while (tokens.next(cells)) {
    if (cells.size() > width)
      fail("{}:{}: expected {} cells, as in the header, found {}", name, tokens.record_line(), width, cells.size());
    if (cells.size() < width && !tokens.ended_by_line_break())
      fail("{}:{}: the last row has {} of {} cells and no line break: the file is cut off", name, tokens.record_line(),
           cells.size(), width);
    table.lines.push_back(tokens.record_line());
    for (size_t i = 0; i < width; ++i)
      table.columns[i].cells.push_back(i < cells.size() ? Cell(std::move(cells[i])) : Cell());
  }
  for (Column& column : table.columns) {
    column.literal = std::find(literal.begin(), literal.end(), column.name) != literal.end();
    infer_type(column);
  }
  return table;
}

Table read_tsv(const std::filesystem::path& file) { return parse_tsv(read_file(file), file.string()); }

std::string quoted_line(std::span<const Cell> cells, char separator) {
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) {
    if (i > 0) line += separator;
    line += '"';
    for (const char c : cells[i].value_or("")) {
      if (c == '"') line += '"';
      line += c;
    }
    line += '"';
  }
  return line + "\n";
}

std::string python_float(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  SSL4RL_CHECK(error == std::errc(), "a double needs more than {} characters", sizeof buffer);
  std::string digits;
  const std::string text(buffer, end);
  const size_t e = text.find('e');
  for (size_t i = 0; i < e; ++i)
    if (text[i] >= '0' && text[i] <= '9') digits += text[i];
  const int exponent = std::stoi(text.substr(e + 1));
  const std::string sign = std::signbit(value) ? "-" : "";
  if (exponent < -4 || exponent >= 16)
    return fmt::format("{}{}{}{}e{}{:02}", sign, digits[0], digits.size() > 1 ? "." : "",
                       std::string_view(digits).substr(1), exponent < 0 ? '-' : '+', std::abs(exponent));
  if (exponent < 0) return fmt::format("{}0.{:0<{}}{}", sign, "", -exponent - 1, digits);
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return fmt::format("{}{:0<{}}.0", sign, digits, whole);
  return fmt::format("{}{}.{}", sign, std::string_view(digits).substr(0, whole),
                     std::string_view(digits).substr(whole));
}

}  // namespace ssl4rl::io
