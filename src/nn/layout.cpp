#include "ssl4rl/nn/layout.h"

#include "ssl4rl/base/error.h"

namespace ssl4rl::nn {

Layout Layout::from_lengths(const std::vector<int64_t>& prompts, const std::vector<std::vector<int64_t>>& responses) {
  SSL4RL_CHECK(responses.size() == prompts.size(), "{} prompts, {} groups of responses", prompts.size(),
               responses.size());
  Layout layout;
  const auto append = [&layout](int64_t length) {
    SSL4RL_CHECK(length > 0, "an empty span");
    layout.tokens += length;
    return Span{layout.tokens - length, length};
  };
  for (const int64_t length : prompts) layout.groups.push_back({append(length), {}});
  layout.prompt_tokens = layout.tokens;
  for (size_t i = 0; i < responses.size(); ++i)
    for (const int64_t length : responses[i]) layout.groups[i].responses.push_back(append(length));
  return layout;
}

}  // namespace ssl4rl::nn
