// SentencePiece vocabularies, on models trained here.
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include "ssl4rl/base/rng.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/text/tokenizer.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace ssl4rl::text {
namespace {

class SentencePieceModel : public testing::Test {
 protected:
  // A model in Gemma's form: bytes for what is unknown, no space before a text, white space kept.
  void train(const std::string& more = "--add_dummy_prefix=false") {
    std::string text;
    Rng rng(3, Stream::kPuzzle);
    for (int line = 0; line < 400; ++line) {
      for (int word = 0; word < 8; ++word)
        text += rng.pick(std::vector<std::string>{"turned ", "picture ", "degrees ", "the ", "clockwise ", "naïve ",
                                                  "旋转", "a", "b ", "  "});
      text += "\n";
    }
    io::write_file(folder_.path() / "text.txt", text);
    const auto status = sentencepiece::SentencePieceTrainer::Train(fmt::format(
        "--input={0}/text.txt --model_prefix={0}/tokenizer --vocab_size=340 --model_type=bpe --byte_fallback=true "
        "--normalization_rule_name=identity "
        "--remove_extra_whitespaces=false --split_digits=true "
        "--user_defined_symbols=<start_of_image>,<end_of_turn>,\"\n\n\" --pad_id=0 --eos_id=1 --bos_id=2 --unk_id=3 "
        "--minloglevel=2 {1}",
        folder_.path().string(), more));
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  [[nodiscard]] Tokenizer load() const { return Tokenizer(Tokenizer::find(folder_.path())); }

  TemporaryFolder folder_;
};

TEST_F(SentencePieceModel, EncodesAsTheLibraryAndDecodesToTheText) {
  train();
  const Tokenizer tokenizer = load();
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.Load((folder_.path() / "tokenizer.model").string()).ok());
  for (const std::string text :
       {"the picture", "  the  picture turned\n", "naïve 旋转 😀 90", "", " ", "\n", "\t", "x\xCC\x81"}) {
    std::vector<int> expected;
    ASSERT_TRUE(library.Encode(text, &expected).ok());
    const auto ids = tokenizer.encode(text);
    EXPECT_EQ(ids, std::vector<int64_t>(expected.begin(), expected.end())) << text;
    EXPECT_EQ(tokenizer.decode(ids), text);
  }
  EXPECT_EQ(tokenizer.size(), 340);
  EXPECT_EQ(tokenizer.id_of("<eos>"), std::nullopt);
  EXPECT_EQ(tokenizer.id_of("</s>"), 1);
}

TEST_F(SentencePieceModel, SymbolsInsideATextAreTokensOfTheirOwn) {
  train();
  const Tokenizer tokenizer = load();
  const int64_t image = tokenizer.id_of("<start_of_image>").value(), turn = tokenizer.id_of("<end_of_turn>").value();
  const auto ids = tokenizer.encode("the<start_of_image> picture</s><end_of_turn>");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), image), 1);
  EXPECT_EQ(ids.back(), turn);
  EXPECT_EQ(ids[ids.size() - 2], 1) << "control symbols too";
  EXPECT_EQ(tokenizer.decode(ids), "the<start_of_image> picture<end_of_turn>")
      << "user-defined symbols are no special tokens";
  EXPECT_EQ(tokenizer.decode(ids, false), "the<start_of_image> picture</s><end_of_turn>");
}

TEST_F(SentencePieceModel, TokensBeyondTheVocabularyComeFromTheFilesBeside) {
  train();
  io::write_file(folder_.path() / "added_tokens.json", R"({"<image_soft_token>": 341})");
  io::write_file(folder_.path() / "tokenizer_config.json",
                 R"({"added_tokens_decoder": {"345": {"content": "<tool>", "special": false, "rstrip": true}}})");
  const Tokenizer tokenizer = load();
  EXPECT_EQ(tokenizer.size(), 346);
  EXPECT_EQ(tokenizer.encode("<image_soft_token><tool>  "), (std::vector<int64_t>{341, 345}));
  EXPECT_EQ(tokenizer.decode(std::vector<int64_t>{341, 345, 343}), "<tool>")
      << "special ones are left out, unused ids are nothing";
}

TEST_F(SentencePieceModel, BytesOfAnUnfinishedCharacterBecomeAReplacement) {
  train();
  const Tokenizer tokenizer = load();
  auto ids = tokenizer.encode("😀");
  ASSERT_EQ(ids.size(), 4u);
  ids.pop_back();
  EXPECT_EQ(tokenizer.decode(ids), "\uFFFD");
}

TEST_F(SentencePieceModel, UnusableFilesAreErrorsThatNameThem) {
  io::write_file(folder_.path() / "tokenizer.model", "no model");
  EXPECT_NE(error_of([&] { (void)load(); }).find("tokenizer.model: not a SentencePiece model"), std::string::npos);
  train("--add_dummy_prefix=true");
  EXPECT_NE(error_of([&] { (void)load(); }).find("add_dummy_prefix"), std::string::npos);
}

}  // namespace
}  // namespace ssl4rl::text
