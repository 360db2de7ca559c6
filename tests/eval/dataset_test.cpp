#include "ssl4rl/eval/dataset.h"

#include <gtest/gtest.h>

#include "ssl4rl/eval/predictions.h"
#include "ssl4rl/eval/prompt.h"
#include "ssl4rl/image/codec.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/hash.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace ssl4rl::eval {
namespace {

std::string picture(uint8_t grey) {
  image::Image image(12, 8);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(grey + i % 5 * 20);
  return io::base64_encode(image::encode_png(image));
}

class DatasetTest : public testing::Test {
 protected:
  std::filesystem::path write(const std::string& name, std::string text) {
    std::replace(text.begin(), text.end(), '|', '\t');
    io::write_file(folder_.path() / name, text);
    return folder_.path() / name;
  }
  Dataset load(const std::string& name, const std::string& text) {
    return load_dataset(write(name, text).string(), folder_.path(), false, log_);
  }
  std::string load_error(const std::string& text) {
    const std::string message = error_of([&] { (void)load("t.tsv", text); });
    const std::string folder = folder_.path().string() + "/";
    return message.starts_with(folder) ? message.substr(folder.size()) : message;
  }

  TemporaryFolder folder_;
  Log log_{Log::Level::kOff};
  const std::string p = picture(10), q = picture(90);
};

TEST_F(DatasetTest, AShortImageCellNamesTheRowThatHoldsThePicture) {
  const Dataset dataset = load("t.tsv", "index|question|A|B|answer|image\n1|q|x|y|A|" + p +
                                            "\n2|q|x|y|A|1\n3|q|x|y|A|\n4|q|x|y|A|['" + p + "', '" + q + "']\n");
  ASSERT_EQ(dataset.rows(), 3u) << "the row without a picture is dropped";
  EXPECT_EQ(dataset.row_pictures[0], dataset.row_pictures[1]);
  EXPECT_EQ(dataset.row_pictures[2].size(), 2u);
  EXPECT_EQ(dataset.pictures.size(), 3u);
  EXPECT_TRUE(dataset.integer_index);
  EXPECT_EQ(dataset.pictures[dataset.row_pictures[2][1]].decode(false),
            image::decode(io::base64_decode(q), image::Orientation::kIgnore));
}

TEST_F(DatasetTest, ANameThatEndsInJpgIsLossyInEveryEra) {
  const Dataset dataset =
      load("t.tsv", "index|question|answer|image_path|image\n1|q|x|a.png|" + p + "\n2|q|x|a.jpg|" + p + "\n");
  const image::Image plain = image::decode(io::base64_decode(p), image::Orientation::kIgnore);
  const auto shown = [&](size_t row, bool roundtrip) {
    return dataset.pictures[dataset.row_pictures[row][0]].decode(roundtrip);
  };
  EXPECT_EQ(shown(0, false), plain);
  EXPECT_NE(shown(1, false), plain);
  EXPECT_EQ(shown(0, true), shown(1, false));
}

TEST_F(DatasetTest, PicturesMayLieInFiles) {
  std::filesystem::create_directories(folder_.path() / "images/t");
  io::write_file(folder_.path() / "images/t/a.png", io::base64_decode(p));
  const Dataset dataset = load("t.tsv", "index|question|answer|image_path\n1|q|x|a.png\n");
  for (const char* outside : {"../a.png", "x/../../a.png", ".."})
    EXPECT_NE(load_error(fmt::format("index|question|answer|image_path\n1|q|x|{}\n", outside))
                  .find("expected a path below the folder of images"),
              std::string::npos);
  EXPECT_EQ(dataset.pictures[0].decode(true), image::decode(io::base64_decode(p), image::Orientation::kIgnore));
  EXPECT_NE(load_error("index|question|answer|image_path\n1|q|x|b.png\n").find("t.tsv:2 (index 1): image_path:"),
            std::string::npos);
}

TEST_F(DatasetTest, BadFilesAreNamedWithTheRow) {
  const std::string header = "index|question|A|B|answer|image\n";
  EXPECT_EQ(load_error("index|question|A|answer|B\n1|q|x|A|y\n"),
            "t.tsv: t needs the columns \"image\" (or \"image_path\"); found index, question, A, answer, B");
  EXPECT_EQ(load_error(header + "1|q|x|y|A|" + p + "\n1|q|x|y|A|" + p + "\n"),
            "t.tsv:3: the index 1 stands in line 2 already");
  EXPECT_EQ(load_error(header + "1|q|x|y|A|" + p + "\n2|q|x|y|A|7\n"),
            "t.tsv:3 (index 2): the image cell \"7\" names no row of the file");
  EXPECT_EQ(load_error(header + "1|q|x|y|A|" + p + "\n2|q|x|y|A|3\n3|q|x|y|A|1\n"),
            "t.tsv:3 (index 2): the image cell names row 3, which holds no picture itself");
  EXPECT_EQ(load_error(header + "|q|x|y|A|" + p + "\n"), "t.tsv:2: the index is missing");
  const Dataset broken = load("t.tsv", header + "5|q|x|y|A|" + p.substr(0, 80) + "\n");
  EXPECT_NE(error_of([&] { (void)broken.pictures[0].decode(false); }).find("t.tsv:2 (index 5): the picture"),
            std::string::npos);
}

TEST_F(DatasetTest, PromptsFollowTheToolkit) {
  const Dataset dataset = load("MMStar.tsv", "index|question|hint|A|B|C|answer|image\n1|Why?|look|x||2.0|A|" + p +
                                                 "\n2|\u4ec0\u4e48||x|y|3|A|1\n");
  const auto text = [&](const char* style, size_t row) { return PromptStyle(style).text(dataset, row); };
  EXPECT_EQ(text("toolkit", 0),
            "Hint: look\nQuestion: Why?\nOptions:\nA. x\nC. 2.0\nPlease select the correct answer from the options "
            "above. \n");
  EXPECT_EQ(
      text("qwen", 0),
      "Hint: look\nQuestion: Why?\nOptions:\nA. x\nC. 2.0\nPlease select the correct answer from the options above.");
  EXPECT_EQ(text("qwen", 1),
            "Question: \u4ec0\u4e48\nOptions:\nA. x\nB. y\nC. "
            "3.0\n\u8bf7\u76f4\u63a5\u56de\u7b54\u9009\u9879\u5b57\u6bcd\u3002");
  EXPECT_TRUE(text("ssl4rl", 0).ends_with("<answer>$LETTER</answer>, where LETTER is one of the options."));
  const auto messages = PromptStyle("toolkit").messages(dataset, 0);
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].content[0].kind, text::ContentPart::Kind::kImage);
  EXPECT_EQ(messages[0].content[1].kind, text::ContentPart::Kind::kText);
}

