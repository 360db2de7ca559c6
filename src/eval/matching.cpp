#include "ssl4rl/eval/matching.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "ssl4rl/rewards/reward.h"
#include "ssl4rl/text/unicode.h"

namespace ssl4rl::eval {
namespace {

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

std::string replace_all(const std::string& text, std::string_view what, std::string_view by) {
  std::string out;
  size_t begin = 0;
  for (size_t at; (at = text.find(what, begin)) != std::string::npos; begin = at + what.size()) {
    out.append(text, begin, at - begin);
    out += by;
  }
  out.append(text, begin);
  return out;
}

// ---- multiple choice ----

// What Python's re.IGNORECASE takes for one of our letters: case, and the Turkish and long forms of i and s.
char folded(char32_t c) {
  if (c >= U'A' && c <= U'Z') return static_cast<char>(c - U'A' + U'a');
  if (c == U'\u0130' || c == U'\u0131') return 'i';
  if (c == U'\u017f') return 's';
  return c < 0x80 ? static_cast<char>(c) : '\0';
}

// A cursor over code points for the one pattern that is searched for.
class Scanner {
 public:
  Scanner(std::string_view text, size_t at) : text_(text), at_(at) {}

  bool word(std::string_view letters) {
    size_t at = at_;
    for (const char letter : letters) {
      if (at >= text_.size() || folded(text::next_code_point(text_, at)) != letter) return false;
    }
    at_ = at;
    return true;
  }
  bool space() {
    const std::string_view rest = text_.substr(at_);
    size_t begin = 0;
    for (size_t at = 0; at < rest.size(); begin = at) {
      (void)text::next_code_point(rest, at);
      if (!text::strip(rest.substr(begin, at - begin)).empty()) break;
    }
    at_ += begin;
    return begin > 0;
  }
  void stars() {
    while (at_ < text_.size() && text_[at_] == '*') ++at_;
  }
  [[nodiscard]] char letter() const {
    size_t at = at_;
    return at_ < text_.size() ? folded(text::next_code_point(text_, at)) : '\0';
  }

