// Rewards of a response text against a puzzle's answer. Rules, not judges: nothing here can fail on a strange text.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "ssl4rl/base/config.h"
#include "ssl4rl/tasks/puzzle.h"
#include "ssl4rl/tasks/task.h"
#include "ssl4rl/tasks/wording.h"

namespace ssl4rl::rewards {

struct RewardConfig {
  double accuracy = 1, format = 0;  ///< weights
  enum class Extract { kAnswerTag, kBoxed };
  Extract extract = Extract::kAnswerTag;

  // Further terms; a weight of 0 turns a term off. Lengths are in tokens of the response.
  double length = 0, repetition = 0, overlong = 0;  ///< weights
  int64_t min_length = 1;
  std::optional<int64_t> max_length;
  int64_t repetition_words = 3;
  std::optional<int64_t> overlong_limit;
  int64_t overlong_buffer = 128;

  void describe(config::Section& section);
  /// Throws Error where keys contradict each other or the prompts.
  void check(const tasks::PromptConfig& prompt) const;
  [[nodiscard]] bool needs_tokens() const { return length > 0 || overlong > 0; }
};

/// What a response is compared with.
struct Expected {
  std::string task;
  tasks::Preset preset = tasks::Preset::kHardened;
  std::string function;  ///< one of tasks::rewards_of the task's kind of answer
  std::string answer;
  int64_t columns = 0;  ///< of the grid of a permutation's entries; 0: a row
};
/// The expectation of a puzzle drawn from this entry of the mixture.
[[nodiscard]] Expected expected_of(const tasks::Puzzle& puzzle, const tasks::TaskConfig& task);

struct Score {
  std::optional<std::string> extracted;  ///< the answer as it stands in the text
  double accuracy = 0, format = 0;       ///< unweighted, from 0 to 1
  std::map<std::string, double>
      further;       ///< the other terms that are on, unweighted: length (0 or 1), repetition and overlong (−1 to 0)
  double total = 0;  ///< weighted sum
  bool unparsed = false;  ///< no answer could be read
};

/// All terms by name, unweighted: accuracy, format, and the further ones.
[[nodiscard]] std::map<std::string, double> terms_of(const Score& score);

/// The first <answer>…</answer>, or what the last \boxed{…} holds (braces in it in pairs; of \text{…} its content),
/// stripped of white space. Linear time.
[[nodiscard]] std::optional<std::string> extract_answer(
    std::string_view response, RewardConfig::Extract extract = RewardConfig::Extract::kAnswerTag);

/// 1 or 0: the whole response is one <think>…</think> followed by one <answer>…</answer> (style answer: one
/// <answer>…</answer>; style boxed: one <think>…</think> followed by one \boxed{…}), each tag once, with nothing but
/// white space around them.
[[nodiscard]] double format_reward(std::string_view response, tasks::PromptConfig::Style style);

/// The accuracy of an extracted answer; nullopt where it cannot be read as an answer of its kind.
[[nodiscard]] std::optional<double> answer_reward(const Expected& expected, std::string_view extracted);

/// Minus the share of the n-word sequences of a text that occurred before in it (white space separates words).
[[nodiscard]] double repetition_reward(std::string_view response, int64_t words);

/// `tokens` is the length of the response, needed where config.needs_tokens().
[[nodiscard]] Score score(const RewardConfig& config, tasks::PromptConfig::Style style, const Expected& expected,
                          std::string_view response, std::optional<int64_t> tokens = {});

}  // namespace ssl4rl::rewards
