// Rewards of a response text against a puzzle's answer. Rules, not judges: nothing here can fail on a strange text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "ssl4rl/base/config.h"
#include "ssl4rl/tasks/puzzle.h"
#include "ssl4rl/tasks/wording.h"

namespace ssl4rl::rewards {

struct RewardConfig {
  double accuracy = 1, format = 0;  ///< weights
  enum class Extract { kAnswerTag };
  Extract extract = Extract::kAnswerTag;

  void describe(config::Section& section);
};

/// What a response is compared with.
struct Expected {
  std::string task;
  tasks::Preset preset = tasks::Preset::kHardened;
  std::string function;  ///< "exact", "fraction" or "permutation_fraction"
  std::string answer;
};

struct Score {
  std::optional<std::string> extracted;  ///< the answer as it stands in the text
  double accuracy = 0, format = 0;       ///< unweighted, from 0 to 1
  double total = 0;                      ///< weighted sum
  bool unparsed = false;                 ///< no answer could be read
};

/// The first <answer>…</answer>, stripped of white space. Linear time.
[[nodiscard]] std::optional<std::string> extract_answer(std::string_view response);

/// 1 or 0: the whole response is one <think>…</think> followed by one <answer>…</answer> (style answer: one
/// <answer>…</answer>), each tag once, with nothing but white space around them.
[[nodiscard]] double format_reward(std::string_view response, tasks::PromptConfig::Style style);

/// The accuracy of an extracted answer; nullopt where it cannot be read as an answer of its kind.
[[nodiscard]] std::optional<double> answer_reward(const Expected& expected, std::string_view extracted);

[[nodiscard]] Score score(const RewardConfig& config, tasks::PromptConfig::Style style, const Expected& expected,
                          std::string_view response);

}  // namespace ssl4rl::rewards