 private:
  std::string_view text_;
  size_t at_;
};

// The first hit of (?i)(?:correct\s+)?answer\s+is\s+\**([ABCD])\**, upper-cased.
std::optional<char> stated_answer(std::string_view text) {
  for (size_t at = 0; at < text.size(); (void)text::next_code_point(text, at)) {
    Scanner scan(text, at);
    if (!scan.word("answer") || !scan.space() || !scan.word("is") || !scan.space()) continue;
    scan.stars();
    if (const char c = scan.letter(); c >= 'a' && c <= 'd') return static_cast<char>(c - 'a' + 'A');
  }
  return {};
}

struct OptionStage {
  std::optional<std::string> answer;
  std::string why;
};

OptionStage read_letter(const std::string& prediction, const Options& options, const MatcherSettings& settings) {
  constexpr size_t kLastWords = 4;
  constexpr std::array<std::string_view, 4> kRefusals{
      "Sorry, I can't help with images of people yet.", "I can't process this file.",
      "I'm sorry, but without the image provided", "Cannot determine the answer"};
  if (contains(prediction, "Failed to obtain answer via API")) return {{}, "the text is the toolkit's failure message"};
  for (const std::string_view refusal : kRefusals)
    if (contains(prediction, refusal)) return {"Z", {}};

  std::string spaced = prediction;
  for (char& c : spaced)
    if (std::string_view(".()[],:;!*#{}").find(c) != std::string_view::npos) c = ' ';
  const auto words = text::split_space(spaced);
  const auto first_of = [&words](std::string_view word) {
    return std::find(words.begin(), words.end(), word) - words.begin();
  };
  std::string present;
  for (const auto& [letter, text] : options)
    if (first_of({&letter, 1}) < static_cast<ptrdiff_t>(words.size())) present += letter;

  std::string why = "no option letter stands alone";
  if (present.size() == 1) {
    const auto place = static_cast<size_t>(first_of(present));
    if (settings.verbose_guard && words.size() > 3 && first_of("A") < static_cast<ptrdiff_t>(words.size()))
      return {{}, "the A may be an article (VERBOSE)"};
    if (settings.profile == Profile::k2025_07 || place + kLastWords >= words.size()) return {present, {}};
    why = fmt::format("the letter {} is not among the last {} words", present, kLastWords);
  } else if (present.size() > 1) {
    std::string list;
    for (const char letter : present) list += fmt::format("{}{}", list.empty() ? "" : ", ", letter);
    why = "several option letters: " + list;
  } else if (first_of("Z") < static_cast<ptrdiff_t>(words.size())) {
    return {"Z", {}};
  }
  if (settings.profile == Profile::k2026_06)
    if (const auto letter = stated_answer(prediction))
      if (std::any_of(options.begin(), options.end(), [&](const auto& option) { return option.first == *letter; }))
        return {std::string(1, *letter), {}};
  return {{}, std::move(why)};
}

OptionStage read_text(const std::string& prediction, const Options& options, Profile profile) {
  const std::string lower = text::lower(prediction);
  size_t total = 0;
  for (const auto& [letter, text] : options) total += text::length(text);
  if (profile != Profile::k2025_07 && text::length(lower) > 2 * total)
    return {{}, "the text is too long to be searched for an option's text"};
  std::string found;
  for (const auto& [letter, text] : options)
    if (contains(lower, text::lower(text))) found += letter;
  if (found.size() == 1) return {found, {}};
  return {{}, found.empty() ? "no option's text stands in it" : "several options' texts stand in it"};
}

// ---- yes or no ----

bool is_digit_at(std::string_view text, size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '9'; }

// The toolkit's process_punctuation.
std::string without_punctuation(const std::string& text) {
  bool comma_in_number = false;
  for (size_t at = 1; at + 1 < text.size(); ++at)
    comma_in_number = comma_in_number || (text[at] == ',' && is_digit_at(text, at - 1) && is_digit_at(text, at + 1));
  std::string result = text;
  for (const char mark : std::string_view(";/[]\"{}()=+\\_-><@`,?!")) {
    const bool beside_space = contains(text, std::string{mark, ' '}) || contains(text, std::string{' ', mark});
    result = replace_all(result, {&mark, 1}, beside_space || comma_in_number ? "" : " ");
  }
  // Full stops that no digit follows; a flag passed as a count limits them to 32.
  constexpr int kMostStops = 32;
  std::string out;
  int removed = 0;
  for (size_t at = 0; at < result.size(); ++at) {
    if (result[at] == '.' && removed < kMostStops && !is_digit_at(result, at + 1)) {
      ++removed;
    } else {
      out += result[at];
    }
  }
  return out;
}

}  // namespace

const char* profile_name(Profile profile) {
  switch (profile) {
    case Profile::k2025_07:
      return "2025-07";
    case Profile::k2025_08:
      return "2025-08";
    case Profile::k2026_06:
      return "2026-06";
  }
  return "";
}

const char* extract_name(Extract extract) {
  switch (extract) {
    case Extract::kNone:
      return "none";
    case Extract::kAnswerTag:
      return "answer_tag";
    case Extract::kBoxed:
      return "boxed";
  }
  return "";
}

std::string extract_part(Extract extract, const std::string& text) {
  if (extract == Extract::kAnswerTag) return rewards::extract_answer(text).value_or(text);
  if (extract == Extract::kBoxed) {
    constexpr std::string_view kBoxed = "\\boxed{";
    const size_t open = text.rfind(kBoxed);
    if (open == std::string::npos) return text;
    int depth = 1;
    for (size_t at = open + kBoxed.size(); at < text.size(); ++at) {
      depth += text[at] == '{' ? 1 : text[at] == '}' ? -1 : 0;
      if (depth == 0) return text.substr(open + kBoxed.size(), at - open - kBoxed.size());
    }
  }
  return text;
}

Reading read_option(const std::string& prediction, const Options& options, const MatcherSettings& settings) {
  OptionStage letter = read_letter(prediction, options, settings);
  if (letter.answer) return {letter.answer, {}};
  OptionStage by_text = read_text(prediction, options, settings.profile);
  if (by_text.answer) return {by_text.answer, {}};
  return {{}, letter.why + "; " + by_text.why};
}

Reading read_yes_no(const std::string& prediction) {
  const std::string plain = without_punctuation(text::lower(prediction));
  const auto words = text::split_space(plain);
  const bool yes = std::find(words.begin(), words.end(), "yes") != words.end();
  const bool no = std::find(words.begin(), words.end(), "no") != words.end();
  if (yes != no) return {yes ? "Yes" : "No", {}};
  return {{}, yes ? "both yes and no stand in it" : "neither yes nor no stands alone"};
}

Reading read_mme_realworld(const std::string& prediction, Profile profile) {
  std::string text = prediction;
  if (profile == Profile::k2026_06)
    if (const auto tagged = rewards::extract_answer(prediction)) text = text::upper(*tagged);
  text = text::strip(text);
  static constexpr std::array<std::string_view, 4> kCommon{"The best answer is", "The correct answer is",
                                                           "The answer is", "The answer"};
  static constexpr std::array<std::string_view, 4> kNewer{"The best option is", "The correct option is",
                                                          "Best answer:", "Best option:"};
  // Two missing commas joined these in pairs.
  static constexpr std::array<std::string_view, 2> kOlder{"The best option isThe correct option is",
                                                          "Best answer:Best option:"};
  for (const std::string_view prefix : kCommon) text = replace_all(text, prefix, "");
  if (profile == Profile::k2026_06) {
    for (const std::string_view prefix : kNewer) text = replace_all(text, prefix, "");
  } else {
    for (const std::string_view prefix : kOlder) text = replace_all(text, prefix, "");
  }
  const size_t letter = text.find_first_of("ABCDE");
  if (letter != std::string::npos) return {text.substr(letter, 1), {}};
  if (text::split_space(text).size() > 10) return {{}, "more than ten words and none of the letters A to E"};
  const std::string lower = text::lower(text);
  for (const char c : std::string_view("abcde"))
    if (contains(fmt::format("({})", c), lower)) return {std::string(1, static_cast<char>(c - 'a' + 'A')), {}};
  return {{}, "none of the letters A to E stands in it"};
}

}  // namespace ssl4rl::eval
