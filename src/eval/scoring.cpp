#include "ssl4rl/eval/scoring.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "score_tables.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/text/unicode.h"

namespace ssl4rl::eval {
namespace {

std::string normalised(std::string_view text) { return text::lower(text::strip(text)); }

}  // namespace

void ScoreTable::set(const std::string& column, std::vector<ScoreCell> values) {
  rows.resize(std::max(rows.size(), values.size()));
  auto found = std::find(columns.begin(), columns.end(), column);
  const auto place = static_cast<size_t>(found - columns.begin());
  if (found == columns.end()) columns.push_back(column);
  for (size_t row = 0; row < rows.size(); ++row) {
    rows[row].resize(columns.size());
    rows[row][place] = row < values.size() ? std::move(values[row]) : ScoreCell();
  }
}

io::Column spreadsheet_round_trip(io::Column column) {
  if (column.type == io::Column::Type::kText) {
    io::infer_type(column);
    return column;
  }
  if (column.type == io::Column::Type::kBool &&
      std::any_of(column.cells.begin(), column.cells.end(), [](const io::Cell& cell) { return !cell; })) {
    for (io::Cell& cell : column.cells)
      if (cell) cell = *cell == "True" ? "1.0" : "0.0";
    column.type = io::Column::Type::kFloat;
  }
  if (column.type != io::Column::Type::kFloat) return column;
  const auto value = [](const io::Cell& cell) { return std::strtod(cell->c_str(), nullptr); };
  const bool whole = std::all_of(column.cells.begin(), column.cells.end(), [&](const io::Cell& cell) {
    return cell && std::abs(value(cell)) < 9e15 && std::nearbyint(value(cell)) == value(cell);
  });
  if (!whole || column.cells.empty()) return column;
  for (io::Cell& cell : column.cells) cell = fmt::format("{}", std::llround(value(cell)));
  column.type = io::Column::Type::kInteger;
  return column;
}

ScoreCell accuracy_cell(int64_t hits, int64_t count, double scale) {
  if (count == 0) return {};
  return static_cast<double>(hits) / static_cast<double>(count) * scale;
}

double accuracy_error(int64_t hits, int64_t count) {
  if (count == 0) return 0;
  const double p = static_cast<double>(hits) / static_cast<double>(count);
  return 100 * std::sqrt(p * (1 - p) / static_cast<double>(count));
}

std::vector<Unit> row_units(const Scores& scores) {
  std::vector<Unit> units;
  for (size_t row = 0; row < scores.answers.size(); ++row) units.push_back({row, {row}, scores.answers[row].hit});
  return units;
}

std::optional<Labels> labels_at(const io::Column* column, const std::vector<size_t>& rows) {
  if (!column) return {};
  io::Column part{column->name, column->type, {}, column->literal};
  for (const size_t row : rows) part.cells.push_back(column->cells[row]);
  part = spreadsheet_round_trip(std::move(part));
  Labels labels{std::move(part.cells), {}};
  for (const io::Cell& cell : labels.cells)
    if (cell) labels.distinct.push_back(*cell);
  const bool numbers = part.type == io::Column::Type::kInteger || part.type == io::Column::Type::kFloat;
  const auto value = [](const std::string& text) { return std::strtod(text.c_str(), nullptr); };
  std::sort(labels.distinct.begin(), labels.distinct.end(), [&](const auto& a, const auto& b) {
    return numbers && value(a) != value(b) ? value(a) < value(b) : a < b;
  });
  labels.distinct.erase(std::unique(labels.distinct.begin(), labels.distinct.end()), labels.distinct.end());
  return labels;
}

Scorer::Scorer(const Dataset& dataset, const ScoreSettings& settings) : dataset_(dataset), settings_(settings) {
  for (char letter = 'A'; letter <= 'Z'; ++letter)
    if (const io::Column* const column = dataset.table.find({&letter, 1}))
      options_.emplace_back(letter, spreadsheet_round_trip(*column));
}

Options Scorer::options(size_t row) const {
  Options options;
  for (const auto& [letter, column] : options_)
    if (column.cells[row]) options.emplace_back(letter, *column.cells[row]);
  return options;
}

// Nothing: the spreadsheet holds no value.
Answer Scorer::read_cell(size_t row, const io::Cell& prediction) const {
  const Kind kind = dataset_.benchmark.kind;
  Answer answer{.prediction = prediction.value_or("nan"), .extracted = {}, .hit = false, .why = {}};
  if (kind == Kind::kMmeRealWorld && !prediction) {
    answer.why = "there is no prediction";
    return answer;
  }
  const std::string text = extract_part(settings_.extract, answer.prediction);
  const io::Cell& gold = dataset_.cell("answer", row);
  if (kind == Kind::kExactAnswer) {
    answer.extracted = text::strip(text);
    answer.hit = gold && normalised(text) == normalised(*gold);
    return answer;
  }
  Reading reading = is_yes_no(kind)               ? read_yes_no(text)
                    : kind == Kind::kMmeRealWorld ? read_mme_realworld(text, settings_.matcher.profile)
                                                  : read_option(text, options(row), settings_.matcher);
  answer.extracted = std::move(reading.answer);
  answer.why = std::move(reading.why);
  const bool any_case = kind == Kind::kYesNo;  // a user's own file
  answer.hit = answer.extracted && gold &&
               (any_case ? normalised(*gold) == normalised(*answer.extracted) : *gold == *answer.extracted);
  return answer;
}

Answer Scorer::read(size_t row, const std::string& prediction) const {
  return read_cell(row, io::is_missing_text(prediction) ? io::Cell() : io::Cell(prediction));
}

Scores Scorer::score(const std::vector<io::Cell>& predictions) const {
  SSL4RL_CHECK(predictions.size() == dataset_.rows(), "{} predictions for {} rows", predictions.size(),
               dataset_.rows());
  io::Column column{.name = "prediction", .type = io::Column::Type::kText, .cells = predictions};
  io::infer_type(column);
  Scores scores;
  for (size_t row = 0; row < dataset_.rows(); ++row) scores.answers.push_back(read_cell(row, column.cells[row]));
  switch (dataset_.benchmark.kind) {
    case Kind::kMultipleChoice:
    case Kind::kMmvp:
    case Kind::kCvBench:
    case Kind::kExactAnswer:
      tabulate_multiple_choice(dataset_, settings_.matcher.profile, scores);
      break;
    case Kind::kMmeRealWorld:
      tabulate_mme_realworld(dataset_, scores);
      break;
    case Kind::kYesNo:
    case Kind::kHallusionBench:
    case Kind::kPope:
    case Kind::kMme:
      tabulate_yes_no(dataset_, scores);
      break;
  }
  return scores;
}

}  // namespace ssl4rl::eval
