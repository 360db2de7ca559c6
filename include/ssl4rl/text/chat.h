// Conversations and their rendering as one string, as the families' chat templates do. No Jinja: the templates of the
// supported families are written out.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ssl4rl::text {

struct ContentPart {
  enum class Kind { kText, kImage };
  Kind kind = Kind::kText;
  std::string value;  ///< the text, or where the image is (a path or a data URI)

  bool operator==(const ContentPart&) const = default;
};

struct Message {
  std::string role;  ///< "system", "user" or "assistant"
  std::vector<ContentPart> content;

  bool operator==(const Message&) const = default;
};

/// ChatML as the Qwen families use it.
struct ChatFormat {
  std::optional<std::string> default_system;  ///< put first where the conversation has no system message
  /// Texts that stand for images or videos and so must not occur in a user's own text.
  std::vector<std::string> reserved;
  std::string image;               ///< what an image becomes; its placeholder token stands in it once
  bool system_first = false;       ///< a system message must be the first
  bool images_of_users = false;    ///< only a user's messages may hold images
  bool drop_old_thinking = false;  ///< assistants' answers before the last question lose their <think> part (Qwen3)
  std::string generation;          ///< what follows the assistant's header, besides the line break
};

/// Takes from a model's own chat template (Jinja) what models of one family differ in: the default system message,
/// whether old thinking is dropped, and what the answer begins with.
void adapt(ChatFormat& format, std::string_view chat_template);

/// The whole prompt. Throws Error where a text contains a reserved token or a role is unknown.
[[nodiscard]] std::string render(const ChatFormat& format, std::span<const Message> messages,
                                 bool add_generation_prompt);

}  // namespace ssl4rl::text
