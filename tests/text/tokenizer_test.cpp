#include "ssl4rl/text/tokenizer.h"

#include <gtest/gtest.h>
#include <unicode/regex.h>

#include <nlohmann/json.hpp>

#include "ssl4rl/base/rng.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/jsonl.h"
#include "support/data.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace ssl4rl::text {
namespace {

using Json = nlohmann::json;

std::string spelled(const UChar32* begin, const UChar32* end) {
  std::string text;
  icu::UnicodeString::fromUTF32(begin, static_cast<int32_t>(end - begin)).toUTF8String(text);
  return text;
}

// Code points that meet every alternative of the split pattern, and its borders.
std::string nasty_text(Rng& rng) {
  static const std::vector<UChar32> alphabet{
      'a',   'B',     's',    'T',   'R',  'E',    'L',    'l',  'd',    'm',  'v',    '\'',   '\'',  ' ',   ' ',
      ' ',   '\t',    '\n',   '\r',  '1',  '9',    '.',    ',',  '!',    '<',  0xA0,   0x3000, 0xE9,  0x301, 0x4E2D,
      0x661, 0x1F600, 0x2009, 0x17F, 0x85, 0x1680, 0x200B, 0x1C, 0x2028, 0xB2, 0x2160, 0x130,  0x212A};
  std::vector<UChar32> codes(static_cast<size_t>(rng.below(16)));
  for (UChar32& code : codes) code = rng.pick(alphabet);
  return spelled(codes.data(), codes.data() + codes.size());
}

TEST(Split, AgreesWithARegularExpressionEngineOnRandomTexts) {
  UErrorCode status = U_ZERO_ERROR;
  const std::unique_ptr<icu::RegexPattern> pattern(
      icu::RegexPattern::compile(icu::UnicodeString::fromUTF8(kQwen2Pattern), 0, status));
  ASSERT_TRUE(U_SUCCESS(status));
  Rng rng(1, Stream::kPuzzle);
  for (int trial = 0; trial < 30000; ++trial) {
    const std::string text = nasty_text(rng);
    const icu::UnicodeString wide = icu::UnicodeString::fromUTF8(text);
    const std::unique_ptr<icu::RegexMatcher> matcher(pattern->matcher(wide, status));
    std::vector<std::string> expected;
    while (matcher->find()) matcher->group(status).toUTF8String(expected.emplace_back());
    const auto got = split_qwen2(text);
    ASSERT_EQ(std::vector<std::string>(got.begin(), got.end()), expected) << Json(text).dump();
  }
}

TEST(Split, LettersAndNumbersThatIcuMayNotKnowYetAreWhatTheReferenceTakesThemFor) {
  EXPECT_EQ(split_qwen2("!\U00013797\U00013798s"), (std::vector<std::string_view>{"!\U00013797\U00013798s"}));
  EXPECT_EQ(split_qwen2("a\U0001E5F1\U0001E5F2"), (std::vector<std::string_view>{"a", "\U0001E5F1", "\U0001E5F2"}));
}

TEST(Tokenizer, MarksThatTheReferenceDoesNotKnowStayWhereTheyAre) {
  const Tokenizer tokenizer(test_data() / "tiny_qwen2_5_vl/tokenizer.json");
  const auto round_trip = [&](const std::string& text) { return tokenizer.decode(tokenizer.encode(text)); };
  EXPECT_EQ(round_trip("e\u0345\u0316"), "e\u0316\u0345") << "known marks are put in order";
  EXPECT_EQ(round_trip("\u06E2\u07FD e\u0301"), "\u06E2\u07FD \u00E9");
  EXPECT_EQ(round_trip("e\u1AC0\u0301 e\u0301"), "e\u1AC0\u0301 \u00E9") << "nor does anything compose across them";
}

TEST(Tokenizer, EncodesAndDecodesAsTheReference) {
  const Tokenizer tokenizer(test_data() / "tiny_qwen2_5_vl/tokenizer.json");
  for (const auto& item : io::read_json(test_data() / "tokenizer_cases.json")) {
    const auto ids = item["ids"].get<std::vector<int64_t>>();
    if (!item["text"].is_null()) {
      EXPECT_EQ(tokenizer.encode(item["text"].get<std::string>()), ids) << item["text"];
    }
    EXPECT_EQ(tokenizer.decode(ids, true), item["decoded"].get<std::string>()) << Json(ids).dump();
    EXPECT_EQ(tokenizer.decode(ids, false), item["decoded_with_special"].get<std::string>()) << Json(ids).dump();
  }
}

TEST(Tokenizer, LongRunsWithoutABoundaryMergeLikeShortOnes) {
  const Tokenizer tokenizer(test_data() / "tiny_qwen2_5_vl/tokenizer.json");
  // The same letters below and above the length at which the algorithm changes; a prefix of a run of one letter decodes
  // back.
  for (const size_t length : {63u, 64u, 65u, 66u, 500u}) {
    const std::string run(length, 'e');
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(run)), run);
    std::string words;
    for (size_t i = 0; i < length; ++i) words += "answerthedegrees"[i % 16];
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(words)), words);
  }
}

