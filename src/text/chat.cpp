#include "ssl4rl/text/chat.h"

#include <algorithm>

#include "ssl4rl/base/error.h"

namespace ssl4rl::text {
namespace {

constexpr std::string_view kThink = "<think>", kThought = "</think>";

std::string content_of(const ChatFormat& format, const Message& message) {
  std::string content;
  for (const ContentPart& part : message.content) {
    if (part.kind == ContentPart::Kind::kImage) {
      if (format.image.empty()) fail("a message holds an image, but the model reads none");
      if (format.images_of_users && message.role != "user")
        fail("a message of the {} holds an image; the model's chat template takes images of users only", message.role);
      content += format.image;
      continue;
    }
    for (const std::string& reserved : format.reserved)
      if (part.value.find(reserved) != std::string::npos)
        fail("a message's text contains {}, which stands for an image; give images as content parts", reserved);
    content += part.value;
  }
  return content;
}

std::string_view without_breaks(std::string_view text) {
  while (text.starts_with('\n')) text.remove_prefix(1);
  while (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

// Qwen3: what an assistant thought before the last question is dropped; an answer behind it is put in the form of one
// with thinking.
std::string with_thinking_in_place(std::string_view content, bool before_last_question, bool last) {
  std::string_view thinking, answer = content;
  if (const size_t end = content.find(kThought); end != std::string_view::npos) {
    thinking = content.substr(0, end);
    if (const size_t begin = thinking.rfind(kThink); begin != std::string_view::npos)
      thinking.remove_prefix(begin + kThink.size());
    thinking = without_breaks(thinking);
    answer = content.substr(content.rfind(kThought) + kThought.size());
    while (answer.starts_with('\n')) answer.remove_prefix(1);
  }
  if (before_last_question || (!last && thinking.empty())) return std::string(answer);
  while (answer.starts_with('\n')) answer.remove_prefix(1);
  return fmt::format("<think>\n{}\n</think>\n\n{}", thinking, answer);
}

// Jinja's escapes inside a string literal, as far as prompts hold them.
std::string unescaped(std::string_view literal) {
  std::string text;
  for (size_t i = 0; i < literal.size(); ++i) {
    if (literal[i] != '\\' || i + 1 == literal.size()) {
      text += literal[i];
      continue;
    }
    const char next = literal[++i];
    text += next == 'n' ? '\n' : next == 't' ? '\t' : next;
  }
  return text;
}

}  // namespace

void adapt(ChatFormat& format, std::string_view chat_template) {
  constexpr std::string_view kSystem = "<|im_start|>system", kEnd = "<|im_end|>";
  std::optional<std::string> system;
  for (size_t at = chat_template.find(kSystem); at != std::string_view::npos && !system;
       at = chat_template.find(kSystem, at + 1)) {
    std::string_view rest = chat_template.substr(at + kSystem.size());
    const size_t line_break = rest.starts_with('\n') ? 1 : rest.starts_with("\\n") ? 2 : 0;
    const size_t end = rest.find(kEnd);
    if (line_break == 0 || end == std::string_view::npos) continue;
    const std::string_view literal = rest.substr(line_break, end - line_break);
    const auto contains = [literal](const char* text) { return literal.find(text) != std::string_view::npos; };
    const bool computed = contains("{{") || contains("}}") || contains("{%") || contains("%}") || contains("' +") ||
                          contains("\" +") || contains("' ~") || contains("\" ~");
    if (!computed) system = line_break == 2 ? unescaped(literal) : std::string(literal);
  }
  const bool mentions_default =
      format.default_system && chat_template.find(*format.default_system) != std::string_view::npos;
  if (system || !mentions_default) format.default_system = system;
  format.drop_old_thinking = chat_template.find("last_query_index") != std::string_view::npos;
  for (const std::string_view header : {"<|im_start|>assistant\\n<think>\\n", "<|im_start|>assistant\n<think>\n"})
    if (const size_t prompt = chat_template.rfind("add_generation_prompt");
        prompt != std::string_view::npos && chat_template.find(header, prompt) != std::string_view::npos)
      format.generation = "<think>\n";
}

std::string render(const ChatFormat& format, std::span<const Message> messages, bool add_generation_prompt) {
  std::string prompt;
  if (format.default_system && (messages.empty() || messages.front().role != "system"))
    prompt += "<|im_start|>system\n" + *format.default_system + "<|im_end|>\n";
  const auto question =
      std::find_if(messages.rbegin(), messages.rend(), [](const Message& m) { return m.role == "user"; });
  const auto last_question = question == messages.rend() ? std::ssize(messages) - 1 : messages.rend() - question - 1;
  for (size_t i = 0; i < messages.size(); ++i) {
    const Message& message = messages[i];
    if (message.role != "system" && message.role != "user" && message.role != "assistant")
      fail("a message has the role \"{}\": expected system, user or assistant", message.role);
    if (format.system_first && i > 0 && message.role == "system")
      fail("a system message stands in place {}; the model's chat template takes it only as the first", i + 1);
    std::string content = content_of(format, message);
    if (format.drop_old_thinking && message.role == "assistant")
      content = with_thinking_in_place(content, static_cast<ptrdiff_t>(i) <= last_question, i + 1 == messages.size());
    prompt += "<|im_start|>" + message.role + "\n" + content + "<|im_end|>\n";
  }
  if (add_generation_prompt) prompt += "<|im_start|>assistant\n" + format.generation;
  return prompt;
}

}  // namespace ssl4rl::text
