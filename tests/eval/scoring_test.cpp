#include "ssl4rl/eval/scoring.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "../src/eval/comparison.h"
#include "ssl4rl/eval/outputs.h"
#include "ssl4rl/image/codec.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/hash.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace ssl4rl::eval {
namespace {

std::string picture() {
  image::Image image(9, 7);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(37 * i);
  return io::base64_encode(image::encode_png(image));
}

class ScoringTest : public testing::Test {
 protected:
  // Rows are cells separated by |; every row gets the picture as its last cell.
  Dataset load(const std::string& name, const std::string& header, const std::vector<std::string>& rows) {
    std::string text = header + "|image\n";
    for (const std::string& row : rows) text += row + "|" + picture() + "\n";
    std::replace(text.begin(), text.end(), '|', '\t');
    io::write_file(folder_.path() / name, text);
    return load_dataset((folder_.path() / name).string(), folder_.path(), false, log_);
  }
  static Scores score(const Dataset& dataset, const std::vector<io::Cell>& predictions,
                      Profile profile = Profile::k2026_06) {
    return Scorer(dataset, {{profile}, Extract::kNone}).score(predictions);
  }
  static std::string csv(const Scores& scores) {
    std::string text = to_csv(scores.table);
    std::erase(text, '"');
    return text;
  }

