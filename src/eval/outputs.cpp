#include "ssl4rl/eval/outputs.h"

#include <xlsxwriter.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/jsonl.h"

namespace ssl4rl::eval {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

template <typename... F>
struct Overloaded : F... {
  using F::operator()...;
};

io::Cell csv_cell(const ScoreCell& cell) {
  return std::visit(
      Overloaded{[](std::monostate) { return io::Cell(); }, [](int64_t v) { return io::Cell(fmt::format("{}", v)); },
                 [](double v) { return io::Cell(io::python_float(v)); },
                 [](const std::string& v) { return io::Cell(v); }},
      cell);
}

Json json_cell(const ScoreCell& cell) {
  return std::visit(Overloaded{[](std::monostate) { return Json(); }, [](const auto& v) { return Json(v); }}, cell);
}

std::vector<io::Cell> header(const Dataset& dataset) {
  std::vector<io::Cell> cells;
  for (const io::Column& column : dataset.table.columns) cells.emplace_back(column.name);
  cells.emplace_back("prediction");
  return cells;
}

bool is_yes_no_table(const Dataset& dataset) { return is_yes_no(dataset.benchmark.kind); }

}  // namespace

std::string to_csv(const ScoreTable& table) {
  std::string text = io::quoted_line(std::vector<io::Cell>(table.columns.begin(), table.columns.end()), ',');
  for (const auto& row : table.rows) {
    std::vector<io::Cell> cells;
    for (const ScoreCell& cell : row) cells.push_back(csv_cell(cell));
    text += io::quoted_line(cells, ',');
  }
  return text;
}

Json to_json(const ScoreTable& table) {
  Json rows = Json::array();
  for (const auto& row : table.rows) {
    Json object = Json::object();
    for (size_t i = 0; i < row.size(); ++i) object[table.columns[i]] = json_cell(row[i]);
    rows.push_back(std::move(object));
  }
  return rows;
}

std::string predictions_tsv(const Dataset& dataset, const std::vector<io::Cell>& predictions) {
  std::string text = io::quoted_line(header(dataset), '\t');
  for (size_t row = 0; row < dataset.rows(); ++row) {
    std::vector<io::Cell> cells;
    for (const io::Column& column : dataset.table.columns) cells.push_back(column.cells[row]);
    cells.push_back(predictions[row]);
    text += io::quoted_line(cells, '\t');
  }
  return text;
}

void write_xlsx(const fs::path& file, const Dataset& dataset, const std::vector<io::Cell>& predictions) {
  constexpr size_t kLongestCell = 32767;  // characters; the format's limit
  const fs::path partial = file.string() + ".partial";
  lxw_workbook* const book = workbook_new(partial.c_str());
  lxw_worksheet* const sheet = workbook_add_worksheet(book, "Sheet1");
  const auto put_text = [sheet](size_t row, size_t column, const std::string& text) {
    std::string cut = text;
    for (size_t length = kLongestCell;
         worksheet_write_string(sheet, static_cast<lxw_row_t>(row), static_cast<lxw_col_t>(column), cut.c_str(),
                                nullptr) == LXW_ERROR_MAX_STRING_LENGTH_EXCEEDED;
         --length) {
      cut.resize(std::min(cut.size(), length));
      while (!cut.empty() && (static_cast<uint8_t>(cut.back()) & 0xC0) == 0x80) cut.pop_back();
    }
  };
  const std::vector<io::Cell> names = header(dataset);
  for (size_t i = 0; i < names.size(); ++i) put_text(0, i, *names[i]);
  for (size_t row = 0; row < dataset.rows(); ++row) {
    for (size_t i = 0; i < dataset.table.columns.size(); ++i) {
      const io::Column& column = dataset.table.columns[i];
      const io::Cell& cell = column.cells[row];
      if (!cell) continue;
      double number = 0;
      const bool numeric = column.type == io::Column::Type::kInteger || column.type == io::Column::Type::kFloat;
      const auto [end, error] = std::from_chars(cell->data(), cell->data() + cell->size(), number);
      if (numeric && error == std::errc() && end == cell->data() + cell->size()) {
        worksheet_write_number(sheet, static_cast<lxw_row_t>(row + 1), static_cast<lxw_col_t>(i), number, nullptr);
      } else {
        put_text(row + 1, i, *cell);
      }
    }
    if (predictions[row]) put_text(row + 1, dataset.table.columns.size(), *predictions[row]);
  }
  if (const lxw_error error = workbook_close(book); error != LXW_NO_ERROR) {
    std::error_code ignored;
    fs::remove(partial, ignored);
    fail("{}: cannot be written: {}", file.string(), lxw_strerror(error));
  }
  std::error_code error;
  fs::rename(partial, file, error);
  if (error) fail("{}: cannot be put in place: {}", file.string(), error.message());
}

void write_results(const fs::path& folder, const Dataset& dataset, const Scores* scores, Profile profile,
                   const Json& settings) {
  Json table = Json::array();
  if (scores && scores->nested) {
    table = *scores->nested;
    io::write_file(folder / "rating.json", scores->nested->dump(4) + "\n");
  } else if (scores) {
    table = to_json(scores->table);
    io::write_file(folder / (is_yes_no_table(dataset) ? "score.csv" : "acc.csv"), to_csv(scores->table));
  }
  Json result{{"bench", dataset.benchmark.name},
              {"dataset", dataset.benchmark.dataset},
              {"profile", profile_name(profile)},
              {"samples", dataset.rows()},
              {"overall", scores ? Json(scores->overall) : Json()},
              {"standard_error", scores ? Json(scores->standard_error) : Json()},
              {"table", std::move(table)},
              {"settings", settings},
              {"md5", dataset.md5.empty() ? Json() : Json(dataset.md5)},
              {"md5_known", dataset.md5_known}};
  if (scores && scores->vanilla)
    result["vanilla"] = {{"vanilla_0", scores->vanilla->base}, {"vanilla_all", scores->vanilla->all}};
  if (scores) {
    result["scored"] = scores->units.size();
    result["unparsed"] = std::count_if(scores->answers.begin(), scores->answers.end(),
                                       [](const Answer& answer) { return !answer.extracted; });
  }
  io::write_file(folder / "result.json", result.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::string summary_markdown(const std::vector<SummaryLine>& lines) {
  std::string text =
      "| benchmark | questions | overall | standard error | chance | unparsed |\n|---|---|---|---|---|---|\n";
  const auto number = [](const std::optional<double>& value) {
    return value ? fmt::format("{:.1f}", *value) : std::string("–");
  };
  for (const SummaryLine& line : lines)
    text += fmt::format("| {} | {} | {} | {} | {} | {} |\n", line.bench, line.samples, number(line.overall),
                        number(line.standard_error), number(line.chance),
                        line.unparsed ? fmt::format("{:.1f} %", 100 * *line.unparsed) : "–");
  return text;
}

void write_summary(const fs::path& folder, const std::vector<SummaryLine>& lines) {
  Json summary = Json::object();
  const auto number = [](const std::optional<double>& value) { return value ? Json(*value) : Json(); };
  for (const SummaryLine& line : lines)
    summary[line.bench] = {{"samples", line.samples},
                           {"overall", number(line.overall)},
                           {"standard_error", number(line.standard_error)},
                           {"chance", number(line.chance)},
                           {"unparsed", number(line.unparsed)}};
  io::write_file(folder / "summary.json", summary.dump(2) + "\n");
  io::write_file(folder / "summary.md", summary_markdown(lines));
}

}  // namespace ssl4rl::eval
