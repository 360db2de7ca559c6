#include "ssl4rl/report/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "ssl4rl/image/codec.h"
#include "ssl4rl/image/resize.h"
#include "ssl4rl/io/hash.h"

namespace ssl4rl::report {
namespace {

constexpr const char* kStyle = R"css(
:root { color-scheme: light dark; --ink: #1c2126; --quiet: #5b6670; --line: #d8dee4; --paper: #ffffff; --ground: #f4f6f8; --accent: #2b6cb0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaee; --quiet: #9aa5b1; --line: #343c45; --paper: #1b2026; --ground: #12161a; --accent: #7fb3e6; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem clamp(1rem, 4vw, 3rem); background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 .25rem; font-size: 1.5rem; } h2 { margin: 2rem 0 .75rem; font-size: 1.15rem; }
.lead { color: var(--quiet); margin: 0 0 1.5rem; max-width: 70rem; }
table { border-collapse: collapse; background: var(--paper); font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; border: 1px solid var(--line); text-align: left; vertical-align: top; } th { color: var(--quiet); font-weight: 600; }
.filters { margin: 1rem 0; display: flex; gap: .5rem; flex-wrap: wrap; }
.filters button { border: 1px solid var(--line); background: var(--paper); color: var(--ink); padding: .3rem .8rem; border-radius: 1rem; font: inherit; cursor: pointer; }
.filters button[aria-pressed=true] { border-color: var(--accent); color: var(--accent); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(21rem, 1fr)); gap: 1rem; align-items: start; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: .5rem; padding: .9rem; break-inside: avoid; }
.card header { display: flex; justify-content: space-between; gap: .5rem; align-items: baseline; margin-bottom: .6rem; }
.card header b { font-size: 1rem; } .card header span { color: var(--quiet); font-size: .8rem; overflow-wrap: anywhere; text-align: right; }
.pictures { display: flex; flex-wrap: wrap; gap: .4rem; align-items: flex-start; margin-bottom: .6rem; }
.pictures img { display: block; max-width: 100%; border-radius: .2rem; }
.card p { margin: 0 0 .6rem; white-space: pre-wrap; font-size: .82rem; color: var(--quiet); max-height: 11rem; overflow: auto; }
.card dl { display: grid; grid-template-columns: auto 1fr; gap: .1rem .8rem; margin: 0; font-size: .85rem; } .card dt { color: var(--quiet); } .card dd { margin: 0; overflow-wrap: anywhere; }
svg text { fill: currentColor; font-size: 12px; } svg rect { fill: var(--accent); }
@media print { body { background: #fff; padding: 0; } .filters { display: none; } .card p { max-height: none; } .cards { grid-template-columns: repeat(2, 1fr); } }
)css";

constexpr const char* kFilterScript = R"js(
for (const button of document.querySelectorAll('.filters button')) button.onclick = () => {
  for (const other of button.parentNode.children) other.setAttribute('aria-pressed', other === button);
  for (const card of document.querySelectorAll('.card')) card.hidden = button.dataset.tag !== '' && card.dataset.tag !== button.dataset.tag;
};
)js";

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string picture(const image::Image& image, int side, std::string_view title, std::string_view link) {
  const int longer = std::max(image.width, image.height);
  const double scale = longer > side ? static_cast<double>(side) / longer : 1;
  const int width = std::max(1, static_cast<int>(image.width * scale)),
            height = std::max(1, static_cast<int>(image.height * scale));
  const std::string jpeg = image::encode_jpeg(image::resize(image, width, height, image::Filter::kLanczos), 88);
  const std::string tag =
      fmt::format(R"(<img width="{}" height="{}" alt="{}" title="{}" src="data:image/jpeg;base64,{}">)", width, height,
                  escape(title), escape(title), io::base64_encode(jpeg));
  return link.empty() ? tag : fmt::format(R"(<a href="{}">{}</a>)", escape(link), tag);
}

std::string table(std::span<const std::string> header, std::span<const std::vector<std::string>> rows) {
  std::string out = "<table><tr>";
  for (const std::string& cell : header) out += "<th>" + cell + "</th>";
  out += "</tr>";
  for (const auto& row : rows) {
    out += "<tr>";
    for (const std::string& cell : row) out += "<td>" + cell + "</td>";
    out += "</tr>";
  }
  return out + "</table>\n";
}

std::string bars(const std::map<std::string, int64_t>& counts) {
  constexpr int kRow = 18, kLabel = 110, kLength = 160;
  int64_t most = 1;
  for (const auto& [label, count] : counts) most = std::max(most, count);
  std::string out =
      fmt::format(R"(<svg width="{}" height="{}" role="img">)", kLabel + kLength + 60, counts.size() * kRow);
  int y = 0;
  for (const auto& [label, count] : counts) {
    const int64_t length = kLength * count / most;
    out += fmt::format(
        R"(<text x="{}" y="{}" text-anchor="end">{}</text><rect x="{}" y="{}" width="{}" height="{}"/><text x="{}" y="{}">{}</text>)",
        kLabel - 6, y + 13, escape(label), kLabel, y + 3, length, kRow - 6, kLabel + length + 5, y + 13, count);
    y += kRow;
  }
  return out + "</svg>";
}

std::string cards(std::span<const Card> all) {
  std::set<std::string> tags;
  for (const Card& card : all) tags.insert(card.tag);
  std::string out;
  if (tags.size() > 1) {
    out += R"(<div class="filters"><button data-tag="" aria-pressed="true">all</button>)";
    for (const std::string& tag : tags)
      out += fmt::format(R"(<button data-tag="{0}" aria-pressed="false">{0}</button>)", escape(tag));
    out += "</div>\n";
  }
  out += R"(<div class="cards">)";
  for (const Card& card : all) {
    out += fmt::format(
        R"(<section class="card" data-tag="{}"><header><b>{}</b><span>{}</span></header><div class="pictures">)",
        escape(card.tag), escape(card.title), escape(card.subtitle));
    for (const std::string& html : card.pictures) out += html;
    out += "</div>";
    if (!card.text.empty()) out += "<p>" + escape(card.text) + "</p>";
    out += "<dl>";
    for (const auto& [label, value] : card.facts)
      out += fmt::format("<dt>{}</dt><dd>{}</dd>", escape(label), escape(value));
    out += "</dl></section>\n";
  }
  return out + "</div>\n<script>" + kFilterScript + "</script>\n";
}

std::string page(std::string_view title, std::string_view lead, std::string_view body) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\">"
      "<title>{0}</title><style>{1}</style></head>\n<body><h1>{0}</h1><p class=\"lead\">{2}</p>\n{3}</body></html>\n",
      escape(title), kStyle, escape(lead), body);
}

}  // namespace ssl4rl::report
