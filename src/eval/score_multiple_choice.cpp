// Accuracy by split and category; rotations of a question count together in circular benchmarks.
#include <algorithm>
#include <charconv>
#include <map>

#include "score_tables.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/text/unicode.h"

namespace ssl4rl::eval {
namespace {

int64_t to_integer(const std::string& text) {
  int64_t value = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// Rows in the order of their indices.
std::vector<size_t> rows_by_index(const Dataset& dataset) {
  std::vector<size_t> rows(dataset.rows());
  for (size_t row = 0; row < rows.size(); ++row) rows[row] = row;
  std::stable_sort(rows.begin(), rows.end(), [&](size_t a, size_t b) {
    return dataset.integer_index ? to_integer(dataset.index[a]) < to_integer(dataset.index[b])
                                 : dataset.index[a] < dataset.index[b];
  });
  return rows;
}

// Column names are lower-cased but for the option letters; of two that become equal the later one stays.
const io::Column* find_lower(const Dataset& dataset, std::string_view name) {
  const io::Column* found = nullptr;
  for (const io::Column& column : dataset.table.columns)
    if (text::lower(column.name) == name) found = &column;
  return found;
}

std::vector<Unit> circular_units(const Dataset& dataset, const std::vector<size_t>& order, const Scores& scores) {
  constexpr int64_t kRotation = 1'000'000;
  const io::Column* const given = find_lower(dataset, "g_index");
  std::map<int64_t, Unit> groups;
  std::map<int64_t, bool> has_base;
  std::vector<int64_t> base_order;
  for (const size_t row : order) {
    const int64_t index = to_integer(dataset.index[row]);
    const int64_t group = given ? to_integer(given->cells[row].value_or("")) : index % kRotation;
    auto [place, is_new] = groups.try_emplace(group, Unit{.row = row, .rows = {}, .hit = true});
    place->second.rows.push_back(row);
    place->second.hit = place->second.hit && scores.answers[row].hit;
    if (index != group) continue;
    place->second.row = row;
    base_order.push_back(group);
  }
  std::vector<Unit> units;  // a group without its base row is dropped
  for (const int64_t group : base_order) units.push_back(groups.at(group));
  return units;
}

struct Count {
  int64_t hits = 0, count = 0;
  void add(bool hit) {
    hits += hit;
    ++count;
  }
};

const std::string& abbreviation(const std::string& name) {
  static const std::map<std::string, std::string> kShort{{"coarse_perception", "CP"},
                                                         {"finegrained_perception (instance-level)", "FP-S"},
                                                         {"finegrained_perception (cross-instance)", "FP-C"},
                                                         {"logic_reasoning", "LR"},
                                                         {"relation_reasoning", "RR"},
                                                         {"attribute_reasoning", "AR"}};
  const auto found = kShort.find(name);
  return found == kShort.end() ? name : found->second;
}

std::vector<size_t> rows_of(const std::vector<Unit>& units) {
  std::vector<size_t> rows;
  for (const Unit& unit : units) rows.push_back(unit.row);
  return rows;
}

// The split of each unit ("none" where there is none) and the splits in order of appearance.
struct Splits {
  std::vector<std::string> of_unit, distinct;
};

Splits splits_of(const Dataset& dataset, const std::vector<Unit>& units) {
  Splits splits;
  const auto labels = labels_at(find_lower(dataset, "split"), rows_of(units));
  for (size_t u = 0; u < units.size(); ++u) {
    splits.of_unit.push_back(labels ? labels->cells[u].value_or("none") : "none");
    if (std::find(splits.distinct.begin(), splits.distinct.end(), splits.of_unit.back()) == splits.distinct.end())
      splits.distinct.push_back(splits.of_unit.back());
  }
  return splits;
}

// One value a split: the accuracy of the units that `counts`.
template <typename Counts>
std::vector<ScoreCell> by_split(const Splits& splits, const std::vector<Unit>& units, Counts counts) {
  std::vector<ScoreCell> cells;
  for (const std::string& split : splits.distinct) {
    Count count;
    for (size_t u = 0; u < units.size(); ++u)
      if (splits.of_unit[u] == split && counts(u)) count.add(units[u].hit);
    cells.push_back(accuracy_cell(count.hits, count.count, 1));
  }
  return cells;
}

std::vector<ScoreCell> split_cells(const Splits& splits) { return {splits.distinct.begin(), splits.distinct.end()}; }

void set_overall(Scores& scores) {
  Count all;
  for (const Unit& unit : scores.units) all.add(unit.hit);
  scores.overall = 100 * static_cast<double>(all.hits) / static_cast<double>(std::max<int64_t>(1, all.count));
  scores.standard_error = accuracy_error(all.hits, all.count);
}

// The toolkit's report_acc.
void report_accuracy(const Dataset& dataset, Scores& scores) {
  const Splits splits = splits_of(dataset, scores.units);
  scores.table.set("split", split_cells(splits));
  scores.table.set("Overall", by_split(splits, scores.units, [](size_t) { return true; }));
  for (const char* group : {"l2-category", "category"}) {
    const auto labels = labels_at(find_lower(dataset, group), rows_of(scores.units));
    if (!labels) continue;
    for (const std::string& label : labels->distinct)
      scores.table.set(abbreviation(label),
                       by_split(splits, scores.units, [&](size_t u) { return labels->cells[u] == label; }));
  }
  set_overall(scores);
}

// CV-Bench-2D: the unweighted mean over the pictures' sources.
void report_by_source(const Dataset& dataset, Scores& scores) {
  const Splits splits = splits_of(dataset, scores.units);
  scores.table.set("split", split_cells(splits));
  const auto sources = labels_at(find_lower(dataset, "source"), rows_of(scores.units));
  if (!sources || sources->distinct.empty())
    fail("{}: CV-Bench-2D is averaged over the column \"source\", which is missing or empty", dataset.file.string());
  double sum = 0, variance = 0;
  for (const std::string& source : sources->distinct) {
    Count count;
    for (size_t u = 0; u < scores.units.size(); ++u)
      if (sources->cells[u] == source) count.add(scores.units[u].hit);
    scores.table.set(source, {accuracy_cell(count.hits, count.count, 1)});
    sum += static_cast<double>(count.hits) / static_cast<double>(count.count);
    variance += accuracy_error(count.hits, count.count) * accuracy_error(count.hits, count.count);
  }
  const auto number = static_cast<double>(sources->distinct.size());
  scores.table.set("Overall", {sum / number});
  scores.overall = 100 * (sum / number);
  scores.standard_error = std::sqrt(variance) / number;
}

// MMVP: neighbours are a pair, which counts when both are right.
void report_pairs(const Dataset& dataset, Scores& scores) {
  if (scores.units.size() % 2 != 0)
    fail("{}: MMVP is scored in pairs; found {} questions", dataset.file.string(), scores.units.size());
  Count rows, pairs;
  for (size_t u = 0; u < scores.units.size(); u += 2) {
    const Unit &first = scores.units[u], &second = scores.units[u + 1];
    if (dataset.cell("question", first.row) != dataset.cell("question", second.row))
      fail("{}: MMVP's pairs ask one question twice; this row and {} ask different ones", dataset.place(first.row),
           dataset.place(second.row));
    rows.add(first.hit);
    rows.add(second.hit);
    pairs.add(first.hit && second.hit);
  }
  scores.table.set("Average", {accuracy_cell(rows.hits, rows.count, 1)});
  scores.table.set("Overall", {accuracy_cell(pairs.hits, pairs.count, 1)});
  scores.overall = 100 * static_cast<double>(pairs.hits) / static_cast<double>(pairs.count);
  scores.standard_error = accuracy_error(pairs.hits, pairs.count);
}

bool is_all_2d(const Dataset& dataset, const std::vector<Unit>& units) {
  const auto labels = labels_at(find_lower(dataset, "split"), rows_of(units));
  return labels &&
         std::all_of(labels->cells.begin(), labels->cells.end(), [](const io::Cell& cell) { return cell == "2D"; });
}

}  // namespace

void tabulate_multiple_choice(const Dataset& dataset, Profile profile, Scores& scores) {
  const std::vector<size_t> order = rows_by_index(dataset);
  if (dataset.benchmark.circular) {
    scores.units = circular_units(dataset, order, scores);
    if (scores.units.empty())
      fail("{}: no row is the base of a circular question: indices below 1000000, or equal to g_index",
           dataset.file.string());
    Count base, all;
    for (const Unit& unit : scores.units) base.add(scores.answers[unit.row].hit);
    for (const Answer& answer : scores.answers) all.add(answer.hit);
    scores.vanilla = {100 * static_cast<double>(base.hits) / static_cast<double>(base.count),
                      100 * static_cast<double>(all.hits) / static_cast<double>(all.count)};
  } else {
    for (const size_t row : order) scores.units.push_back({row, {row}, scores.answers[row].hit});
  }
  if (dataset.benchmark.kind == Kind::kMmvp && profile == Profile::k2026_06) {
    report_pairs(dataset, scores);
  } else if (dataset.benchmark.kind == Kind::kCvBench && is_all_2d(dataset, scores.units)) {
    report_by_source(dataset, scores);
  } else {
    report_accuracy(dataset, scores);
  }
}

}  // namespace ssl4rl::eval
