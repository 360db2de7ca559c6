#include "bench_page.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/report/page.h"
#include "ssl4rl/text/unicode.h"

namespace ssl4rl::eval {
namespace {

constexpr size_t kMostWrong = 300, kMostRight = 60;  // cards
constexpr int kPictureSide = 300;
constexpr size_t kLongestText = 3000;  // bytes of a model's text

struct Count {
  int64_t hits = 0, count = 0;
};

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

// A line from 0 to 100 % with the interval on it and a dot at the share.
std::string interval_chart(double share, const Interval& interval) {
  constexpr double kWidth = 200;
  return fmt::format(
      R"(<svg width="{0}" height="14" role="img"><line x1="0" y1="7" x2="{0}" y2="7" stroke="currentColor" stroke-opacity=".2"/>)"
      R"(<rect x="{1:.1f}" y="3" width="{2:.1f}" height="8" rx="2" opacity=".45"/><rect x="{3:.1f}" y="1" width="3" height="12"/></svg>)",
      kWidth, kWidth * interval.low, std::max(1.0, kWidth * (interval.high - interval.low)),
      std::min(kWidth - 3, kWidth * share));
}

std::string category_table(const Dataset& dataset, const Scores& scores) {
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](const std::string& group, const std::string& name, const Count& count) {
    const double share = count.count == 0 ? 0 : static_cast<double>(count.hits) / static_cast<double>(count.count);
    const Interval interval = wilson(count.hits, count.count);
    rows.push_back({group, name, fmt::format("{} of {}", count.hits, count.count), percent(share),
                    fmt::format("{} – {}", percent(interval.low), percent(interval.high)),
                    interval_chart(share, interval)});
  };
  Count all;
  for (const Unit& unit : scores.units) all = {all.hits + unit.hit, all.count + 1};
  add("", "<b>all questions</b>", all);
  for (const char* group : {"split", "l2-category", "category", "source"}) {
    const io::Column* const column = dataset.table.find(group);
    if (!column) continue;
    std::map<std::string, Count> counts;
    for (const Unit& unit : scores.units)
      if (const io::Cell& cell = column->cells[unit.row]) {
        Count& count = counts[*cell];
        count = {count.hits + unit.hit, count.count + 1};
      }
    if (counts.size() < 2 && std::string_view(group) != "category") continue;
    for (const auto& [name, count] : counts) add(group, report::escape(name), count);
  }
  return report::table(std::vector<std::string>{"column", "value", "right", "accuracy", "95 % interval", ""}, rows);
}

std::string shortened(const std::string& text) {
  if (text.size() <= kLongestText) return text;
  return text.substr(0, text::complete_prefix(std::string_view(text).substr(0, kLongestText))) + " […]";
}

std::string reading_of(const Answer& answer) {
  return answer.extracted ? *answer.extracted : fmt::format("nothing: {}", answer.why);
}

report::Card make_card(const Dataset& dataset, const Scorer& scorer, const Scores& scores,
                       const std::vector<io::Cell>& predictions, const Unit& unit, std::string tag,
                       const Comparison* comparison) {
  // Of a circular question show the first rotation that went wrong.
  size_t row = unit.row;
  if (!unit.hit)
    for (const size_t r : unit.rows)
      if (!scores.answers[r].hit) {
        row = r;
        break;
      }
  const Answer& answer = scores.answers[row];
  report::Card card{.title = "index " + dataset.index[row],
                    .subtitle = dataset.cell("category", row).value_or(""),
                    .tags = {{"answer", std::move(tag)}}};
  for (const size_t picture : dataset.row_pictures[row]) {
    try {
      card.pictures.push_back(
          report::picture(dataset.pictures[picture].decode(false), kPictureSide, "index " + dataset.index[row]));
    } catch (const Error& e) {
      card.pictures.push_back(report::escape(e.what()));
    }
  }
  if (const io::Cell& hint = dataset.cell("hint", row)) card.text += "Hint: " + *hint + "\n";
  card.text += dataset.cell("question", row).value_or("");
  for (const auto& [letter, text] : scorer.options(row)) card.text += fmt::format("\n{}. {}", letter, text);
  const io::Cell& gold = dataset.cell("answer", row);
  card.facts = {{"answer", gold.value_or("–")},
                {"read", reading_of(answer)},
                {"the model's text", shortened(predictions[row].value_or(""))}};
  if (unit.rows.size() > 1) {
    std::string rotations;
    for (const size_t r : unit.rows)
      rotations +=
          fmt::format("{}{}: {} ({})", rotations.empty() ? "" : ", ", dataset.index[r],
                      scores.answers[r].extracted.value_or("nothing"), scores.answers[r].hit ? "right" : "wrong");
    card.facts.emplace_back("rotations", rotations);
  }
  if (comparison) card.facts.emplace_back("baseline's text", shortened(comparison->baseline[row].value_or("")));
  return card;
}

std::string comparison_html(const Comparison& comparison) {
  const auto count = [](int64_t n) { return fmt::format("{}", n); };
  const std::vector<std::vector<std::string>> rows{
      {"<b>now right</b>", count(comparison.both), fmt::format("{} (gained)", comparison.gained.size())},
      {"<b>now wrong</b>", fmt::format("{} (lost)", comparison.lost.size()), count(comparison.neither)}};
  return fmt::format("<h2>Against the baseline</h2><p>{}</p>", report::escape(comparison.headline())) +
         report::table(std::vector<std::string>{"", "baseline right", "baseline wrong"}, rows);
}

}  // namespace

