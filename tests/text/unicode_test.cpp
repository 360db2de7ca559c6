#include "ssl4rl/text/unicode.h"

#include <gtest/gtest.h>

namespace ssl4rl::text {
namespace {

TEST(Unicode, StripRemovesWhatPythonsStripRemoves) {
  EXPECT_EQ(strip(" \t\n\x1c\u0085\u00a0\u3000 a b \u2028\u202f"), "a b");
  EXPECT_EQ(strip("\u200b x\u200b"), "\u200b x\u200b");  // zero-width space is no white space
  EXPECT_EQ(strip("   "), "");
  EXPECT_EQ(strip(""), "");
  EXPECT_EQ(strip(" é"), "é");
}

TEST(Unicode, IllFormedSequencesBecomeOneReplacementEach) {  // the examples of the Unicode Standard, table 3-8
  EXPECT_EQ(to_valid_utf8("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            "a\ufffd\ufffd\ufffdb\ufffdc\ufffd\ufffdd");
  EXPECT_EQ(to_valid_utf8("\xED\xA0\x80"), "\ufffd\ufffd\ufffd");  // a surrogate
  EXPECT_EQ(to_valid_utf8("\xF0\x9F\x98"), "\ufffd");
  EXPECT_EQ(to_valid_utf8("\xF0\x9F\x98\x80"), "\U0001F600");
}

TEST(Unicode, CompletePrefixEndsAtACharactersEnd) {
  EXPECT_EQ(complete_prefix("ab"), 2u);
  EXPECT_EQ(complete_prefix("a\xF0\x9F\x98"), 1u);
  EXPECT_EQ(complete_prefix("a\xF0\x9F\x98\x80"), 5u);
  EXPECT_EQ(complete_prefix("a\xC3"), 1u);
  EXPECT_EQ(complete_prefix(""), 0u);
}

TEST(Unicode, NfcComposes) {
  EXPECT_EQ(nfc("e\u0301"), "\u00e9");
  EXPECT_EQ(nfc("\u1112\u1161\u11ab"), "\ud55c");
  EXPECT_EQ(nfc("plain"), "plain");
}

}  // namespace
}  // namespace ssl4rl::text