TEST(Tokenizer, BothFormsOfMergesMeanTheSame) {
  const TemporaryFolder folder;
  Json json = Json::parse(io::read_file(test_data() / "tiny_qwen2_5_vl/tokenizer.json"));
  for (Json& merge : json["model"]["merges"])
    merge = merge.is_string() ? Json{merge.get<std::string>().substr(0, merge.get<std::string>().find(' ')),
                                     merge.get<std::string>().substr(merge.get<std::string>().find(' ') + 1)}
                              : Json(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  io::write_file(folder.path() / "tokenizer.json", json.dump());
  const Tokenizer original(test_data() / "tiny_qwen2_5_vl/tokenizer.json"), rewritten(folder.path() / "tokenizer.json");
  const std::string text = "The second image is the first one turned counter-clockwise.";
  EXPECT_EQ(rewritten.encode(text), original.encode(text));
}

TEST(Tokenizer, AddedTokensObeyTheirFlags) {
  const TemporaryFolder folder;
  Json json = Json::parse(io::read_file(test_data() / "tiny_qwen2_5_vl/tokenizer.json"));
  json["added_tokens"].push_back({{"id", 600},
                                  {"content", "<mask>"},
                                  {"lstrip", true},
                                  {"rstrip", true},
                                  {"normalized", false},
                                  {"special", true},
                                  {"single_word", false}});
  json["added_tokens"].push_back({{"id", 601},
                                  {"content", "word"},
                                  {"lstrip", false},
                                  {"rstrip", false},
                                  {"normalized", false},
                                  {"special", false},
                                  {"single_word", true}});
  json["added_tokens"].push_back({{"id", 602},
                                  {"content", "\u00e9!"},
                                  {"lstrip", false},
                                  {"rstrip", false},
                                  {"normalized", true},
                                  {"special", false},
                                  {"single_word", false}});
  io::write_file(folder.path() / "tokenizer.json", json.dump());
  const Tokenizer tokenizer(folder.path() / "tokenizer.json");
  const auto ids = [&](const std::string& text) { return tokenizer.encode(text); };
  EXPECT_EQ(ids("  <mask>\n <mask> "), (std::vector<int64_t>{600, 600}));
  EXPECT_EQ(ids("word"), (std::vector<int64_t>{601}));
  const auto times = [&](const std::string& text) {
    const auto all = ids(text);
    return std::count(all.begin(), all.end(), 601);
  };
  EXPECT_EQ(times("sword words word_ word9"), 0);
  EXPECT_EQ(times("(word) word"), 2);
  EXPECT_EQ(ids("e\u0301!"), (std::vector<int64_t>{602})) << "found after normalisation";
}

TEST(Tokenizer, ABrokenFileIsAnErrorThatNamesIt) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "tokenizer.json";
  const auto error_with = [&](const std::string& text) {
    io::write_file(path, text);
    return error_of([&] { const Tokenizer tokenizer(path); });
  };
  const Json good = Json::parse(io::read_file(test_data() / "tiny_qwen2_5_vl/tokenizer.json"));
  EXPECT_EQ(error_of([&] { const Tokenizer tokenizer(path); }),
            path.string() + ": cannot be read: No such file or directory");
  EXPECT_NE(error_with("{").find("not a usable tokenizer.json"), std::string::npos);
  EXPECT_NE(error_with("{}").find("'model' not found"), std::string::npos);
  Json bad = good;
  bad["model"]["merges"][0] = "no such";
  EXPECT_NE(error_with(bad.dump()).find("merge 0 (\"no\" + \"such\") names a token that is not in the vocabulary"),
            std::string::npos);
  bad = good;
  bad["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "x";
  EXPECT_NE(error_with(bad.dump()).find("the split pattern \"x\" is not supported"), std::string::npos);
  bad = good;
  bad["normalizer"] = {{"type", "NFKC"}};
  EXPECT_NE(error_with(bad.dump()).find("the normalizer NFKC is not supported"), std::string::npos);
}

}  // namespace
}  // namespace ssl4rl::text
