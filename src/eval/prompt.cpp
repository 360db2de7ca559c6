#include "ssl4rl/eval/prompt.h"

#include <array>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/text/unicode.h"

namespace ssl4rl::eval {
namespace {

constexpr std::string_view kSelect = "Please select the correct answer from the options above.";
constexpr std::string_view kSelectChinese = "\u8bf7\u76f4\u63a5\u56de\u7b54\u9009\u9879\u5b57\u6bcd\u3002";
constexpr std::string_view kThinkFirst =
    "Answer this multiple-choice question. Think step by step before answering. The last line of your response should "
    "be of the following format: "
    "<think>step-by-step reasoning</think> <answer>$LETTER</answer>, where LETTER is one of the options.";

// The parts that a multiple-choice prompt is put together from, each with its line break; empty where there is none.
struct Parts {
  std::string hint, question, options;
};

Parts parts_of(const Dataset& dataset, size_t row) {
  Parts parts;
  if (const io::Cell& hint = dataset.cell("hint", row)) parts.hint = fmt::format("Hint: {}\n", *hint);
  parts.question = fmt::format("Question: {}\n", dataset.cell("question", row).value_or("nan"));
  for (char letter = 'A'; letter <= 'Z'; ++letter)
    if (const io::Cell& option = dataset.cell({&letter, 1}, row))
      parts.options += fmt::format("{}{}. {}\n", parts.options.empty() ? "Options:\n" : "", letter, *option);
  return parts;
}

// "Please select …" stands only where there are options.
std::string toolkit_multiple_choice(const Parts& parts) {
  const std::string text = parts.hint + parts.question + parts.options;
  return parts.options.empty() ? text : fmt::format("{}{} \n", text, kSelect);
}

std::string toolkit_text(const Dataset& dataset, size_t row) {
  const auto cell = [&](const char* column) { return dataset.cell(column, row).value_or("nan"); };
  switch (dataset.benchmark.kind) {
    case Kind::kMultipleChoice:
    case Kind::kMmvp:
      return toolkit_multiple_choice(parts_of(dataset, row));
    case Kind::kCvBench:
      return cell("prompt");
    case Kind::kMmeRealWorld:
      return fmt::format(
          "{} {}\nSelect the best answer to the above multiple-choice question based on the image. Respond with only "
          "the letter (A, B, C, D, or E) of the "
          "correct option. \nThe best answer is:",
          cell("question"), cell("multi-choice options"));
    case Kind::kYesNo:
    case Kind::kHallusionBench:
    case Kind::kPope:
    case Kind::kMme:
    case Kind::kExactAnswer:
      return cell("question");
  }
  return {};
}

bool has_chinese(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const char32_t c = text::next_code_point(text, at);
    if (c >= 0x4E00 && c <= 0x9FFF) return true;
  }
  return false;
}

std::string without_space_at_end(const std::string& text) {
  const std::string marked = "x" + text;  // strip() only at the end
  return std::string(text::strip(marked).substr(1));
}

std::string qwen_text(const Dataset& dataset, size_t row) {
  const Kind kind = dataset.benchmark.kind;
  if (dataset.benchmark.custom) return toolkit_text(dataset, row);
  if (kind == Kind::kHallusionBench || kind == Kind::kPope)
    return toolkit_text(dataset, row) + " Please answer yes or no.";
  if (!is_multiple_choice(kind)) return toolkit_text(dataset, row);
  const Parts parts = parts_of(dataset, row);
  std::string text = parts.hint + parts.question + parts.options;
  if (!parts.options.empty()) text += has_chinese(text) ? kSelectChinese : kSelect;
  return without_space_at_end(text);
}

std::string ssl4rl_text(const Dataset& dataset, size_t row) {
  if (dataset.benchmark.kind != Kind::kMultipleChoice && dataset.benchmark.kind != Kind::kMmvp)
    return toolkit_text(dataset, row);
  const Parts parts = parts_of(dataset, row);
  const std::string text = parts.hint + parts.question + parts.options;
  return parts.options.empty() ? text : text + std::string(kThinkFirst);
}

constexpr std::array<std::string_view, 6> kPlaceholders{"{hint}",   "{question}", "{options}",
                                                        "{select}", "{think}",    "{prompt}"};

void check_template(const std::string& text, const std::string& file) {
  bool asks = false;
  for (size_t at = 0; (at = text.find('{', at)) != std::string::npos; ++at) {
    const size_t end = text.find('}', at);
    if (end == std::string::npos) break;
    const std::string name = text.substr(at, end - at + 1);
    if (std::find(kPlaceholders.begin(), kPlaceholders.end(), name) == kPlaceholders.end())
      fail("{}: unknown placeholder {}; there are {}", file, name, fmt::join(kPlaceholders, " "));
    asks = asks || name == "{question}" || name == "{prompt}";
  }
  if (!asks) fail("{}: the template needs {{question}} or {{prompt}}", file);
}

std::string fill_template(const std::string& pattern, const Dataset& dataset, size_t row) {
  const Parts parts = parts_of(dataset, row);
  std::string text;
  for (size_t at = 0; at < pattern.size();) {
    const size_t open = pattern.find('{', at), close = open == std::string::npos ? open : pattern.find('}', open);
    text += pattern.substr(at, close == std::string::npos ? close : open - at);
    if (close == std::string::npos) break;
    const std::string name = pattern.substr(open, close - open + 1);
    at = close + 1;
    if (name == "{hint}") text += parts.hint;
    if (name == "{question}") text += parts.question;
    if (name == "{options}") text += parts.options;
    if (name == "{select}") text += parts.options.empty() ? "" : fmt::format("{} \n", kSelect);
    if (name == "{think}") text += kThinkFirst;
    if (name == "{prompt}") text += toolkit_text(dataset, row);
  }
  return text;
}

}  // namespace

PromptStyle::PromptStyle(const std::string& name) : name_(name) {
  if (name == "toolkit" || name == "qwen" || name == "ssl4rl") return;
  if (!std::filesystem::is_regular_file(name))
    fail("--prompt {}: expected toolkit, ssl4rl, qwen or the file of a template", name);
  template_ = io::read_file(name);
  check_template(template_, name);
}

std::string PromptStyle::text(const Dataset& dataset, size_t row) const {
  if (!template_.empty()) return fill_template(template_, dataset, row);
  if (name_ == "qwen") return qwen_text(dataset, row);
  if (name_ == "ssl4rl") return ssl4rl_text(dataset, row);
  return toolkit_text(dataset, row);
}

std::vector<text::Message> PromptStyle::messages(const Dataset& dataset, size_t row) const {
  text::Message message{"user", {}};
  for (size_t i = 0; i < dataset.row_pictures[row].size(); ++i)
    message.content.push_back({text::ContentPart::Kind::kImage, {}});
  message.content.push_back({text::ContentPart::Kind::kText, text(dataset, row)});
  return {message};
}

}  // namespace ssl4rl::eval
