#include "ssl4rl/tasks/wording.h"

#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "builtin_prompts.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"

namespace ssl4rl::tasks {
namespace {

using Templates = std::map<std::string, std::string>;

std::string key_of(const std::string& task, const std::string& variant) {
  return variant.empty() ? task : task + "." + variant;
}

// task → text, or task → {variant → text}.
Templates read_templates(const std::string& yaml, const std::string& origin) {
  Templates templates;
  try {
    const YAML::Node root = YAML::Load(yaml);
    if (!root.IsMap()) fail("{}: expected a map from tasks to wordings", origin);
    for (const auto& entry : root) {
      const auto name = entry.first.as<std::string>();
      if (entry.second.IsScalar()) {
        templates[name] = entry.second.Scalar();
      } else if (entry.second.IsMap()) {
        for (const auto& variant : entry.second)
          templates[name + "." + variant.first.as<std::string>()] = variant.second.as<std::string>();
      } else {
        fail("{}:{}: {}: expected a text or a map of texts", origin, entry.second.Mark().line + 1, name);
      }
    }
  } catch (const YAML::Exception& e) {
    fail("{}:{}: not a map from tasks to texts: {}", origin, e.mark.line + 1, e.msg);
  }
  return templates;
}

// The names in braces, in order.
std::vector<std::string> placeholders(const std::string& text) {
  std::vector<std::string> names;
  for (size_t begin = 0; (begin = text.find('{', begin)) != std::string::npos;) {
    const size_t end = text.find('}', begin);
    if (end == std::string::npos) break;
    names.push_back(text.substr(begin + 1, end - begin - 1));
    begin = end;
  }
  return names;
}

// What may stand in a task's wordings besides what must.
const std::set<std::string>& known_placeholders() {
  static const std::set<std::string> known{"angles",  "answers",       "candidates",     "cols",        "count",
                                           "example", "example_first", "example_second", "granularity", "most",
                                           "rows",    "shapes",        "tiles"};
  return known;
}

}  // namespace

void PromptConfig::describe(config::Section& section) {
  section.add("style", style, {{"think", Style::kThink}, {"answer", Style::kAnswer}, {"boxed", Style::kBoxed}})
      .help(
          "think: reasoning in <think>, then the answer in <answer>; answer: the answer only; boxed: reasoning in "
          "<think>, then the answer in \\boxed{}");
  section.add("template", wording)
      .text_or_yaml_path()
      .unset_means("the built-in wording")
      .help("own wording: a file like configs/prompts.yaml (ending in .yaml or .yml), or the question itself");
}

const char* style_name(PromptConfig::Style style) {
  switch (style) {
    case PromptConfig::Style::kThink:
      return "think";
    case PromptConfig::Style::kAnswer:
      return "answer";
    case PromptConfig::Style::kBoxed:
      return "boxed";
  }
  return "";
}

std::string answer_text(PromptConfig::Style style, const std::string& answer) {
  const std::string thought = style == PromptConfig::Style::kAnswer ? "" : "<think>\n</think> ";
  return thought +
         (style == PromptConfig::Style::kBoxed ? "\\boxed{" + answer + "}" : "<answer>" + answer + "</answer>");
}

Wording::Wording(const PromptConfig& config, std::span<const TaskConfig> tasks)
    : templates_(read_templates(kBuiltinPrompts, "configs/prompts.yaml")) {
  std::string origin = "prompt.template";
  if (config.wording) {
    if (config.wording->ends_with(".yaml") || config.wording->ends_with(".yml")) {
      origin = *config.wording;
      for (auto& [key, text] : read_templates(io::read_file(origin), origin)) templates_[key] = text;
    } else {
      for (const TaskConfig& task : tasks)
        for (const auto& [variant, needed] : task.task->wordings())
          templates_[key_of(task.task->name(), variant)] = *config.wording;
    }
  }
  for (const TaskConfig& task : tasks)
    for (const auto& [variant, needed] : task.task->wordings()) {
      const std::string key = key_of(task.task->name(), variant);
      const auto found = templates_.find(key);
      if (found == templates_.end()) fail("{}: has no wording for {}", origin, key);
      const auto names = placeholders(found->second);
      for (const std::string& name : needed)
        if (std::count(names.begin(), names.end(), name) == 0)
          fail("{}: the wording of {} lacks the placeholder {{{}}}", origin, key, name);
      for (const std::string& name : names)
        if (!known_placeholders().contains(name))
          fail("{}: the wording of {} has the unknown placeholder {{{}}}; known: {}", origin, key, name,
               fmt::join(known_placeholders(), ", "));
    }
  const std::string format = fmt::format("formats.{}", style_name(config.style));
  if (!templates_.contains(format)) fail("{}: has no {}, which prompt.style asks for", origin, format);
  format_ = templates_.at(format);
}

std::string Wording::question(const std::string& task, const Draft& draft) const {
  const std::string& text = templates_.at(key_of(task, draft.variant));
  std::map<std::string, std::string> fields = draft.fields;
  fields.emplace("count", std::to_string(draft.images.size()));
  if (const auto example = fields.find("example"); example != fields.end()) {
    const std::string& list = example->second;
    const size_t comma = list.find(',');
    fields["example_first"] = list.substr(0, comma);
    fields["example_second"] = list.substr(comma + 1, list.find(',', comma + 1) - comma - 1);
  }
  std::string question;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = text.find('{', at), end = begin == std::string::npos ? begin : text.find('}', begin);
    question += text.substr(at, begin - at);
    if (end == std::string::npos) {
      if (begin != std::string::npos) question += text.substr(begin);
      break;
    }
    const std::string name = text.substr(begin + 1, end - begin - 1);
    const auto field = fields.find(name);
    if (field == fields.end())
      fail("the wording of {} uses {{{}}}, which this task does not have", key_of(task, draft.variant), name);
    question += field->second;
    at = end + 1;
  }
  return format_.empty() ? question : question + "\n" + format_;
}

}  // namespace ssl4rl::tasks