  TemporaryFolder folder_;
  Log log_{Log::Level::kOff};
};

TEST_F(ScoringTest, MultipleChoiceByCategory) {
  const Dataset dataset = load("plain.tsv", "index|question|A|B|answer|category|L2-Category",
                               {"3|q|x|y|A|ocr|logic_reasoning", "1|q|x|y|B|ocr|logic_reasoning",
                                "2|q|x|y|A|attribute_reasoning|coarse_perception"});
  const Scores scores = score(dataset, {"A", "A", "x"});
  EXPECT_EQ(csv(scores), "split,Overall,CP,LR,AR,ocr\nnone,0.6666666666666666,1.0,0.5,1.0,0.5\n");
  EXPECT_DOUBLE_EQ(scores.overall, 200.0 / 3);
  EXPECT_NEAR(scores.standard_error, 100 * std::sqrt(2.0 / 27), 1e-9);
  EXPECT_EQ(scores.answers[2].extracted, "A");
}

TEST_F(ScoringTest, SplitsAreRowsAndAMissingCategoryIsEmpty) {
  const Dataset dataset = load("plain.tsv", "index|question|A|B|answer|category|split",
                               {"1|q|x|y|A|a|dev", "2|q|x|y|A|b|test", "3|q|x|y|A|b|test"});
  const Scores scores = score(dataset, {"A", "A", "B"});
  EXPECT_EQ(csv(scores), "split,Overall,a,b\ndev,1.0,1.0,\ntest,0.5,,0.5\n");
  EXPECT_DOUBLE_EQ(scores.overall, 200.0 / 3);
  EXPECT_TRUE(to_json(scores.table)[0]["b"].is_null());
}

TEST_F(ScoringTest, CircularQuestionsCountOnceAndWithAllRotations) {
  const Dataset dataset = load(
      "my_circular.tsv", "index|question|A|B|answer|category",
      {"1|q|x|y|A|a", "2|q|x|y|B|b", "3|q|x|y|A|b", "1000001|q|y|x|B|a", "1000002|q|y|x|A|b", "1000009|q|y|x|A|b"});
  // 1: both right. 2: the rotation wrong. 3: alone. 9: no base row.
  const Scores scores = score(dataset, {"A", "B", "A", "B", "B", "A"});
  EXPECT_EQ(csv(scores), "split,Overall,a,b\nnone,0.6666666666666666,1.0,0.5\n");
  EXPECT_DOUBLE_EQ(scores.vanilla->base, 100);
  EXPECT_NEAR(scores.vanilla->all, 500.0 / 6, 1e-12);
  EXPECT_EQ(scores.units.size(), 3u);
}

TEST_F(ScoringTest, OptionsAndPredictionsGoThroughTheSpreadsheet) {
  // A column of floats without holes becomes integers; one with a hole prints 2.0.
  const Dataset dataset =
      load("numbers.tsv", "index|question|A|B|answer", {"1|q|2.0|5|A", "2|q|3.0|7|A", "3|q|4.0||A"});
  const Scores scores = score(dataset, {"about 2", "None", "4"});
  EXPECT_EQ(dataset.cell("A", 0), "2.0") << "the prompt's";
  EXPECT_TRUE(scores.answers[0].hit);
  EXPECT_EQ(scores.answers[1].prediction, "nan");
  EXPECT_TRUE(scores.answers[2].hit);
  EXPECT_EQ(Scorer(dataset, {}).options(0).at(1).second, "5.0");
}

TEST_F(ScoringTest, MmvpCountsPairs) {
  const std::vector<std::string> rows{"2|p|x|y|A", "1|p|x|y|A", "3|q|x|y|B", "4|q|x|y|B"};
  const Dataset dataset = load("MMVP.tsv", "index|question|A|B|answer", rows);
  EXPECT_EQ(csv(score(dataset, {"A", "A", "B", "A"})), "Average,Overall\n0.75,0.5\n");
  EXPECT_EQ(csv(score(dataset, {"A", "A", "B", "A"}, Profile::k2025_08)), "split,Overall\nnone,0.75\n");
  const Dataset odd = load("MMVP.tsv", "index|question|A|B|answer", {"1|p|x|y|A"});
  EXPECT_NE(error_of([&] { (void)score(odd, {"A"}); }).find("pairs"), std::string::npos);
}

TEST_F(ScoringTest, CvBench2dIsTheMeanOverSources) {
  const std::string header = "index|question|prompt|A|B|answer|source|split";
  const std::vector<std::string> rows{"1|q|p|x|y|A|COCO|2D", "2|q|p|x|y|A|COCO|2D", "3|q|p|x|y|A|ADE|2D",
                                      "4|q|p|x|y|A|COCO|2D"};
  const Scores scores = score(load("CV-Bench-2D.tsv", header, rows), {"A", "B", "A", "B"});
  EXPECT_EQ(csv(scores), "split,ADE,COCO,Overall\n2D,1.0,0.3333333333333333,0.6666666666666666\n");
  EXPECT_NEAR(scores.overall, 200.0 / 3, 1e-9);
}

TEST_F(ScoringTest, HallusionBenchCountsQuestionsFiguresAndAnswers) {
  const Dataset dataset = load("HallusionBench.tsv", "index|question|answer|category|l2-category",
                               {"VD_a_0_0_0_0|q|Yes|VD|chart", "VD_a_0_0_0_1|q|No|VD|chart",
                                "VD_a_0_0_1_0|q|Yes|VD|chart", "VS_b_0_1_0_0|q|No|VS|map"});
  // Figures: (0,0) right, (0,1) wrong, map right. Questions: (0,0) wrong, (0,1) right, map right.
  const Scores scores = score(dataset, {"Yes", "No.", "no", "It is no"});
  EXPECT_EQ(csv(scores),
            "split,aAcc,fAcc,qAcc\nOverall,75.0,66.66666666666666,66.66666666666666\nVD,66.66666666666666,50.0,50."
            "0\nVS,100.0,100.0,100.0\nchart,66.66666666666666,50.0,50.0\n"
            "map,100.0,100.0,100.0\n");
  EXPECT_NEAR(scores.overall, (75 + 200.0 / 3 * 2) / 3, 1e-9);
}

TEST_F(ScoringTest, PopeIsF1OverExplodedCategories) {
  const Dataset dataset =
      load("POPE.tsv", "index|question|answer|category|image_path",
           {"1|q|Yes|random,popular|a.png", "2|q|Yes|random|a.png", "3|q|No|popular|b.png", "4|q|No|popular|b.png"});
  // Exploded rows: Yes→Yes twice, Yes→Unknown, No→Yes, No→No.
  const Scores scores = score(dataset, {"yes", "hm", "yes", "no"});
  EXPECT_EQ(csv(scores),
            "split,Overall,acc,precision,recall\nOverall,66.66666666666666,60.0,66.66666666666666,66."
            "66666666666666\npopular,66.66666666666666,66.66666666666666,50.0,100.0\n"
            "random,66.66666666666666,50.0,100.0,50.0\n");
  EXPECT_EQ(csv(score(dataset, {"no", "no", "no", "no"})).substr(0, 69),
            "split,Overall,acc,precision,recall\nOverall,0,40.0,0,0.0\npopular,0,66.")
      << "zeros of an empty denominator are integers";
}

TEST_F(ScoringTest, MmeAddsAccuracyAndPairAccuracy) {
  const Dataset dataset = load("MME.tsv", "index|question|answer|category|image_path",
                               {"1|q|Yes|color|a.png", "2|q|No|color|a.png", "3|q|Yes|color|b.png",
                                "4|q|No|color|b.png", "5|q|Yes|code_reasoning|c.png", "6|q|No|code_reasoning|c.png"});
  const Scores scores = score(dataset, {"yes", "no", "yes", "yes", "no", "no"});
  EXPECT_EQ(csv(scores), "perception,reasoning,color,code_reasoning\n125.0,50.0,125.0,50.0\n");
  EXPECT_DOUBLE_EQ(scores.overall, 175);
}

TEST_F(ScoringTest, MmeRealWorldIsNested) {
  const std::string options = "['(A) left', '(B) right', '(C) up', \"(D) it's\", '(E) none']";
  const Dataset dataset =
      load("mme_realworld_lite.tsv", "index|question|multi-choice options|answer|category|l2-category",
           {"1|q|" + options + "|A|Reasoning/Monitoring|Color",
            "2|q|" + options + "|B|Reasoning/Monitoring|person/ATTRIBUTE/x",
            "3|q|" + options + "|C|Perception/Remote Sensing|Color"});
  EXPECT_EQ(dataset.cell("D", 0), "it's");
  const Scores scores = score(dataset, {"A", "The best option is B", ""});
  const auto& rating = *scores.nested;
  EXPECT_EQ(rating["Reasoning"]["Monitoring"],
            nlohmann::ordered_json({{"color", 1.0}, {"person/attribute", 1.0}, {"Avg", 1.0}}));
  EXPECT_EQ(rating["Perception"]["Remote Sensing"]["color"], 0.0) << "a missing prediction is wrong";
  EXPECT_EQ(rating["Perception"]["Monitoring"]["Avg"], 0);
  EXPECT_NEAR(rating["Overall"].get<double>(), 2.0 / 3, 1e-12);
}

TEST_F(ScoringTest, UsersYesNoFilesAndExactAnswers) {
  const Dataset yes_no = load("mine.tsv", "index|question|answer|category", {"a|q|yes|x", "b|q|No|y"});
  EXPECT_EQ(yes_no.benchmark.kind, Kind::kYesNo);
  EXPECT_EQ(csv(score(yes_no, {"Yes.", "Yes"})), "Overall,x,y\n50.0,100.0,0.0\n");
  const Dataset exact = load("words.tsv", "index|question|answer", {"a|q|Paris", "b|q|Rome"});
  EXPECT_EQ(csv(score(exact, {" paris ", "Milan"})), "split,Overall\nnone,0.5\n");
}

TEST(McNemar, IsTheExactTwoSidedTest) {
  EXPECT_DOUBLE_EQ(mcnemar(0, 0), 1);
  EXPECT_DOUBLE_EQ(mcnemar(5, 5), 1);
  EXPECT_NEAR(mcnemar(1, 9), 2 * 11.0 / 1024, 1e-12);
  EXPECT_NEAR(mcnemar(10, 0), 2.0 / 1024, 1e-12);
}

}  // namespace
}  // namespace ssl4rl::eval
