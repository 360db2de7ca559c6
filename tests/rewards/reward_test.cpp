#include "ssl4rl/rewards/reward.h"

#include <gtest/gtest.h>

#include <chrono>

#include "ssl4rl/base/error.h"

namespace ssl4rl::rewards {
namespace {

using tasks::Preset;
using Style = tasks::PromptConfig::Style;

double reward(const std::string& task, Preset preset, const std::string& function, const std::string& answer,
              const std::string& response) {
  return score({}, Style::kThink, {task, preset, function, answer}, response).accuracy;
}
double rotation(const std::string& said, Preset preset = Preset::kHardened) {
  return reward("rotation", preset, "exact", "90", "<answer>" + said + "</answer>");
}
double jigsaw(const std::string& said, Preset preset = Preset::kHardened,
              const std::string& function = "permutation_fraction") {
  return reward("jigsaw", preset, function, "2,4,1,3", "<answer>" + said + "</answer>");
}

TEST(Reward, TheFirstAnswerPairIsTaken) {
  EXPECT_EQ(extract_answer("a <answer> 90\n</answer> b <answer>0</answer>"), "90");
  EXPECT_EQ(extract_answer("<answer>\u3000x y\u00a0</answer>"), "x y");
  EXPECT_EQ(extract_answer("<answer></answer>"), "");
  EXPECT_EQ(extract_answer("</answer><answer>1<answer>2</answer>"), "1<answer>2");
  EXPECT_EQ(extract_answer("<Answer>1</Answer>"), std::nullopt);
  EXPECT_EQ(extract_answer("<answer>1"), std::nullopt);
  EXPECT_EQ(extract_answer(""), std::nullopt);
}

TEST(Reward, ExtractionTakesLinearTime) {
  std::string text;
  for (int i = 0; i < 400000; ++i) text += "<answer>";
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(extract_answer(text), std::nullopt);
  (void)format_reward(text, Style::kThink);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5));  // quadratic time would take minutes
}

TEST(Reward, HardenedNormalisesInItsOrder) {
  for (const char* right : {"90", " 90 ", "90.", "90 .", "90\u00b0", "90\u00b0.", "90 \u00b0 .", "\n90\u00b0"})
    EXPECT_EQ(rotation(right), 1) << right;
  for (const char* wrong : {"90..", "90.\u00b0\u00b0", "090", "+90", "90 degrees", "90 or 180", "0, 90, 180, 270", "",
                            "180", "90\u00b0\u00b0"})
    EXPECT_EQ(rotation(wrong), 0) << wrong;
  EXPECT_EQ(reward("position", Preset::kHardened, "exact", "top-left", "<answer>Top-Left.</answer>"), 1);
  EXPECT_EQ(reward("position", Preset::kHardened, "exact", "top-left", "<answer>top-left\u00b0</answer>"), 0)
      << "a degree sign belongs to rotation";
  EXPECT_EQ(reward("contrastive", Preset::kHardened, "exact", "positive", "<answer>POSITIVE</answer>"), 1);
}

TEST(Reward, HardenedGivesNothingForSeveralOpenings) {
  const auto twice =
      score({}, Style::kThink, {"rotation", Preset::kHardened, "exact", "90"}, "<answer>90</answer><answer>0</answer>");
  EXPECT_EQ(twice.accuracy, 0);
  EXPECT_TRUE(twice.unparsed);
  EXPECT_EQ(twice.extracted, "90");
  EXPECT_EQ(reward("rotation", Preset::kPaper, "exact", "90", "<answer>90</answer><answer>0</answer>"), 1);
}

