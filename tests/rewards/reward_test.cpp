#include "ssl4rl/rewards/reward.h"

#include <gtest/gtest.h>

#include <chrono>

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
