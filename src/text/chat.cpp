#include "ssl4rl/text/chat.h"

#include "ssl4rl/base/error.h"

namespace ssl4rl::text {

std::string render(const ChatFormat& format, std::span<const Message> messages, bool add_generation_prompt) {
  std::string prompt;
  if (format.default_system && (messages.empty() || messages.front().role != "system"))
    prompt += "<|im_start|>system\n" + *format.default_system + "<|im_end|>\n";
  for (const Message& message : messages) {
    if (message.role != "system" && message.role != "user" && message.role != "assistant")
      fail("a message has the role \"{}\": expected system, user or assistant", message.role);
    prompt += "<|im_start|>" + message.role + "\n";
    for (const ContentPart& part : message.content) {
      if (part.kind == ContentPart::Kind::kImage) {
        prompt += format.image;
        continue;
      }
      for (const std::string& reserved : format.reserved)
        if (part.value.find(reserved) != std::string::npos)
          fail("a message's text contains {}, which stands for an image; give images as content parts", reserved);
      prompt += part.value;
    }
    prompt += "<|im_end|>\n";
  }
  if (add_generation_prompt) prompt += "<|im_start|>assistant\n";
  return prompt;
}

}  // namespace ssl4rl::text