Interval wilson(int64_t hits, int64_t count) {
  if (count == 0) return {0, 1};
  constexpr double kZ = 1.959963984540054;
  const double n = static_cast<double>(count), p = static_cast<double>(hits) / n, z2 = kZ * kZ;
  const double middle = (p + z2 / (2 * n)) / (1 + z2 / n),
               half = kZ / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
  return {std::max(0.0, middle - half), std::min(1.0, middle + half)};
}

void write_page(const std::filesystem::path& file, const Dataset& dataset, const Scorer& scorer, const Scores& scores,
                const std::vector<io::Cell>& predictions, Profile profile, const Comparison* comparison) {
  const std::set<size_t> gained =
      comparison ? std::set<size_t>(comparison->gained.begin(), comparison->gained.end()) : std::set<size_t>{};
  const std::set<size_t> lost =
      comparison ? std::set<size_t>(comparison->lost.begin(), comparison->lost.end()) : std::set<size_t>{};
  const auto tag_of = [&](const Unit& unit) -> std::string {
    if (lost.contains(unit.row)) return "lost";
    if (gained.contains(unit.row)) return "gained";
    if (unit.hit) return "right";
    const bool unread =
        std::any_of(unit.rows.begin(), unit.rows.end(), [&](size_t r) { return !scores.answers[r].extracted; });
    return unread ? "not read" : "wrong";
  };
  // What changed first, then wrong answers in the order of scoring, then a few right ones.
  std::vector<std::pair<std::string, const Unit*>> order;
  size_t wrong = 0, right = 0, left_out = 0;
  for (const Unit& unit : scores.units) order.emplace_back(tag_of(unit), &unit);
  const auto rank = [](const std::string& tag) {
    return tag == "lost" ? 0 : tag == "gained" ? 1 : tag == "right" ? 3 : 2;
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](const auto& a, const auto& b) { return rank(a.first) < rank(b.first); });
  std::vector<report::Card> cards;
  for (const auto& [tag, unit] : order) {
    size_t& shown = tag == "right" ? right : wrong;
    if (shown == (tag == "right" ? kMostRight : kMostWrong)) {
      ++left_out;
      continue;
    }
    ++shown;
    cards.push_back(make_card(dataset, scorer, scores, predictions, *unit, tag, comparison));
  }
  std::string body = category_table(dataset, scores);
  if (comparison) body += comparison_html(*comparison);
  body += fmt::format("<h2>Questions</h2><p class=\"lead\">Wrong answers first{}.</p>",
                      left_out > 0 ? fmt::format("; {} questions are not shown", left_out) : "");
  body += report::cards(cards);
  const auto unread = std::count_if(scores.answers.begin(), scores.answers.end(),
                                    [](const Answer& answer) { return !answer.extracted; });
  const std::string lead = fmt::format(
      "{} ({}{}), scored as VLMEvalKit of {} does without a judge: overall {:.2f} ± {:.2f} (standard error). {} rows, "
      "{} counted; from {} texts nothing could be read.",
      dataset.benchmark.dataset, kind_name(dataset.benchmark.kind), dataset.benchmark.circular ? ", circular" : "",
      profile_name(profile), scores.overall, scores.standard_error, dataset.rows(), scores.units.size(), unread);
  io::write_file(file, report::page(dataset.benchmark.name, lead, body));
}

}  // namespace ssl4rl::eval
