// Building blocks of self-contained HTML pages: no scripts from elsewhere, no files beside them; light and dark; print
// well.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ssl4rl/image/image.h"

namespace ssl4rl::report {

[[nodiscard]] std::string escape(std::string_view text);

/// An <img> with the picture inside (JPEG), scaled down to at most `side` pixels; the title shows on hovering.
[[nodiscard]] std::string picture(const image::Image& image, int side, std::string_view title,
                                  std::string_view link = {});

/// A table; cells are HTML.
[[nodiscard]] std::string table(std::span<const std::string> header, std::span<const std::vector<std::string>> rows);

/// Horizontal bars with labels and counts (SVG).
[[nodiscard]] std::string bars(const std::map<std::string, int64_t>& counts);

/// One card of a contact sheet.
struct Card {
  std::string title, subtitle;
  std::vector<std::string> pictures;                         ///< HTML, see picture()
  std::string text;                                          ///< shown as it is, line breaks kept
  std::vector<std::pair<std::string, std::string>> facts;    ///< label, value (plain text)
  std::vector<std::pair<std::string, std::string>> details;  ///< label, longer text, folded away
  std::map<std::string, std::string> tags;                   ///< filter → value; the page has buttons for each filter
};
[[nodiscard]] std::string cards(std::span<const Card> all);

/// The whole page.
[[nodiscard]] std::string page(std::string_view title, std::string_view lead, std::string_view body);

}  // namespace ssl4rl::report
