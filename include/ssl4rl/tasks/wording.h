// The questions' wording: templates with named placeholders, read from YAML (configs/prompts.yaml is built in).
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>

#include "ssl4rl/base/config.h"
#include "ssl4rl/tasks/task.h"

namespace ssl4rl::tasks {

struct PromptConfig {
  enum class Style { kThink, kAnswer, kBoxed };
  Style style = Style::kThink;
  std::optional<std::string> wording;  ///< own wording: a YAML file like configs/prompts.yaml, or the question itself

  void describe(config::Section& section);
};

/// "think", "answer" or "boxed".
[[nodiscard]] const char* style_name(PromptConfig::Style style);
/// What a model that follows the style says, with an empty thought: the text of a supervised start.
[[nodiscard]] std::string answer_text(PromptConfig::Style style, const std::string& answer);

class Wording {
 public:
  /// The built-in wording, changed by the configuration, for these tasks. Throws Error where a template lacks a needed
  /// placeholder or names an unknown one.
  Wording(const PromptConfig& config, std::span<const TaskConfig> tasks);

  /// The question of a draft, format instruction included.
  [[nodiscard]] std::string question(const std::string& task, const Draft& draft) const;

 private:
  std::map<std::string, std::string> templates_;  // "rotation.pair" → text
  std::string format_;
};

}  // namespace ssl4rl::tasks
