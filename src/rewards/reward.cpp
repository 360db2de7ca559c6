#include "ssl4rl/rewards/reward.h"

#include <algorithm>
#include <unordered_set>
#include <vector>

#include "ssl4rl/base/error.h"
#include "ssl4rl/text/unicode.h"

namespace ssl4rl::rewards {
namespace {

using tasks::Preset;
using Style = tasks::PromptConfig::Style;

constexpr std::string_view kOpen = "<answer>", kClose = "</answer>", kThink = "<think>", kThought = "</think>",
                           kBoxed = "\\boxed{";

size_t occurrences(std::string_view text, std::string_view what) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string_view::npos; at += what.size()) ++count;
  return count;
}

// Where the brace that was opened before `begin` closes; npos if it doesn't.
size_t closing_brace(std::string_view text, size_t begin) {
  int64_t depth = 1;
  for (size_t at = begin; at < text.size(); ++at) {
    if (text[at] == '{') ++depth;
    if (text[at] == '}' && --depth == 0) return at;
  }
  return std::string_view::npos;
}

std::optional<std::string> boxed_answer(std::string_view response) {
  const size_t open = response.rfind(kBoxed);
  if (open == std::string_view::npos) return {};
  const size_t begin = open + kBoxed.size(), close = closing_brace(response, begin);
  if (close == std::string_view::npos) return {};
  std::string_view answer = text::strip(response.substr(begin, close - begin));
  constexpr std::string_view kText = "\\text{";
  if (answer.starts_with(kText) && closing_brace(answer, kText.size()) == answer.size() - 1)
    answer = text::strip(answer.substr(kText.size(), answer.size() - kText.size() - 1));
  return std::string(answer);
}

}  // namespace

void RewardConfig::describe(config::Section& section) {
  section.add("accuracy", accuracy).at_least(0).help("weight of the task's own reward");
  section.add("format", format)
      .at_least(0)
      .help("weight of the format reward: one <think>…</think>, then one <answer>…</answer>, and nothing else");
  section.add("extract", extract, {{"answer_tag", Extract::kAnswerTag}, {"boxed", Extract::kBoxed}})
      .help("where the answer stands: answer_tag = the first <answer>…</answer>; boxed = the last \\boxed{…}");
  section.add("length", length)
      .at_least(0)
      .help("weight of the length window: 1 for a response of min_length to max_length tokens, else 0");
  section.add("min_length", min_length).at_least(0).help("shortest response of the length window, in tokens");
  section.add("max_length", max_length)
      .at_least(1)
      .unset_means("no limit")
      .help("longest response of the length window, in tokens");
  section.add("repetition", repetition)
      .at_least(0)
      .help("weight of the repetition penalty: minus the share of word sequences that occurred before");
  section.add("repetition_words", repetition_words).at_least(1).help("length of those sequences, in words");
  section.add("overlong", overlong)
      .at_least(0)
      .help(
          "weight of the soft overlong penalty: from 0, overlong_buffer tokens before overlong_limit, to −1 at it "
          "(DAPO)");
  section.add("overlong_limit", overlong_limit)
      .at_least(1)
      .unset_means("none; needed with overlong")
      .help("tokens at which the penalty is −1");
  section.add("overlong_buffer", overlong_buffer).at_least(1).help("tokens over which the penalty grows");
}

void RewardConfig::check(const tasks::PromptConfig& prompt) const {
  const bool asks_for_box = prompt.style == Style::kBoxed;
  if (!prompt.wording && asks_for_box != (extract == Extract::kBoxed))
    fail("prompt.style: {} does not go with reward.extract: {}; use {}", tasks::style_name(prompt.style),
         extract == Extract::kBoxed ? "boxed" : "answer_tag",
         asks_for_box ? "reward.extract: boxed" : "prompt.style: boxed");
  if (max_length && *max_length < min_length)
    fail("reward.min_length {} exceeds reward.max_length {}", min_length, *max_length);
  if (overlong > 0 && !overlong_limit)
    fail("reward.overlong needs reward.overlong_limit, for example rollout.max_completion_length");
}

