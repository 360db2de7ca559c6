#include "ssl4rl/io/tsv.h"

#include <gtest/gtest.h>

#include "support/errors.h"

namespace ssl4rl::io {
namespace {

// "a|b" of each row; missing cells as "~".
std::vector<std::string> rows(const std::string& text, std::span<const std::string> literal = {}) {
  const Table table = parse_tsv(text, "t.tsv", literal);
  std::vector<std::string> result;
  for (size_t row = 0; row < table.rows(); ++row) {
    std::string line;
    for (const Column& column : table.columns) {
      if (!line.empty()) line += '|';
      line += column.cells[row].value_or("~");
    }
    result.push_back(line);
  }
  return result;
}

using Rows = std::vector<std::string>;

// What pandas 3.1 makes of the same texts (scripts/check_eval.py compares with pandas itself).
TEST(Tsv, QuotesMayHoldTabsLineBreaksAndQuotes) {
  EXPECT_EQ(rows("a\tb\n\"x\ny\"\t\"p\"\"q\"\n"), (Rows{"x\ny|p\"q"}));
  EXPECT_EQ(rows("a\tb\nx\"y\t\"\t\"\n"), (Rows{"x\"y|\t"})) << "a quote inside a cell is a character";
  EXPECT_EQ(rows("a\n\"x\"y\"z\"\n"), (Rows{"xy\"z\""}));
}

TEST(Tsv, ByteOrderMarkLineEndsAndBlankLines) {
  EXPECT_EQ(rows("\xEF\xBB\xBF"
                 "a\tb\r\nx\ty\r\n\r\nz\tw"),
            (Rows{"x|y", "z|w"}));
  EXPECT_EQ(rows("a\n   \nq\n"), (Rows{"q"}));
}

TEST(Tsv, AColumnHasOneType) {
  EXPECT_EQ(rows("a\n007\n 1 \n+2\n"), (Rows{"7", "1", "2"}));
  EXPECT_EQ(rows("a\tb\n2\tx\n\ty\n"), (Rows{"2.0|x", "~|y"})) << "a hole makes floats";
  EXPECT_EQ(rows("a\n1e3\n2\n.5\n1.\n"), (Rows{"1000.0", "2.0", "0.5", "1.0"}));
  EXPECT_EQ(rows("a\ntrue\nFALSE\n"), (Rows{"True", "False"}));
  EXPECT_EQ(rows("a\ntrue\nNA\n"), (Rows{"True", "~"}));
  EXPECT_EQ(rows("a\nTrue\n1\n"), (Rows{"True", "1"}));
  EXPECT_EQ(rows("a\n18446744073709551615\n1\n"), (Rows{"18446744073709551615", "1"}));
  EXPECT_EQ(rows("a\n99999999999999999999\n01\n"), (Rows{"99999999999999999999", "01"}));
  EXPECT_EQ(rows("a\ninf\n1e400\n"), (Rows{"inf", "inf"}));
}

TEST(Tsv, MissingTexts) {
  EXPECT_EQ(rows("a\tb\nNone\tx\n\"N/A\"\ty\nnull\tz\nnone\tw\n"), (Rows{"~|x", "~|y", "~|z", "none|w"}));
  const std::vector<std::string> literal{"a"};
  EXPECT_EQ(rows("a\tb\nNone\tNone\n\tx\n", literal), (Rows{"None|~", "~|x"}));
}

TEST(Tsv, NamesOfColumns) {
  const Table table = parse_tsv("a\ta\t\n1\t2\t3\n", "t.tsv");
  EXPECT_EQ(table.columns[1].name, "a.1");
  EXPECT_EQ(table.columns[2].name, "Unnamed: 2");
}

TEST(Tsv, BrokenFilesNameTheLine) {
  EXPECT_EQ(error_of([] { (void)parse_tsv("", "t.tsv"); }), "t.tsv: the file is empty");
  EXPECT_EQ(error_of([] { (void)parse_tsv("a\tb\nx\ty\n\"z\tw\n", "t.tsv"); }),
            "t.tsv:3: the file ends inside a quoted cell: it is cut off");
  EXPECT_EQ(error_of([] { (void)parse_tsv("a\tb\nx\ty\tz\n", "t.tsv"); }),
            "t.tsv:2: expected 2 cells, as in the header, found 3");
  EXPECT_EQ(error_of([] { (void)parse_tsv("a\tb\n\"x\n\"\ty\nz", "t.tsv"); }),
            "t.tsv:4: the last row has 1 of 2 cells and no line break: the file is cut off");
  EXPECT_EQ(rows("a\tb\nx\ny\tz\n"), (Rows{"x|~", "y|z"})) << "a short row elsewhere has missing cells";
}

TEST(PythonFloat, PrintsAsReprDoes) {
  for (const auto& [value, text] : std::vector<std::pair<double, const char*>>{{0.5, "0.5"},
                                                                               {2, "2.0"},
                                                                               {1.0 / 3, "0.3333333333333333"},
                                                                               {1e-5, "1e-05"},
                                                                               {0.0001, "0.0001"},
                                                                               {1e15, "1000000000000000.0"},
                                                                               {1e16, "1e+16"},
                                                                               {123456.789, "123456.789"},
                                                                               {-0.0, "-0.0"},
                                                                               {1.5e300, "1.5e+300"},
                                                                               {100, "100.0"}})
    EXPECT_EQ(python_float(value), text);
}

TEST(QuotedLine, DoublesQuotes) {
  EXPECT_EQ(quoted_line(std::vector<Cell>{"a\"b", std::nullopt, "c"}, ','), "\"a\"\"b\",\"\",\"c\"\n");
}

}  // namespace
}  // namespace ssl4rl::io
