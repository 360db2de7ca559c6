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
:root { color-scheme: light dark; --ink: #1c2126; --quiet: #5b6670; --line: #d8dee4; --paper: #ffffff; --ground: #f4f6f8; --accent: #2b6cb0; --warn: #b4441a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaee; --quiet: #9aa5b1; --line: #343c45; --paper: #1b2026; --ground: #12161a; --accent: #7fb3e6; --warn: #f0996c; } }
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
.pictures figure { margin: 0; } .pictures figcaption { color: var(--quiet); font-size: .7rem; text-align: center; }
.pictures img { display: block; max-width: 100%; border-radius: .2rem; }
.card p { margin: 0 0 .6rem; white-space: pre-wrap; font-size: .82rem; color: var(--quiet); max-height: 11rem; overflow: auto; }
.card dl { display: grid; grid-template-columns: auto 1fr; gap: .1rem .8rem; margin: 0; font-size: .85rem; } .card dt { color: var(--quiet); } .card dd { margin: 0; overflow-wrap: anywhere; }
.card details { margin-top: .5rem; font-size: .8rem; } .card summary { color: var(--quiet); cursor: pointer; }
.card pre { margin: .4rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .72rem; max-height: 14rem; overflow: auto; }
.filters span { color: var(--quiet); align-self: center; min-width: 4rem; }
.scroll { overflow-x: auto; }
.leak { color: var(--warn); font-weight: 600; }
.facts td:first-child { font-weight: 600; } td ul { margin: 0; padding: 0; list-style: none; white-space: nowrap; columns: 2; column-gap: 1.2rem; }
svg text { fill: currentColor; font-size: 12px; } svg rect { fill: var(--accent); }
@media print {
  :root { --ink: #000; --quiet: #444; --line: #bbb; --paper: #fff; --ground: #fff; --accent: #2b6cb0; --warn: #b4441a; color-scheme: light; }
  body { padding: 0; font-size: 11px; } .filters, .shown, details { display: none; } .card p { max-height: none; font-size: 8px; } .cards { grid-template-columns: repeat(3, 1fr); gap: .4rem; }
  .card { padding: .4rem; } .card header b { font-size: 10px; } .card header span, .card dl { font-size: 8px; } .pictures img { max-height: 5rem; width: auto; }
  table { font-size: 9px; } th, td { padding: .15rem .3rem; }
}
)css";

constexpr const char* kFilterScript = R"js(
const chosen = {}, count = document.querySelector('.shown');
for (const button of document.querySelectorAll('.filters button')) button.onclick = () => {
  for (const other of button.parentNode.querySelectorAll('button')) other.setAttribute('aria-pressed', other === button);
  chosen[button.dataset.filter] = button.dataset.value;
  let shown = 0;
  for (const card of document.querySelectorAll('.card')) {
    const tags = JSON.parse(card.dataset.tags);
    card.hidden = Object.entries(chosen).some(([filter, value]) => value !== '' && tags[filter] !== value);
    shown += !card.hidden;
  }
  if (count) count.textContent = shown + ' shown';
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
  std::string out = "<div class=\"scroll\"><table><tr>";
  for (const std::string& cell : header) out += "<th>" + cell + "</th>";
  out += "</tr>";
  for (const auto& row : rows) {
    out += "<tr>";
    for (const std::string& cell : row) out += "<td>" + cell + "</td>";
    out += "</tr>";
  }
  return out + "</table></div>\n";
}

std::string bars(const std::map<std::string, int64_t>& counts) {
  constexpr int kRow = 18, kLength = 110, kLetter = 8;
  int64_t most = 1;
  size_t letters = 0;
  for (const auto& [label, count] : counts) {
    most = std::max(most, count);
    letters = std::max(letters, label.size());
  }
  const int label_width = static_cast<int>(letters) * kLetter + 8;
  std::string out =
      fmt::format(R"(<svg width="{}" height="{}" role="img">)", label_width + kLength + 50, counts.size() * kRow);
  int y = 0;
  for (const auto& [label, count] : counts) {
    const int64_t length = kLength * count / most;
    out += fmt::format(
        R"(<text x="{}" y="{}" text-anchor="end">{}</text><rect x="{}" y="{}" width="{}" height="{}"/><text x="{}" y="{}">{}</text>)",
        label_width - 6, y + 13, escape(label), label_width, y + 3, length, kRow - 6, label_width + length + 5, y + 13,
        count);
    y += kRow;
  }
  return out + "</svg>";
}

std::string cards(std::span<const Card> all) {
  std::map<std::string, std::set<std::string>> filters;
  for (const Card& card : all)
    for (const auto& [filter, value] : card.tags) filters[filter].insert(value);
  std::string out;
  for (const auto& [filter, values] : filters) {
    if (values.size() < 2) continue;
    out += fmt::format(
        R"(<div class="filters"><span>{0}</span><button data-filter="{0}" data-value="" aria-pressed="true">all</button>)",
        escape(filter));
    for (const std::string& value : values)
      out += fmt::format(R"(<button data-filter="{0}" data-value="{1}" aria-pressed="false">{1}</button>)",
                         escape(filter), escape(value));
    out += "</div>\n";
  }
  out += fmt::format("<p class=\"lead shown\">{} shown</p>\n<div class=\"cards\">", all.size());
  for (const Card& card : all) {
    std::string tags;
    for (const auto& [filter, value] : card.tags)
      tags += fmt::format(R"({}"{}":"{}")", tags.empty() ? "" : ",", filter, value);
    out += fmt::format(
        R"(<section class="card" data-tags="{}"><header><b>{}</b><span>{}</span></header><div class="pictures">)",
        escape("{" + tags + "}"), escape(card.title), escape(card.subtitle));
    for (size_t k = 0; k < card.pictures.size(); ++k)
      out += fmt::format("<figure>{}<figcaption>{}</figcaption></figure>", card.pictures[k], k + 1);
    out += "</div>";
    if (!card.text.empty()) out += "<p>" + escape(card.text) + "</p>";
    out += "<dl>";
    for (const auto& [label, value] : card.facts)
      out += fmt::format("<dt>{}</dt><dd>{}</dd>", escape(label), escape(value));
    out += "</dl>";
    for (const auto& [label, value] : card.details)
      out += fmt::format("<details><summary>{}</summary><pre>{}</pre></details>", escape(label), escape(value));
    out += "</section>\n";
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
