// What a model computes on a case, and its comparison with the reference's results.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>

#include "support/model_cases.h"

namespace ssl4rl {

inline std::vector<double> logprobs_of(const models::Model& model, const ModelCase& c, double temperature) {
  const at::NoGradGuard no_grad;
  const models::Prompt prompt = model.processor().encode(c.messages, c.images, c.min_pixels, c.max_pixels);
  const std::vector<models::PackedGroup> groups{{&prompt, {c.token_ids}}};
  const at::Tensor values =
      model.completion_logprobs(pack(groups, model.config().ids.image, model.device()), temperature)
          .logprob_T.to(at::kCPU, at::kDouble)
          .contiguous();
  return {values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel()};
}

inline std::vector<int64_t> greedy_of(const models::Model& model, const ModelCase& c, size_t tokens) {
  const at::NoGradGuard no_grad;
  const models::Prompt prompt = model.processor().encode(c.messages, c.images, c.min_pixels, c.max_pixels);
  const auto cache = model.make_cache();
  const models::Prompt* const one = &prompt;
  const int64_t group = cache->add_group(prompt.length(), 1);
  at::Tensor logits = model.prefill({&one, 1}, {&group, 1}, *cache);
  nn::Sampler sampler({.temperature = 0}, model.processor().forbidden());
  std::vector<int64_t> ids;
  while (true) {
    ids.push_back(sampler.draw(logits, {}).ids[0]);
    const auto& ends = model.processor().end_of_sequence();
    if (ids.size() == tokens || std::count(ends.begin(), ends.end(), ids.back()) > 0) return ids;
    const nn::DecodeRow row{group, 0, static_cast<int64_t>(ids.size()) - 1};
    const int64_t position = prompt.next_position + row.position;
    logits = model.decode({&row, 1}, {&ids.back(), 1}, {&position, 1}, *cache);
  }
}

inline void expect_parity(const models::Model& model, const std::vector<ModelCase>& cases, double tolerance) {
  for (const ModelCase& c : cases) {
    EXPECT_EQ(model.processor().encode(c.messages, c.images, c.min_pixels, c.max_pixels).ids, c.prompt_ids) << c.id;
    const auto plain = logprobs_of(model, c, 1), tempered = logprobs_of(model, c, 0.7);
    ASSERT_EQ(plain.size(), c.logprobs.size());
    for (size_t i = 0; i < plain.size(); ++i) {
      EXPECT_NEAR(plain[i], c.logprobs[i], tolerance) << c.id << " token " << i;
      EXPECT_NEAR(tempered[i], c.logprobs_at_0_7[i], 1.5 * tolerance) << c.id << " token " << i;
    }
    if (tolerance < 1e-3) {
      EXPECT_EQ(greedy_of(model, c, c.greedy_ids.size()), c.greedy_ids) << c.id;
    }
  }
}

}  // namespace ssl4rl
