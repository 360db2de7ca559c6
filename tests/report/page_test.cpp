#include "ssl4rl/report/page.h"

#include <gtest/gtest.h>

namespace ssl4rl::report {
namespace {

TEST(Page, TextsCannotBecomeMarkup) {
  EXPECT_EQ(escape("<b> & \"x\""), "&lt;b&gt; &amp; &quot;x&quot;");
  const std::string html = page("<script>", "a & b",
                                cards(std::vector<Card>{{.title = "<i>",
                                                         .subtitle = "<u>",
                                                         .text = "<answer>90</answer>",
                                                         .facts = {{"<k>", "<v>"}},
                                                         .details = {{"<d>", "<e>"}},
                                                         .tags = {{"task", "\"t\""}}}}));
  for (const char* markup : {"<i>", "<u>", "<answer>", "<k>", "<v>", "<d>", "<e>", "<title><script>"})
    EXPECT_EQ(html.find(markup), std::string::npos) << markup;
  EXPECT_NE(html.find("&lt;answer&gt;90&lt;/answer&gt;"), std::string::npos);
}

TEST(Page, PicturesAreInsideThePage) {
  const image::Image image(400, 200);
  const std::string html = picture(image, 100, "title", "images/a.png");
  EXPECT_NE(html.find("width=\"100\" height=\"50\""), std::string::npos);
  EXPECT_NE(html.find("src=\"data:image/jpeg;base64,"), std::string::npos);
  EXPECT_NE(html.find("href=\"images/a.png\""), std::string::npos);
}

TEST(Page, FilterButtonsStandWhereThereIsSomethingToFilter) {
  const Card a{.title = "1", .tags = {{"task", "rotation"}, {"level", "1"}}},
      b{.title = "2", .tags = {{"task", "jigsaw"}, {"level", "1"}}};
  EXPECT_EQ(cards(std::vector<Card>{a, a}).find("<button"), std::string::npos);
  const std::string mixed = cards(std::vector<Card>{a, b});
  EXPECT_NE(mixed.find("data-filter=\"task\" data-value=\"jigsaw\""), std::string::npos);
  EXPECT_NE(mixed.find("data-filter=\"task\" data-value=\"rotation\""), std::string::npos);
  EXPECT_EQ(mixed.find("data-filter=\"level\""), std::string::npos) << "all cards have one level";
}

}  // namespace
}  // namespace ssl4rl::report
