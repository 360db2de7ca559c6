// The reward functions: an extracted answer against the truth.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <vector>

#include "ssl4rl/base/error.h"
#include "ssl4rl/rewards/reward.h"
#include "ssl4rl/text/unicode.h"

namespace ssl4rl::rewards {
namespace {

using tasks::AnswerKind;
using tasks::Preset;

std::vector<std::string_view> entries_of(std::string_view list) {
  std::vector<std::string_view> entries;
  while (true) {
    const size_t comma = list.find(',');
    entries.push_back(text::strip(list.substr(0, comma)));
    if (comma == std::string_view::npos) return entries;
    list.remove_prefix(comma + 1);
  }
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Optional sign and ASCII digits, as Python's int() reads them.
std::optional<int64_t> to_integer(std::string_view text) {
  if (text.starts_with('+') && text.size() > 1 && text[1] != '-') text.remove_prefix(1);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return {};
  return value;
}

// ASCII digits, with a decimal point between two of them or none.
std::optional<double> to_number(std::string_view text) {
  if (text.empty() || !is_digit(text.front()) || !is_digit(text.back())) return {};
  if (!std::all_of(text.begin(), text.end(), [](char c) { return is_digit(c) || c == '.'; })) return {};
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

// strip, one full stop, strip, one degree sign (rotation), strip, ASCII case.
std::string normalised(std::string_view answer, bool degrees) {
  answer = text::strip(answer);
  if (answer.ends_with('.')) answer = text::strip(answer.substr(0, answer.size() - 1));
  constexpr std::string_view kDegree = "\u00b0";
  if (degrees && answer.ends_with(kDegree)) answer = text::strip(answer.substr(0, answer.size() - kDegree.size()));
  return text::ascii_lower(answer);
}

// The number, where the whole text is one.
template <typename T>
T truth_of(const std::optional<T>& value, const Expected& expected, const char* what) {
  if (!value) fail("the answer \"{}\" of a {} puzzle is no {}", expected.answer, expected.task, what);
  return *value;
}

// --- permutations ---

using Entries = std::vector<std::optional<int64_t>>;

bool is_permutation(const Entries& entries) {
  std::vector<bool> seen(entries.size());
  for (const auto& entry : entries) {
    if (!entry || *entry < 1 || *entry > static_cast<int64_t>(entries.size()) || seen[static_cast<size_t>(*entry - 1)])
      return false;
    seen[static_cast<size_t>(*entry - 1)] = true;
  }
  return true;
}

// As the reference reads a list: entries that are no integers stay empty.
Entries read_entries(std::string_view list) {
  Entries entries;
  for (const std::string_view entry : entries_of(list)) entries.push_back(to_integer(entry));
  return entries;
}

// Digits without sign or leading zero, exactly n of them, a permutation; else nothing.
Entries read_strictly(std::string_view list, size_t n) {
  const std::string normal = normalised(list, false);
  Entries entries;
  for (const std::string_view entry : entries_of(normal)) {
    if (entry.empty() || entry.front() == '0' || !std::all_of(entry.begin(), entry.end(), is_digit)) return {};
    entries.push_back(to_integer(entry));
  }
  return entries.size() == n && is_permutation(entries) ? entries : Entries{};
}

double share_right(const Entries& guess, const Entries& truth) {
  size_t right = 0;
  for (size_t i = 0; i < truth.size(); ++i) right += i < guess.size() && guess[i] == truth[i];
  return static_cast<double>(right) / static_cast<double>(truth.size());
}

// Each number's distance between its places in the two orders, against the largest possible sum ⌊n²/2⌋.
double displacement(const Entries& guess, const Entries& truth) {
  std::vector<int64_t> place(truth.size());
  for (size_t i = 0; i < truth.size(); ++i) place[static_cast<size_t>(*truth[i] - 1)] = static_cast<int64_t>(i);
  int64_t sum = 0;
  for (size_t i = 0; i < guess.size(); ++i)
    sum += std::abs(place[static_cast<size_t>(*guess[i] - 1)] - static_cast<int64_t>(i));
  const auto most = static_cast<int64_t>(truth.size() * truth.size() / 2);
  return most == 0 ? 1 : 1 - static_cast<double>(sum) / static_cast<double>(most);
}

// Pairs that lie side by side in the guess and, in the same way, in the truth.
double adjacency(const Entries& guess, const Entries& truth, int64_t columns) {
  const auto n = static_cast<int64_t>(truth.size()), width = columns > 0 ? columns : n;
  std::vector<int64_t> place(truth.size());
  for (size_t i = 0; i < truth.size(); ++i) place[static_cast<size_t>(*truth[i] - 1)] = static_cast<int64_t>(i);
  const auto at = [&](int64_t i) { return place[static_cast<size_t>(*guess[static_cast<size_t>(i)] - 1)]; };
  int64_t right = 0, pairs = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (i % width + 1 < width && i + 1 < n) {
      ++pairs;
      right += at(i + 1) == at(i) + 1 && at(i) % width + 1 < width;
    }
    if (i + width < n) {
      ++pairs;
      right += at(i + width) == at(i) + width;
    }
  }
  return pairs == 0 ? 1 : static_cast<double>(right) / static_cast<double>(pairs);
}

std::optional<double> permutation_reward(const Expected& expected, std::string_view extracted) {
  const Entries truth = read_entries(expected.answer);
  if (!is_permutation(truth))
    fail("the answer \"{}\" of a {} puzzle is no list of the numbers from 1 on", expected.answer, expected.task);
  const bool paper = expected.preset == Preset::kPaper;
  const Entries guess = paper ? read_entries(extracted) : read_strictly(extracted, truth.size());
  if (paper && expected.function == "fraction") {
    // As the reference: entry by entry, unreadable entries are wrong, extra ones do not count.
    const bool read = std::any_of(guess.begin(), guess.end(), [](const auto& entry) { return entry.has_value(); });
    return read ? std::optional(share_right(guess, truth)) : std::nullopt;
  }
  if (guess.size() != truth.size() || !is_permutation(guess)) return {};
  const double share = share_right(guess, truth);
  if (expected.function == "exact") return static_cast<double>(share == 1);
  if (expected.function == "fraction" || expected.function == "permutation_fraction") return share;
  if (expected.function == "discounted_fraction") return share == 1 ? 1 : 0.2 * share;
  if (expected.function == "displacement") return displacement(guess, truth);
  SSL4RL_CHECK(expected.function == "adjacency", "reward function {}", expected.function);
  return adjacency(guess, truth, expected.columns);
}

// --- the other kinds ---

double tuple_reward(const Expected& expected, std::string_view extracted) {
  const std::string guess_text = normalised(extracted, false), truth_text = normalised(expected.answer, false);
  const auto guess = entries_of(guess_text), truth = entries_of(truth_text);
  if (expected.function == "exact" || guess.size() != truth.size()) return guess == truth;
  size_t right = 0;
  for (size_t i = 0; i < truth.size(); ++i) right += guess[i] == truth[i];
  return static_cast<double>(right) / static_cast<double>(truth.size());
}

std::optional<double> number_reward(const Expected& expected, std::string_view extracted) {
  const double truth = truth_of(to_number(expected.answer), expected, "number");
  const auto guess = to_number(normalised(extracted, false));
  if (!guess) return {};
  if (expected.function == "exact") return std::abs(*guess - truth) < 1e-9;
  return std::max(0.0, 1 - std::abs(*guess - truth) / truth);
}

std::optional<double> angular_reward(const Expected& expected, std::string_view extracted) {
  const auto truth = static_cast<double>(truth_of(to_integer(expected.answer), expected, "angle"));
  const auto guess = to_number(normalised(extracted, true));
  if (!guess || *guess >= 360) return {};
  const double apart = std::abs(*guess - truth);
  return 1 - std::min(apart, 360 - apart) / 180;
}

struct Rectangle {
  double x, y, width, height;
};
// Four numbers, in brackets or not.
std::optional<Rectangle> to_rectangle(std::string_view text) {
  if ((text.starts_with('[') && text.ends_with(']')) || (text.starts_with('(') && text.ends_with(')')))
    text = text::strip(text.substr(1, text.size() - 2));
  const auto entries = entries_of(text);
  if (entries.size() != 4) return {};
  std::array<double, 4> values{};
  for (size_t i = 0; i < 4; ++i) {
    const auto value = to_number(entries[i]);
    if (!value) return {};
    values[i] = *value;
  }
  return Rectangle{values[0], values[1], values[2], values[3]};
}

std::optional<double> overlap_reward(const Expected& expected, std::string_view extracted) {
  const Rectangle truth = truth_of(to_rectangle(expected.answer), expected, "box [x, y, w, h]");
  const auto guess = to_rectangle(normalised(extracted, false));
  if (!guess) return {};
  const double width = std::min(truth.x + truth.width, guess->x + guess->width) - std::max(truth.x, guess->x);
  const double height = std::min(truth.y + truth.height, guess->y + guess->height) - std::max(truth.y, guess->y);
  const double shared = std::max(0.0, width) * std::max(0.0, height),
               all = truth.width * truth.height + guess->width * guess->height - shared;
  return all > 0 ? shared / all : 0;
}

AnswerKind kind_of(const std::string& task) {
  const auto names = tasks::task_names();
  return std::find(names.begin(), names.end(), task) == names.end() ? AnswerKind::kText
                                                                    : tasks::make_task(task)->answer_kind();
}

}  // namespace

std::optional<double> answer_reward(const Expected& expected, std::string_view extracted) {
  const AnswerKind kind = kind_of(expected.task);
  const bool paper_text = expected.preset == Preset::kPaper && expected.function == "exact";
  switch (kind) {
    case AnswerKind::kPermutation:
      return paper_text ? static_cast<double>(extracted == expected.answer) : permutation_reward(expected, extracted);
    case AnswerKind::kTuple:
      return tuple_reward(expected, extracted);
    case AnswerKind::kNumber:
      return number_reward(expected, extracted);
    case AnswerKind::kBox:
      return overlap_reward(expected, extracted);
    case AnswerKind::kDegrees:
    case AnswerKind::kText:
      break;
  }
  if (expected.function == "angular") return angular_reward(expected, extracted);
  SSL4RL_CHECK(expected.function == "exact", "reward function {}", expected.function);
  if (paper_text) {  // any of the truth's alternatives
    const auto alternatives = entries_of(expected.answer);
    return std::find(alternatives.begin(), alternatives.end(), extracted) != alternatives.end();
  }
  const bool degrees = kind == AnswerKind::kDegrees;
  return normalised(extracted, degrees) == normalised(expected.answer, degrees);
}

}  // namespace ssl4rl::rewards