TEST_F(DatasetTest, ATemplateNamesItsPlaceholders) {
  const Dataset dataset = load("t.tsv", "index|question|A|B|answer|image\n1|Why?|x|y|A|" + p + "\n");
  const std::string file = write("prompt.txt", "{question}{options}Go: {prompt}").string();
  EXPECT_EQ(PromptStyle(file).text(dataset, 0),
            "Question: Why?\nOptions:\nA. x\nB. y\nGo: Question: Why?\nOptions:\nA. x\nB. y\nPlease select the correct "
            "answer from the options above. \n");
  EXPECT_NE(
      error_of([&] { PromptStyle(write("bad.txt", "{questoin}").string()); }).find("unknown placeholder {questoin}"),
      std::string::npos);
}

TEST_F(DatasetTest, PredictionsAreMatchedByIndex) {
  const Dataset dataset = load("t.tsv", "index|question|A|B|answer|image\n1|q|x|y|A|" + p + "\n2|q|x|y|A|1\n");
  const auto read = [&](const std::string& name, const std::string& text) {
    return read_predictions(write(name, text), dataset);
  };
  EXPECT_EQ(
      read("p.jsonl",
           "{\"fingerprint\": {}}\n{\"index\": 2, \"prediction\": \"B\"}\n{\"index\": \"1\", \"prediction\": \"A\"}\n"),
      (std::vector<io::Cell>{"A", "B"}));
  EXPECT_EQ(read("p.tsv", "index|prediction\n2|B\n1|\n"), (std::vector<io::Cell>{{}, "B"}));
  const auto message = [&](const std::string& text) {
    const std::string all = error_of([&] { (void)read("p.jsonl", text); });
    return all.substr(folder_.path().string().size() + 1);
  };
  const std::string first = "{\"index\": 1, \"prediction\": \"A\"}\n";
  EXPECT_TRUE(message(first).starts_with("p.jsonl: there is no prediction for the index 2 of "));
  EXPECT_TRUE(
      message(first + "{\"index\": 9, \"prediction\": \"A\"}\n").starts_with("p.jsonl:2: the index 9 is not in "));
  EXPECT_EQ(message(first + first), "p.jsonl:2: the index 1 stands in line 1 already");
  EXPECT_EQ(message("{\"index\": 1}\n"), "p.jsonl:1: expected \"index\" and \"prediction\"");
}