TEST(Reward, PaperComparesAsTheReference) {
  EXPECT_EQ(rotation("90", Preset::kPaper), 1);
  EXPECT_EQ(rotation(" 90\n", Preset::kPaper), 1);
  EXPECT_EQ(rotation("90.", Preset::kPaper), 0);
  EXPECT_EQ(rotation("90\u00b0", Preset::kPaper), 0);
  EXPECT_EQ(reward("position", Preset::kPaper, "exact", "top-left", "<answer>Top-Left</answer>"), 0) << "case counts";
  EXPECT_EQ(reward("imagenet", Preset::kPaper, "exact", "tench, Tinca tinca", "<answer>Tinca tinca</answer>"), 1)
      << "any alternative";
  EXPECT_EQ(reward("imagenet", Preset::kPaper, "exact", "tench, Tinca tinca", "<answer>tench, Tinca tinca</answer>"),
            0);
}

TEST(Reward, PermutationFractionCountsRightPlacesOfPermutationsOnly) {
  EXPECT_EQ(jigsaw("2,4,1,3"), 1);
  EXPECT_EQ(jigsaw(" 2 , 4 ,1,  3 ."), 1);
  EXPECT_EQ(jigsaw("2,4,3,1"), 0.5);
  EXPECT_EQ(jigsaw("4,2,3,1"), 0);
  for (const char* wrong : {"1,1,1,1", "2,4,1", "2,4,1,3,5", "2,4,1,3,", "02,4,1,3", "+2,4,1,3", "2 4 1 3", "2;4;1;3",
                            "a,b,c,d", "0,1,2,3", "", "\u0662,4,1,3"}) {
    const auto s = score({}, Style::kThink, {"jigsaw", Preset::kHardened, "permutation_fraction", "2,4,1,3"},
                         std::string("<answer>") + wrong + "</answer>");
    EXPECT_EQ(s.accuracy, 0) << wrong;
    EXPECT_TRUE(s.unparsed) << wrong;
  }
  EXPECT_EQ(jigsaw("2,4,3,1", Preset::kHardened, "exact"), 0);
  EXPECT_EQ(jigsaw("2,4,1,3", Preset::kHardened, "exact"), 1);
}

TEST(Reward, PaperFractionCountsEntryByEntry) {
  const auto fraction = [](const char* said) { return jigsaw(said, Preset::kPaper, "fraction"); };
  EXPECT_EQ(fraction("2,4,1,3"), 1);
  EXPECT_EQ(fraction("1,1,1,1"), 0.25);
  EXPECT_EQ(fraction("2,4,1,3,9,9"), 1) << "extra entries are ignored";
  EXPECT_EQ(fraction("2,4"), 0.5);
  EXPECT_EQ(fraction("+2, 04,x,3"), 0.75);
  EXPECT_EQ(fraction("2.0,4,1,3"), 0.75);
  EXPECT_EQ(fraction("nothing"), 0);
  EXPECT_EQ(jigsaw("1,1,1,1", Preset::kPaper, "permutation_fraction"), 0);
}

TEST(Reward, PartialRewardsOfPermutations) {
  const auto of = [](const char* function, const char* said) {
    return jigsaw(said, Preset::kHardened, function);
  };  // the truth is 2,4,1,3
  EXPECT_EQ(of("discounted_fraction", "2,4,1,3"), 1);
  EXPECT_DOUBLE_EQ(of("discounted_fraction", "2,4,3,1"), 0.1);
  EXPECT_EQ(of("displacement", "2,4,1,3"), 1);
  EXPECT_EQ(of("displacement", "4,2,1,3"), 0.75) << "two neighbours exchanged: 1 − 2/8";
  EXPECT_EQ(of("displacement", "3,1,4,2"), 0) << "reversed";
  EXPECT_EQ(of("displacement", "2,4,1,1"), 0);
  EXPECT_DOUBLE_EQ(of("adjacency", "4,1,3,2"), 2.0 / 3) << "in a row: 4 1 and 1 3 lie side by side in the truth";
  const auto grid = [](const char* said) {
    return answer_reward({"jigsaw", Preset::kHardened, "adjacency", "2,4,1,3", 2}, said).value_or(0);
  };
  EXPECT_EQ(grid("2,4,1,3"), 1);
  EXPECT_EQ(grid("1,3,2,4"), 0.5) << "two rows of two: both rows hold together, no column does";
  EXPECT_EQ(grid("4,1,3,2"), 0.25) << "4 above 3 is right; 4 1 are neighbours in reading order only";
}

