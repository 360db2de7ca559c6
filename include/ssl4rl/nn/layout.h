// How groups of prompt and responses lie in one row of packed tokens.
//
// All prompts come first, then all responses, group after group: [P1 P2 … | R11 R12 … R21 …]. A group's prompt stands
// there once, however many responses share it. There is no padding. Every span has at least one token.
#pragma once

#include <cstdint>
#include <vector>

namespace ssl4rl::nn {

struct Span {
  int64_t begin = 0, length = 0;
  [[nodiscard]] int64_t end() const { return begin + length; }
  bool operator==(const Span&) const = default;
};

struct GroupSpans {
  Span prompt;
  std::vector<Span> responses;  ///< one after the other

  /// All response tokens of the group; empty where there are none.
  [[nodiscard]] Span answers() const {
    return responses.empty() ? Span{} : Span{responses.front().begin, responses.back().end() - responses.front().begin};
  }
};

struct Layout {
  std::vector<GroupSpans> groups;
  int64_t prompt_tokens = 0;  ///< rows [0, prompt_tokens) are prompts
  int64_t tokens = 0;         ///< rows [prompt_tokens, tokens) are responses

  /// responses[i] are the lengths of group i's responses.
  static Layout from_lengths(const std::vector<int64_t>& prompts, const std::vector<std::vector<int64_t>>& responses);
};

}  // namespace ssl4rl::nn
