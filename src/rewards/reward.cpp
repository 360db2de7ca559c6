#include "ssl4rl/rewards/reward.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "ssl4rl/base/error.h"
#include "ssl4rl/text/unicode.h"

namespace ssl4rl::rewards {
namespace {

using tasks::Preset;

constexpr std::string_view kOpen = "<answer>", kClose = "</answer>";

size_t occurrences(std::string_view text, std::string_view what) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string_view::npos; at += what.size()) ++count;
  return count;
}

std::vector<std::string_view> entries_of(std::string_view list) {
  std::vector<std::string_view> entries;
  while (true) {
    const size_t comma = list.find(',');
    entries.push_back(text::strip(list.substr(0, comma)));
    if (comma == std::string_view::npos) return entries;
    list.remove_prefix(comma + 1);
  }
}

// Optional sign and ASCII digits, as Python's int() reads them.
std::optional<int64_t> to_integer(std::string_view text) {
  if (text.starts_with('+') && text.size() > 1 && text[1] != '-') text.remove_prefix(1);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return {};
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

bool is_permutation_of_all(std::vector<int64_t> entries) {
  std::sort(entries.begin(), entries.end());
  for (size_t i = 0; i < entries.size(); ++i)
    if (entries[i] != static_cast<int64_t>(i) + 1) return false;
  return true;
}

double share_right(const std::vector<int64_t>& guess, const std::vector<int64_t>& truth) {
  size_t right = 0;
  for (size_t i = 0; i < truth.size(); ++i) right += i < guess.size() && guess[i] == truth[i];
  return static_cast<double>(right) / static_cast<double>(truth.size());
}

std::vector<int64_t> truth_list(const Expected& expected) {
  std::vector<int64_t> truth;
  for (const std::string_view entry : entries_of(expected.answer)) {
    const auto value = to_integer(entry);
    if (!value) fail("the answer \"{}\" of a {} puzzle is no list of numbers", expected.answer, expected.task);
    truth.push_back(*value);
  }
  return truth;
}

// As the reference: entry by entry, unreadable entries are wrong, extra ones do not count.
std::optional<double> paper_list_reward(const Expected& expected, std::string_view extracted) {
  const auto truth = truth_list(expected);
  std::vector<int64_t> guess;
  bool all_read = true;
  for (const std::string_view entry : entries_of(extracted)) {
    const auto value = to_integer(entry);
    all_read = all_read && value.has_value();
    guess.push_back(value.value_or(-1));
  }
  const bool permutation = all_read && guess.size() == truth.size() && is_permutation_of_all(guess);
  if (expected.function == "permutation_fraction" && !permutation) return {};
  if (std::all_of(guess.begin(), guess.end(), [](int64_t v) { return v == -1; })) return {};
  return share_right(guess, truth);
}

// Digits without sign or leading zero, exactly n of them, a permutation.
std::optional<double> hardened_list_reward(const Expected& expected, std::string_view extracted) {
  const auto truth = truth_list(expected);
  const std::string normal = normalised(extracted, false);
  std::vector<int64_t> guess;
  for (const std::string_view entry : entries_of(normal)) {
    const bool digits =
        !entry.empty() && std::all_of(entry.begin(), entry.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits || entry.front() == '0') return {};
    const auto value = to_integer(entry);
    if (!value) return {};
    guess.push_back(*value);
  }
  if (guess.size() != truth.size() || !is_permutation_of_all(guess)) return {};
  const double share = share_right(guess, truth);
  return expected.function == "exact" ? static_cast<double>(share == 1) : share;
}

}  // namespace

void RewardConfig::describe(config::Section& section) {
  section.add("accuracy", accuracy).at_least(0).help("weight of the task's own reward");
  section.add("format", format)
      .at_least(0)
      .help("weight of the format reward: one <think>…</think>, then one <answer>…</answer>, and nothing else");
  section.add("extract", extract, {{"answer_tag", Extract::kAnswerTag}})
      .help("where the answer stands: answer_tag = the first <answer>…</answer>");
}

std::optional<std::string> extract_answer(std::string_view response) {
  const size_t open = response.find(kOpen);
  if (open == std::string_view::npos) return {};
  const size_t begin = open + kOpen.size(), close = response.find(kClose, begin);
  if (close == std::string_view::npos) return {};
  return std::string(text::strip(response.substr(begin, close - begin)));
}

double format_reward(std::string_view response, tasks::PromptConfig::Style style) {
  constexpr std::string_view kThink = "<think>", kThought = "</think>";
  const bool think = style == tasks::PromptConfig::Style::kThink;
  response = text::strip(response);
  for (const std::string_view tag : {kOpen, kClose})
    if (occurrences(response, tag) != 1) return 0;
  for (const std::string_view tag : {kThink, kThought})
    if (occurrences(response, tag) != (think ? 1 : 0)) return 0;
  if (!response.ends_with(kClose)) return 0;
  if (!think) return response.starts_with(kOpen);
  if (!response.starts_with(kThink)) return 0;
  const size_t thought = response.find(kThought), open = response.find(kOpen);
  if (thought > open) return 0;
  return text::strip(response.substr(thought + kThought.size(), open - thought - kThought.size())).empty();
}

std::optional<double> answer_reward(const Expected& expected, std::string_view extracted) {
  if (expected.function == "fraction" || expected.function == "permutation_fraction")
    return expected.preset == Preset::kPaper ? paper_list_reward(expected, extracted)
                                             : hardened_list_reward(expected, extracted);
  SSL4RL_CHECK(expected.function == "exact", "reward function {}", expected.function);
  if (expected.preset == Preset::kPaper) {
    if (expected.task == "jigsaw") return extracted == expected.answer;
    const auto alternatives = entries_of(expected.answer);
    return std::find(alternatives.begin(), alternatives.end(), extracted) != alternatives.end();
  }
  if (expected.task == "jigsaw") return hardened_list_reward(expected, extracted);
  return normalised(extracted, expected.task == "rotation") == normalised(expected.answer, expected.task == "rotation");
}

Score score(const RewardConfig& config, tasks::PromptConfig::Style style, const Expected& expected,
            std::string_view response) {
  Score result{.extracted = extract_answer(response), .format = format_reward(response, style)};
  const bool ambiguous = expected.preset == Preset::kHardened && occurrences(response, kOpen) > 1;
  std::optional<double> accuracy;
  if (result.extracted && !ambiguous) accuracy = answer_reward(expected, *result.extracted);
  result.accuracy = accuracy.value_or(0);
  result.unparsed = !accuracy.has_value();
  result.total = config.accuracy * result.accuracy + config.format * result.format;
  return result;
}

}  // namespace ssl4rl::rewards
