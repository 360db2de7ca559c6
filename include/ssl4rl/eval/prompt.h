// How a benchmark's question is put: one user message, the pictures first, then one text.
#pragma once

#include <string>
#include <vector>

#include "ssl4rl/eval/dataset.h"
#include "ssl4rl/text/chat.h"

namespace ssl4rl::eval {

/// toolkit: VLMEvalKit's own prompts. qwen: its Qwen2-VL prompts (use_custom_prompt). ssl4rl: think, then
/// <answer>LETTER</answer>, for multiple choice. Anything else is a file: a template with {hint} {question} {options}
/// {select} {think} {prompt}.
class PromptStyle {
 public:
  /// Throws Error where the file cannot be read or names an unknown placeholder.
  explicit PromptStyle(const std::string& name);

  [[nodiscard]] const std::string& name() const { return name_; }
  /// What fixes the prompts: the name, or the template itself.
  [[nodiscard]] const std::string& identity() const { return template_.empty() ? name_ : template_; }
  [[nodiscard]] bool is_ssl4rl() const { return name_ == "ssl4rl"; }

  [[nodiscard]] std::string text(const Dataset& dataset, size_t row) const;
  /// The message whose image parts stand for the row's pictures.
  [[nodiscard]] std::vector<text::Message> messages(const Dataset& dataset, size_t row) const;

 private:
  std::string name_, template_;
};

}  // namespace ssl4rl::eval
