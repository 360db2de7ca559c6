#include "ssl4rl/io/jsonl.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "support/errors.h"

namespace ssl4rl::io {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> seen;
  for_each_json_line(in, "in.jsonl", [&](nlohmann::ordered_json&& object, int64_t line) {
    if (object.contains("bad")) fail("\"bad\": not here");
    seen.push_back(fmt::format("{}: {}", line, to_line(object)));
  });
  return seen;
}

TEST(Jsonl, KeepsOrderAndUnicodeLineSeparatorsInsideStrings) {
  EXPECT_EQ(lines_of("{\"b\":1,\"a\":\"x\u2028y\u0085z\"}\n\n{}\r\n{\"c\":2}"),
            (std::vector<std::string>{"1: {\"b\":1,\"a\":\"x\u2028y\u0085z\"}", "3: {}", "4: {\"c\":2}"}));
}

TEST(Jsonl, ErrorsNameTheLine) {
  EXPECT_EQ(error_of([] { lines_of("{}\n{\"a\":\n"); }).substr(0, 29), "in.jsonl:2: not valid JSON: p");
  EXPECT_EQ(error_of([] { lines_of("[1]\n"); }), "in.jsonl:1: expected a JSON object, found array");
  EXPECT_EQ(error_of([] { lines_of("{}\n{\"bad\":1}\n"); }), "in.jsonl:2: \"bad\": not here");
}

TEST(Jsonl, InvalidUtf8IsReplacedOnWriting) { EXPECT_EQ(to_line({{"t", "a\xff"}}), "{\"t\":\"a\ufffd\"}"); }

}  // namespace
}  // namespace ssl4rl::io
