// From a model's text to an answer, as VLMEvalKit's exact-matching mode reads it. Rules, not judges.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ssl4rl::eval {

/// The toolkit's behaviour at a date; it changed twice.
enum class Profile {
  k2025_07,  ///< any whole-word letter counts
  k2025_08,  ///< the letter must be among the last four words; long texts are not searched for an option's text
  k2026_06,  ///< besides, "answer is X" counts
};
[[nodiscard]] const char* profile_name(Profile profile);

/// What is cut out of a response before it is read.
enum class Extract { kNone, kAnswerTag, kBoxed };
[[nodiscard]] const char* extract_name(Extract extract);
/// answer_tag: the first <answer>…</answer>, stripped; boxed: the last \boxed{…}, with balanced braces. A text without
/// one stays as it is.
[[nodiscard]] std::string extract_part(Extract extract, const std::string& text);

/// Letters and texts of a question's options, in the letters' order.
using Options = std::vector<std::pair<char, std::string>>;

/// An answer that was read, or why none was.
struct Reading {
  std::optional<std::string> answer;
  std::string why;  ///< empty where there is an answer
};

/// can_infer of the toolkit: the option that a text names; "Z" where the text refuses to answer.
struct MatcherSettings {
  Profile profile = Profile::k2026_06;
  bool verbose_guard =
      false;  ///< the toolkit's environment variable VERBOSE: a lone "A" in a sentence counts as an article
};
[[nodiscard]] Reading read_option(const std::string& prediction, const Options& options,
                                  const MatcherSettings& settings);

/// YOrN_Extraction: "Yes", "No", or nothing ("Unknown").
[[nodiscard]] Reading read_yes_no(const std::string& prediction);

/// MME-RealWorld's extract_characters_regex: a letter, or nothing.
[[nodiscard]] Reading read_mme_realworld(const std::string& prediction, Profile profile);

}  // namespace ssl4rl::eval