TEST(Reward, NumbersAnglesTuplesAndBoxes) {
  const auto of = [](const char* task, const char* function, const char* truth, const char* said) {
    return answer_reward({task, Preset::kHardened, function, truth}, said).value_or(-1);
  };
  EXPECT_EQ(of("rotation", "angular", "90", "90\u00b0."), 1);
  EXPECT_EQ(of("rotation", "angular", "10", "350"), 1 - 20.0 / 180);
  EXPECT_EQ(of("rotation", "angular", "0", "180"), 0);
  for (const char* bad : {"360", "-90", "ninety", "90 or 180", ""})
    EXPECT_EQ(of("rotation", "angular", "90", bad), -1) << bad;
  EXPECT_EQ(of("count", "exact", "4", "4."), 1);
  EXPECT_EQ(of("zoom", "exact", "2", "2.0"), 1);
  EXPECT_EQ(of("zoom", "exact", "2.5", "2,5"), -1);
  EXPECT_EQ(of("count", "relative_error", "4", "5"), 0.75);
  EXPECT_EQ(of("count", "relative_error", "4", "40"), 0);
  EXPECT_EQ(of("swap", "exact", "1,4", " 1, 4."), 1);
  EXPECT_EQ(of("swap", "exact", "1,4", "4,1"), 0);
  EXPECT_EQ(of("odd_tile", "exact", "3,left-right", "3, Left-Right"), 1);
  EXPECT_EQ(of("odd_tile", "fraction", "3,left-right", "3,turned"), 0.5);
  EXPECT_EQ(of("odd_tile", "fraction", "3,left-right", "3,left-right,turned"), 0)
      << "naming every answer earns nothing";
  EXPECT_EQ(of("box", "iou", "[0, 0, 500, 500]", "[0, 0, 500, 500]"), 1);
  EXPECT_EQ(of("box", "iou", "[0, 0, 500, 500]", "250, 0, 500.0, 500"), 1.0 / 3);
  EXPECT_EQ(of("box", "iou", "[0, 0, 500, 500]", "[600, 600, 100, 100]"), 0);
  for (const char* bad : {"[0, 0, 500]", "[0, 0, 500, 500, 1]", "[a, 0, 1, 1]", "[-1, 0, 5, 5]", "[0, 0, 1e3, 5]"})
    EXPECT_EQ(of("box", "iou", "[0, 0, 500, 500]", bad), -1) << bad;
}

TEST(Reward, BoxedAnswersAreFoundAndChecked) {
  const auto boxed = [](std::string_view text) { return extract_answer(text, RewardConfig::Extract::kBoxed); };
  EXPECT_EQ(boxed("so \\boxed{ 90 } it is"), "90");
  EXPECT_EQ(boxed("\\boxed{1} then \\boxed{2}"), "2");
  EXPECT_EQ(boxed("\\boxed{\\text{top-left}}"), "top-left");
  EXPECT_EQ(boxed("\\boxed{a{b}c}"), "a{b}c");
  EXPECT_EQ(boxed("\\boxed{90"), std::nullopt);
  EXPECT_EQ(boxed("<answer>90</answer>"), std::nullopt);
  RewardConfig config{.extract = RewardConfig::Extract::kBoxed};
  const Expected expected{"rotation", Preset::kHardened, "exact", "90"};
  EXPECT_EQ(score(config, Style::kBoxed, expected, "<think>a</think> \\boxed{90}").accuracy, 1);
  EXPECT_EQ(score(config, Style::kBoxed, expected, "<think>a</think> \\boxed{90}").format, 1);
  EXPECT_EQ(score(config, Style::kBoxed, expected, "\\boxed{0} \\boxed{90}").accuracy, 0)
      << "hardened: several boxes earn nothing";
  for (const char* bad : {"\\boxed{90}", "<think>a</think> It is \\boxed{90}", "<think>a</think>\\boxed{90}.",
                          "<think>\\boxed{1}</think>\\boxed{90}"})
    EXPECT_EQ(format_reward(bad, Style::kBoxed), 0) << bad;
  EXPECT_THROW(config.check({}), Error);
  config.check({.style = Style::kBoxed});
  config.check({.wording = "own {angles} wording: box it"});
}

