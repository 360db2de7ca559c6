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

TEST(Chat, AModelsOwnTemplateSaysItsDefaultSystemMessageAndItsAnswersBeginning) {
  const auto adapted = [](const char* chat_template) {
    ChatFormat format{.default_system = "Family's.", .drop_old_thinking = true};
    adapt(format, chat_template);
    return format;
  };
  // As published: literal line breaks (Qwen2-VL), or a string literal behind another branch (Qwen2.5).
  const ChatFormat plain = adapted(
      "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}");
  EXPECT_EQ(plain.default_system, "You help.");
  EXPECT_FALSE(plain.drop_old_thinking);
  EXPECT_EQ(
      adapted(
          R"({{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}{{- '<|im_start|>system\nIt\'s\nQwen.<|im_end|>\n' }})")
          .default_system,
      "It's\nQwen.");
  EXPECT_EQ(adapted("{%- if messages[0].role == 'system' %}{{- '<|im_start|>system\\n' }}{{- messages[0].content }}{{- "
                    "'<|im_end|>\\n' }}")
                .default_system,
            std::nullopt);
  EXPECT_EQ(adapted("{% set default = \"Family's.\" %}<|im_start|>system\n{{ default }}<|im_end|>").default_system,
            "Family's.")
      << "computed from the family's own";
  EXPECT_EQ(
      adapted(R"({%- if add_generation_prompt %}{{- '<|im_start|>assistant\n<think>\n' }}{%- endif %})").generation,
      "<think>\n");
  EXPECT_TRUE(adapted("ns.last_query_index").drop_old_thinking);
}

TEST(Chat, ThinkingBeforeTheLastQuestionIsDroppedWhereTheModelDoesSo) {
  const ChatFormat format{.drop_old_thinking = true};
  const Message question = text_message("user", "Q"), thought = text_message("assistant", "<think>\nhm\n</think>\n\nA"),
                plain = text_message("assistant", "B");
  EXPECT_EQ(render(format, std::vector{question, thought, question}, false),
            "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n");
  EXPECT_EQ(render(format, std::vector{question, thought}, false),
            "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\nhm\n</think>\n\nA<|im_end|>\n");
  EXPECT_EQ(render(format, std::vector{question, plain}, false),
            "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nB<|im_end|>\n");
  EXPECT_EQ(render({}, std::vector{question, thought, question}, false).find("<think>"), 51u) << "other models keep it";
}

TEST(Chat, WhatATemplateWouldDropSilentlyIsAnError) {
  const ChatFormat format{.image = "[IMG]", .system_first = true, .images_of_users = true};
  EXPECT_EQ(error_of([&] {
              (void)render(format, std::vector{text_message("user", "a"), text_message("system", "b")}, true);
            }),
            "a system message stands in place 2; the model's chat template takes it only as the first");
  const Message picture{"assistant", {{ContentPart::Kind::kImage, "x.png"}}};
  EXPECT_EQ(error_of([&] { (void)render(format, std::vector{picture}, true); }),
            "a message of the assistant holds an image; the model's chat template takes images of users only");
}

}  // namespace
}  // namespace ssl4rl::text