TEST(PythonList, ReadsLiterals) {
  EXPECT_EQ(parse_python_list("['a', \"it's\", 'x\\n\\u00e9\\x41', 3]"), (std::vector<std::string>{"a", "it's",
                                                                                                   "x\n\u00e9"
                                                                                                   "A",
                                                                                                   "3"}));
  EXPECT_EQ(parse_python_list("[]"), std::vector<std::string>{});
  EXPECT_FALSE(parse_python_list("['a'"));
  EXPECT_FALSE(parse_python_list("[a b]"));
}

class PredictionFileTest : public testing::Test {
 protected:
  static nlohmann::ordered_json line(int index) { return {{"index", index}, {"prediction", "A"}}; }
  [[nodiscard]] std::string text() const { return io::read_file(folder_.path() / "predictions.jsonl"); }

  TemporaryFolder folder_;
  Log log_{Log::Level::kOff};
};

TEST_F(PredictionFileTest, GoesOnAfterAKillAndDropsTheHalfLine) {
  {
    PredictionFile file(folder_.path(), {{"model", "m"}}, {}, log_);
    file.append(line(1));
    file.append(line(2));
  }
  io::write_file(folder_.path() / "predictions.jsonl", text().substr(0, text().size() - 5));
  PredictionFile file(folder_.path(), {{"model", "m"}}, {}, log_);
  EXPECT_EQ(file.lines().size(), 1u);
  EXPECT_FALSE(file.complete({"1", "2"}));
  file.append(line(2));
  EXPECT_TRUE(file.complete({"1", "2"}));
  EXPECT_EQ(
      text(),
      "{\"fingerprint\":{\"model\":\"m\"}}\n{\"index\":1,\"prediction\":\"A\"}\n{\"index\":2,\"prediction\":\"A\"}\n");
}

TEST_F(PredictionFileTest, AnotherModelsFileIsMovedAside) {
  { PredictionFile(folder_.path(), {{"model", "m"}}, {}, log_).append(line(1)); }
  PredictionFile file(folder_.path(), {{"model", "n"}}, {}, log_);
  EXPECT_TRUE(file.lines().empty());
  EXPECT_NE(io::read_file(folder_.path() / "predictions.old-1.jsonl").find("\"index\":1"), std::string::npos);
}

TEST_F(PredictionFileTest, TheLastShardPutsAllTogether) {
  PredictionFile one(folder_.path(), {{"model", "m"}}, Shard{0, 2}, log_),
      two(folder_.path(), {{"model", "m"}}, Shard{1, 2}, log_);
  one.append(line(1));
  EXPECT_FALSE(one.complete({"1", "2"}));
  two.append(line(2));
  EXPECT_TRUE(two.complete({"1", "2"}));
  EXPECT_FALSE(one.complete({"1", "2"})) << "the other has scored already";
  EXPECT_NE(text().find("\"index\":1"), std::string::npos);
  PredictionFile again(folder_.path(), {{"model", "m"}}, Shard{2, 3}, log_);
  EXPECT_EQ(again.lines().size(), 2u) << "another number of shards loses nothing";
}

TEST_F(PredictionFileTest, TwoProcessesCannotWriteOneFile) {
  PredictionFile file(folder_.path(), {{"model", "m"}}, {}, log_);
  EXPECT_NE(error_of([&] {
              PredictionFile(folder_.path(), {{"model", "m"}}, {}, log_);
            }).find("in use"),
            std::string::npos);
}

}  // namespace
}  // namespace ssl4rl::eval
