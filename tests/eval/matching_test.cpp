#include "ssl4rl/eval/matching.h"

#include <gtest/gtest.h>

namespace ssl4rl::eval {
namespace {

const Options kAnimals{{'A', "teddy bear"}, {'B', "rabbit"}, {'C', "cat"}, {'D', "dog"}};

std::string option(const std::string& text, Profile profile, const Options& options = kAnimals) {
  return read_option(text, options, {profile}).answer.value_or("-");
}

// The three eras' answers, one after the other.
std::string eras(const std::string& text, const Options& options = kAnimals) {
  return option(text, Profile::k2025_07, options) + option(text, Profile::k2025_08, options) +
         option(text, Profile::k2026_06, options);
}

std::string words(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "word ";
  return text;
}

TEST(ReadOption, LettersStandAloneBetweenPunctuationAndSpace) {
  for (const char* text : {"B.", "(B)", "**B**", "\\boxed{B}", "B x y z", "B\u00a0", "[B]: #"})
    EXPECT_EQ(eras(text), "BBB") << text;
  for (const char* text : {"'B'", "B/", "B\u3002", "b", "B,C", "<answer>B</answer>"})
    EXPECT_EQ(eras(text), "---") << text;
}

TEST(ReadOption, TheErasDifferOnLongTextsAndStatedAnswers) {
  EXPECT_EQ(eras("B x y z w"), "B--");
  EXPECT_EQ(eras("The answer is a rabbit."), "BBA");
  EXPECT_EQ(eras("The correct answer is clearly the rabbit, as the animal has long ears and sits"), "B-C");
  EXPECT_EQ(eras("answer is A and B"), "--A");
  EXPECT_EQ(eras(words(30) + "answer is **B**, not A " + words(30)), "--B");
  EXPECT_EQ(eras(words(30) + "answer is (B) because " + words(30)), "B--");
  EXPECT_EQ(eras(words(30) + "<answer> B </answer>"), "BBB");
  EXPECT_EQ(eras("<think>" + words(30) + "</think> <answer>B</answer>"), "---");
}

TEST(ReadOption, RefusalsAndZ) {
  EXPECT_EQ(eras("Cannot determine the answer: B"), "ZZZ");
  EXPECT_EQ(eras("Z"), "ZZZ");
  EXPECT_EQ(eras("Failed to obtain answer via API B"), "---");
}

TEST(ReadOption, AnOptionsTextCountsWhereItIsTheOnlyOne) {
  EXPECT_EQ(eras("a Rabbit"), "BBB");
  EXPECT_EQ(eras("rabbit and cat"), "---");
  EXPECT_EQ(eras("unknown", {{'A', "Yes"}, {'B', "No"}}), "BBB");
  EXPECT_EQ(eras("\u0130STANBUL", {{'A', "\u0130stanbul"}, {'B', "Ankara"}}), "AAA")
      << "full case mapping: i with a dot above becomes two code points";
}

TEST(ReadOption, ALoneAMayBeAnArticleUnderVerbose) {
  EXPECT_EQ(read_option("it is A dog", kAnimals, {Profile::k2026_06, false}).answer, "A");
  EXPECT_EQ(read_option("it is A dog", kAnimals, {Profile::k2026_06, true}).answer, "D")
      << "the letter fails, the text is found";
  EXPECT_EQ(read_option("it is A", kAnimals, {Profile::k2026_06, true}).answer, "A") << "three words";
}

TEST(ReadOption, SaysWhyNothingWasRead) {
  EXPECT_EQ(read_option("B, C", kAnimals, {}).why, "several option letters: B, C; no option's text stands in it");
  EXPECT_EQ(read_option("B x y z w", kAnimals, {}).why,
            "the letter B is not among the last 4 words; no option's text stands in it");
  EXPECT_EQ(read_option(words(30), kAnimals, {}).why,
            "no option letter stands alone; the text is too long to be searched for an option's text");
}

TEST(ReadYesNo, FollowsTheToolkitsPunctuation) {
  for (const char* text : {"Yes", "yes.", "<answer>Yes</answer>", "I say yes", "1,000 yes!", "Yes!"})
    EXPECT_EQ(read_yes_no(text).answer.value_or("-"), "Yes") << text;
  for (const char* text : {"No", "no.", "There is no dog"})
    EXPECT_EQ(read_yes_no(text).answer.value_or("-"), "No") << text;
  for (const char* text : {"**No**", "Yes:", "'Yes'", "Yes, there is no dog", "", "nan"})
    EXPECT_EQ(read_yes_no(text).answer.value_or("-"), "-") << text;
}

TEST(ReadYesNo, OnlyThirtyTwoFullStopsGo) {
  const auto with_stops = [](size_t count) { return std::string(count, '.') + "yes"; };
  EXPECT_TRUE(read_yes_no(with_stops(32)).answer);
  EXPECT_FALSE(read_yes_no(with_stops(33)).answer);
}

TEST(ReadMmeRealWorld, TakesTheFirstLetterAfterThePrefixes) {
  const auto now = [](const std::string& text) {
    return read_mme_realworld(text, Profile::k2026_06).answer.value_or("-");
  };
  EXPECT_EQ(now("Based on the image, D"), "B");
  EXPECT_EQ(now("Best answer: D"), "D");
  EXPECT_EQ(read_mme_realworld("Best answer: D", Profile::k2025_08).answer, "B") << "the prefix did not work then";
  EXPECT_EQ(now("b"), "B");
  EXPECT_EQ(now(""), "A");
  EXPECT_EQ(now("x <answer> c </answer>"), "C");
  EXPECT_EQ(now("one two three four five six seven eight nine ten eleven"), "-");
  EXPECT_EQ(now("zzz"), "-");
}

TEST(ExtractPart, TakesTheTagOrTheBoxOrLeavesTheText) {
  EXPECT_EQ(extract_part(Extract::kAnswerTag, "a <answer> B\n</answer> <answer>C</answer>"), "B");
  EXPECT_EQ(extract_part(Extract::kAnswerTag, "a <answer> B"), "a <answer> B");
  EXPECT_EQ(extract_part(Extract::kBoxed, "\\boxed{A} then \\boxed{\\text{B}}."), "\\text{B}");
  EXPECT_EQ(extract_part(Extract::kBoxed, "\\boxed{A"), "\\boxed{A");
  EXPECT_EQ(extract_part(Extract::kNone, "<answer>B</answer>"), "<answer>B</answer>");
}

}  // namespace
}  // namespace ssl4rl::eval