Expected expected_of(const tasks::Puzzle& puzzle, const tasks::TaskConfig& task) {
  return {puzzle.task, puzzle.preset, task.reward_function(), puzzle.answer, task.task->columns()};
}

std::map<std::string, double> terms_of(const Score& score) {
  std::map<std::string, double> terms{{"accuracy", score.accuracy}, {"format", score.format}};
  terms.insert(score.further.begin(), score.further.end());
  return terms;
}

std::optional<std::string> extract_answer(std::string_view response, RewardConfig::Extract extract) {
  if (extract == RewardConfig::Extract::kBoxed) return boxed_answer(response);
  const size_t open = response.find(kOpen);
  if (open == std::string_view::npos) return {};
  const size_t begin = open + kOpen.size(), close = response.find(kClose, begin);
  if (close == std::string_view::npos) return {};
  return std::string(text::strip(response.substr(begin, close - begin)));
}

double format_reward(std::string_view response, Style style) {
  response = text::strip(response);
  for (const std::string_view tag : {kThink, kThought})
    if (occurrences(response, tag) != (style == Style::kAnswer ? 0 : 1)) return 0;
  std::string_view answer = response;  // what must be the answer and nothing else
  if (style != Style::kAnswer) {
    if (!response.starts_with(kThink)) return 0;
    answer = text::strip(response.substr(response.find(kThought) + kThought.size()));
  }
  if (style == Style::kBoxed)
    return occurrences(response, kBoxed) == 1 && answer.starts_with(kBoxed) &&
           closing_brace(answer, kBoxed.size()) == answer.size() - 1;
  for (const std::string_view tag : {kOpen, kClose})
    if (occurrences(response, tag) != 1) return 0;
  return answer.starts_with(kOpen) && answer.ends_with(kClose);
}

double repetition_reward(std::string_view response, int64_t words) {
  std::vector<std::string_view> list;
  for (size_t at = 0; at < response.size();) {
    const size_t begin = response.find_first_not_of(" \t\r\n", at);
    if (begin == std::string_view::npos) break;
    at = std::min(response.find_first_of(" \t\r\n", begin), response.size());
    list.push_back(response.substr(begin, at - begin));
  }
  const auto n = static_cast<size_t>(words);
  if (list.size() < n) return 0;
  std::unordered_set<std::string> seen;
  const size_t total = list.size() - n + 1;
  for (size_t i = 0; i < total; ++i) {
    std::string sequence;
    for (size_t k = 0; k < n; ++k) sequence.append(list[i + k]).push_back('\n');
    seen.insert(std::move(sequence));
  }
  return -(1 - static_cast<double>(seen.size()) / static_cast<double>(total));
}

Score score(const RewardConfig& config, Style style, const Expected& expected, std::string_view response,
            std::optional<int64_t> tokens) {
  Score result{.extracted = extract_answer(response, config.extract), .format = format_reward(response, style)};
  const std::string_view opening = config.extract == RewardConfig::Extract::kBoxed ? kBoxed : kOpen;
  const bool ambiguous = expected.preset == Preset::kHardened && occurrences(response, opening) > 1;
  std::optional<double> accuracy;
  if (result.extracted && !ambiguous) accuracy = answer_reward(expected, *result.extracted);
  result.accuracy = accuracy.value_or(0);
  result.unparsed = !accuracy.has_value();
  result.total = config.accuracy * result.accuracy + config.format * result.format;

  SSL4RL_CHECK(!config.needs_tokens() || tokens, "the length of a response is needed");
  const auto add = [&](const char* name, double weight, double value) {
    result.further[name] = value;
    result.total += weight * value;
  };
  if (config.length > 0)
    add("length", config.length, *tokens >= config.min_length && *tokens <= config.max_length.value_or(*tokens));
  if (config.repetition > 0) add("repetition", config.repetition, repetition_reward(response, config.repetition_words));
  if (config.overlong > 0) {
    const double beyond = static_cast<double>(*tokens - (*config.overlong_limit - config.overlong_buffer)) /
                          static_cast<double>(config.overlong_buffer);
    add("overlong", config.overlong, -std::clamp(beyond, 0.0, 1.0));
  }
  return result;
}

}  // namespace ssl4rl::rewards