TEST(Reward, FurtherTermsAreOffByDefaultAndAddUp) {
  const Expected expected{"rotation", Preset::kHardened, "exact", "90"};
  const std::string text = "<think>a b c a b c a b c</think><answer>90</answer>";
  EXPECT_TRUE(score({}, Style::kThink, expected, text).further.empty());
  RewardConfig config{.length = 0.5,
                      .repetition = 0.1,
                      .overlong = 1,
                      .min_length = 10,
                      .max_length = 20,
                      .overlong_limit = 100,
                      .overlong_buffer = 40};
  const Score inside = score(config, Style::kThink, expected, text, 20);
  EXPECT_EQ(inside.further.at("length"), 1);
  EXPECT_EQ(inside.further.at("overlong"), 0);
  EXPECT_DOUBLE_EQ(inside.total, 1 + 0.5 + 0.1 * inside.further.at("repetition"));
  EXPECT_EQ(score(config, Style::kThink, expected, text, 21).further.at("length"), 0);
  EXPECT_EQ(score(config, Style::kThink, expected, text, 80).further.at("overlong"), -0.5);
  EXPECT_EQ(score(config, Style::kThink, expected, text, 300).further.at("overlong"), -1);
  EXPECT_EQ(repetition_reward("a b c d e", 3), 0);
  EXPECT_DOUBLE_EQ(repetition_reward("a b a b a b", 2), -0.6) << "five pairs, two different ones";
  EXPECT_EQ(repetition_reward("a", 2), 0);
}

TEST(Reward, FormatWantsThinkThenAnswerAndNothingElse) {
  const auto think = [](const std::string& text) { return format_reward(text, Style::kThink); };
  for (const char* good : {"<think>a</think><answer>b</answer>", " \n<think></think> \n <answer></answer>\t",
                           "<think>x\ny</think>\n\n<answer>90</answer>"})
    EXPECT_EQ(think(good), 1) << good;
  for (const char* bad : {"<answer>b</answer>", "<think>a</think>", "x<think>a</think><answer>b</answer>",
                          "<think>a</think><answer>b</answer>x", "<think>a</think>x<answer>b</answer>",
                          "<think>a<think></think><answer>b</answer>", "<answer>b</answer><think>a</think>",
                          "<think>a</think><answer>b</answer><answer>c</answer>", "<think><answer>a</answer></think>",
                          "", "<think>a<answer></think>b</answer>"})
    EXPECT_EQ(think(bad), 0) << bad;
  EXPECT_EQ(format_reward("<answer>b</answer>", Style::kAnswer), 1);
  EXPECT_EQ(format_reward("<think></think><answer>b</answer>", Style::kAnswer), 0);
}

TEST(Reward, WeightsAddUp) {
  const RewardConfig config{.accuracy = 0.9, .format = 0.1};
  const Expected expected{"rotation", Preset::kHardened, "exact", "90"};
  EXPECT_DOUBLE_EQ(score(config, Style::kThink, expected, "<think></think><answer>90</answer>").total, 1);
  EXPECT_DOUBLE_EQ(score(config, Style::kThink, expected, "<answer>90</answer>").total, 0.9);
  EXPECT_DOUBLE_EQ(score(config, Style::kThink, expected, "<think></think><answer>0</answer>").total, 0.1);
}

}  // namespace
}  // namespace ssl4rl::rewards
