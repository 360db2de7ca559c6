#include "ssl4rl/text/chat.h"

#include <gtest/gtest.h>

#include "support/errors.h"

namespace ssl4rl::text {
namespace {

const ChatFormat kFormat{"Default.", {"<|image_pad|>"}, "<|vision_start|><|image_pad|><|vision_end|>"};

Message text_message(std::string role, std::string text) {
  return {std::move(role), {{ContentPart::Kind::kText, std::move(text)}}};
}

TEST(Chat, PutsTheDefaultSystemMessageOnlyWhereThereIsNone) {
  EXPECT_EQ(render(kFormat, std::vector{text_message("user", "Hi")}, true),
            "<|im_start|>system\nDefault.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render(kFormat, std::vector{text_message("system", "S"), text_message("user", "Hi")}, false),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n");
  EXPECT_EQ(render({}, std::vector{text_message("user", "Hi")}, false), "<|im_start|>user\nHi<|im_end|>\n");
}

TEST(Chat, ImagesStandWhereTheContentPutsThem) {
  const Message message{
      "user", {{ContentPart::Kind::kText, "A"}, {ContentPart::Kind::kImage, "x.png"}, {ContentPart::Kind::kText, "B"}}};
  EXPECT_EQ(render({{}, {}, "[IMG]"}, std::vector{message}, false), "<|im_start|>user\nA[IMG]B<|im_end|>\n");
}

TEST(Chat, ReservedTokensAndUnknownRolesAreErrors) {
  EXPECT_EQ(error_of([] { (void)render(kFormat, std::vector{text_message("user", "a<|image_pad|>")}, true); }),
            "a message's text contains <|image_pad|>, which stands for an image; give images as content parts");
  EXPECT_EQ(error_of([] { (void)render(kFormat, std::vector{text_message("robot", "a")}, true); }),
            "a message has the role \"robot\": expected system, user or assistant");
}

}  // namespace
}  // namespace ssl4rl::text
