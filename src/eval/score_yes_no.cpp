// HallusionBench, POPE, MME, and users' own yes/no files.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "score_tables.h"
#include "ssl4rl/base/error.h"

namespace ssl4rl::eval {
namespace {

std::vector<size_t> all_rows(const Dataset& dataset) {
  std::vector<size_t> rows(dataset.rows());
  for (size_t row = 0; row < rows.size(); ++row) rows[row] = row;
  return rows;
}

std::optional<Labels> labels_of(const Dataset& dataset, const char* column) {
  return labels_at(dataset.table.find(column), all_rows(dataset));
}

// The jackknife's standard error: `without(cluster)` is the figure with one cluster of questions left out.
double jackknife_error(size_t clusters, const std::function<double(size_t)>& without) {
  if (clusters < 2) return 0;
  std::vector<double> values;
  double sum = 0;
  for (size_t c = 0; c < clusters; ++c) {
    values.push_back(without(c));
    sum += values.back();
  }
  const double n = static_cast<double>(clusters), mean = sum / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt((n - 1) / n * squares);
}

double percent(int64_t hits, int64_t count) {
  return count == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(count) * 100;
}

// Accuracy of all rows and of each category, in percent.
void report_plain(const Dataset& dataset, Scores& scores) {
  const auto accuracy = [&](const std::function<bool(size_t)>& counts) {
    int64_t hits = 0, count = 0;
    for (size_t row = 0; row < dataset.rows(); ++row)
      if (counts(row)) {
        hits += scores.answers[row].hit;
        ++count;
      }
    return std::pair(hits, count);
  };
  const auto [hits, count] = accuracy([](size_t) { return true; });
  scores.table.set("Overall", {accuracy_cell(hits, count, 100)});
  scores.overall = percent(hits, count);
  scores.standard_error = accuracy_error(hits, count);
  for (const char* group : {"category", "l2-category"}) {
    const auto labels = labels_of(dataset, group);
    if (!labels) continue;
    for (const std::string& label : labels->distinct) {
      const auto [right, all] = accuracy([&](size_t row) { return labels->cells[row] == label; });
      scores.table.set(label, {accuracy_cell(right, all, 100)});
    }
  }
}

// ---- HallusionBench ----

struct HallusionRow {
  std::string set, figure, question;  // l2-category and set, with the figure, with the question
  bool hit = false;
};

struct HallusionRates {
  double all = 0, figures = 0, questions = 0;  // percent
  [[nodiscard]] double mean() const { return (all + figures + questions) / 3; }
};

template <typename Counts>
HallusionRates hallusion_rates(const std::vector<HallusionRow>& rows, Counts counts) {
  int64_t hits = 0, count = 0;
  std::map<std::string_view, bool> figures, questions;
  const auto note = [](std::map<std::string_view, bool>& groups, const std::string& key, bool hit) {
    const auto [place, is_new] = groups.try_emplace(key, true);
    place->second = place->second && hit;
  };
  for (size_t row = 0; row < rows.size(); ++row) {
    if (!counts(row)) continue;
    hits += rows[row].hit;
    ++count;
    note(figures, rows[row].figure, rows[row].hit);
    note(questions, rows[row].question, rows[row].hit);
  }
  const auto share = [](const std::map<std::string_view, bool>& groups) {
    return percent(std::count_if(groups.begin(), groups.end(), [](const auto& group) { return group.second; }),
                   static_cast<int64_t>(groups.size()));
  };
  return {percent(hits, count), share(figures), share(questions)};
}

std::vector<std::string> split_at(const std::string& text, char mark) {
  std::vector<std::string> parts{""};
  for (const char c : text) {
    if (c == mark) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

void report_hallusion(const Dataset& dataset, Scores& scores) {
  const auto l2 = labels_of(dataset, "l2-category");
  SSL4RL_CHECK(l2, "HallusionBench without l2-category");
  std::vector<HallusionRow> rows;
  std::map<std::string, size_t> sets;
  for (size_t row = 0; row < dataset.rows(); ++row) {
    const std::vector<std::string> parts = split_at(dataset.index[row], '_');
    if (parts.size() < 6)
      fail("{}: expected an index like VD_figure_0_SET_FIGURE_QUESTION (six parts)", dataset.place(row));
    const std::string prefix = l2->cells[row].value_or("nan") + "_" + parts[3];
    rows.push_back({prefix, prefix + "_" + parts[4], prefix + "_" + parts[5], scores.answers[row].hit});
    sets.try_emplace(prefix, sets.size());
  }
  std::vector<ScoreCell> names, all, figures, questions;
  const auto add = [&](const std::string& name, const HallusionRates& rates) {
    names.emplace_back(name);
    all.emplace_back(rates.all);
    figures.emplace_back(rates.figures);
    questions.emplace_back(rates.questions);
  };
  const HallusionRates overall = hallusion_rates(rows, [](size_t) { return true; });
  add("Overall", overall);
  for (const char* group : {"category", "l2-category"}) {
    const auto labels = labels_of(dataset, group);
    if (!labels) continue;
    for (const std::string& label : labels->distinct)
      add(label, hallusion_rates(rows, [&](size_t row) { return labels->cells[row] == label; }));
  }
  scores.table.set("split", std::move(names));
  scores.table.set("aAcc", std::move(all));
  scores.table.set("fAcc", std::move(figures));
  scores.table.set("qAcc", std::move(questions));
  scores.overall = overall.mean();
  scores.standard_error = jackknife_error(sets.size(), [&](size_t left_out) {
    return hallusion_rates(rows, [&](size_t row) { return sets.at(rows[row].set) != left_out; }).mean();
  });
}

// ---- POPE ----

struct Confusion {
  int64_t true_positive = 0, false_positive = 0, false_negative = 0, hits = 0, count = 0;

  void add(const Confusion& other, int64_t sign = 1) {
    true_positive += sign * other.true_positive;
    false_positive += sign * other.false_positive;
    false_negative += sign * other.false_negative;
    hits += sign * other.hits;
    count += sign * other.count;
  }
  [[nodiscard]] double precision() const { return ratio(true_positive, true_positive + false_positive); }
  [[nodiscard]] double recall() const { return ratio(true_positive, true_positive + false_negative); }
  [[nodiscard]] double f1() const {
    const double p = precision(), r = recall();
    return p + r != 0 ? 2 * (p * r) / (p + r) : 0;
  }

 private:
  static double ratio(int64_t part, int64_t whole) {
    return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
  }
};

void report_pope(const Dataset& dataset, Scores& scores) {
  const auto labels = labels_of(dataset, "category");
  Confusion all;
  std::map<std::string, Confusion> by_category;
  std::map<std::vector<size_t>, Confusion> by_pictures;
  for (size_t row = 0; row < dataset.rows(); ++row) {
    const Answer& answer = scores.answers[row];
    const bool truth = dataset.cell("answer", row) == "Yes", said = answer.extracted == "Yes";
    const Confusion one{truth && said, !truth && said, truth && !said, answer.hit, 1};
    // A row with several categories counts once in each of them, and as often in the whole.
    for (const std::string& category :
         labels->cells[row] ? split_at(*labels->cells[row], ',') : std::vector<std::string>{""}) {
      all.add(one);
      by_pictures[dataset.row_pictures[row]].add(one);
      if (labels->cells[row]) by_category[category].add(one);
    }
  }
  std::vector<ScoreCell> names, f1, accuracy, precision, recall;
  // The toolkit's zeros of an empty denominator are integers; a column of nothing else prints "0".
  const auto zero_or = [](int64_t denominator, double value) {
    return denominator == 0 ? ScoreCell(int64_t{0}) : ScoreCell(value * 100);
  };
  const auto add = [&](const std::string& name, const Confusion& c) {
    names.emplace_back(name);
    f1.push_back(zero_or(c.precision() + c.recall() != 0, c.f1()));
    accuracy.push_back(accuracy_cell(c.hits, c.count, 100));
    precision.push_back(zero_or(c.true_positive + c.false_positive, c.precision()));
    recall.push_back(zero_or(c.true_positive + c.false_negative, c.recall()));
  };
  add("Overall", all);
  for (const auto& [category, confusion] : by_category) add(category, confusion);
  const auto as_one_type = [](std::vector<ScoreCell>& cells) {
    const bool floats = std::any_of(cells.begin(), cells.end(),
                                    [](const ScoreCell& cell) { return std::holds_alternative<double>(cell); });
    for (ScoreCell& cell : cells)
      if (floats && std::holds_alternative<int64_t>(cell)) cell = 0.0;
  };
  for (auto* column : {&f1, &precision, &recall}) as_one_type(*column);
  scores.table.set("split", std::move(names));
  scores.table.set("Overall", std::move(f1));
  scores.table.set("acc", std::move(accuracy));
  scores.table.set("precision", std::move(precision));
  scores.table.set("recall", std::move(recall));
  scores.overall = 100 * all.f1();
  std::vector<Confusion> clusters;
  for (const auto& [pictures, confusion] : by_pictures) clusters.push_back(confusion);
  scores.standard_error = jackknife_error(clusters.size(), [&](size_t left_out) {
    Confusion rest = all;
    rest.add(clusters[left_out], -1);
    return 100 * rest.f1();
  });
}

// ---- MME ----

constexpr std::array kPerception{"OCR",       "artwork",  "celebrity", "color",   "count",
                                 "existence", "landmark", "position",  "posters", "scene"};
constexpr std::array kReasoning{"code_reasoning", "commonsense_reasoning", "numerical_calculation", "text_translation"};

// Hits of the questions about one picture, in file order.
using MmePictures = std::vector<std::pair<std::string, std::vector<bool>>>;

// acc × 100 + acc⁺ × 100; acc⁺ looks at the first two questions of a picture.
double mme_score(const MmePictures& pictures, const std::string& left_out) {
  int64_t hits = 0, count = 0, both = 0, number = 0;
  for (const auto& [path, of_picture] : pictures) {
    if (path == left_out) continue;
    hits += std::count(of_picture.begin(), of_picture.end(), true);
    count += static_cast<int64_t>(of_picture.size());
    both += of_picture.size() > 1 && of_picture[0] && of_picture[1];
    ++number;
  }
  return percent(hits, count) + percent(both, number);
}

void report_mme(const Dataset& dataset, Scores& scores) {
  const auto labels = labels_of(dataset, "category");
  std::vector<std::string> categories;
  std::map<std::string, MmePictures> pictures;
  std::map<std::string, std::map<std::string, size_t>> place_of;
  std::set<std::string> paths;
  for (size_t row = 0; row < dataset.rows(); ++row) {
    if (!labels->cells[row]) fail("{}: the category is missing", dataset.place(row));
    const std::string& category = *labels->cells[row];
    const std::string path = dataset.cell("image_path", row).value_or("nan");
    if (!pictures.contains(category)) categories.push_back(category);
    auto& of_category = pictures[category];
    const auto [place, is_new] = place_of[category].try_emplace(path, of_category.size());
    if (is_new) of_category.emplace_back(path, std::vector<bool>{});
    of_category[place->second].second.push_back(scores.answers[row].hit);
    paths.insert(path);
  }
  const auto sum_of = [&](const auto& names, const std::string& left_out) {
    double sum = 0;
    for (const char* name : names)
      if (const auto found = pictures.find(name); found != pictures.end()) sum += mme_score(found->second, left_out);
    return sum;
  };
  const std::string nobody("\0", 1);
  const double perception = sum_of(kPerception, nobody), reasoning = sum_of(kReasoning, nobody);
  scores.table.set("perception", {perception});
  scores.table.set("reasoning", {reasoning});
  for (const std::string& category : categories) scores.table.set(category, {mme_score(pictures[category], nobody)});
  scores.overall = perception + reasoning;
  const std::vector<std::string> clusters(paths.begin(), paths.end());
  scores.standard_error = jackknife_error(
      clusters.size(), [&](size_t c) { return sum_of(kPerception, clusters[c]) + sum_of(kReasoning, clusters[c]); });
}

}  // namespace

void tabulate_yes_no(const Dataset& dataset, Scores& scores) {
  scores.units = row_units(scores);
  switch (dataset.benchmark.kind) {
    case Kind::kHallusionBench:
      return report_hallusion(dataset, scores);
    case Kind::kPope:
      return report_pope(dataset, scores);
    case Kind::kMme:
      return report_mme(dataset, scores);
    default:
      return report_plain(dataset, scores);
  }
}

}  // namespace ssl4rl::eval
