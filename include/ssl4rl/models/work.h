// The arithmetic that a forward pass cannot do without: products and attention, a multiplication and an addition
// counting as two. A group's prompt and its images count once. For comparing measured speeds with the machine's peak.
#pragma once

#include "ssl4rl/models/processor.h"

namespace ssl4rl::models {

/// Floating-point operations, by part. A backward pass needs twice as much.
struct Work {
  double vision = 0, prompt = 0, completion = 0, head = 0;

  [[nodiscard]] double total() const { return vision + prompt + completion + head; }
};

/// One prompt with `samples` completions of `length` tokens, the output layer on the completions' tokens alone.
[[nodiscard]] Work forward_work(const ModelConfig& config, const Prompt& prompt, int64_t samples, int64_t length);

}  // namespace ssl4rl::models
