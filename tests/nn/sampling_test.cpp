#include "ssl4rl/nn/sampling.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <set>

#include "ssl4rl/base/rng.h"
#include "support/tensors.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

std::vector<double> uniforms(size_t n, uint64_t seed) {
  Rng rng(seed, Stream::kSample);
  std::vector<double> u(n);
  for (double& x : u) x = rng.uniform();
  return u;
}

TEST(Sampling, FrequenciesFollowTheTemperedDistributionWithoutForbiddenIds) {
  constexpr int64_t kDraws = 40000, kVocabulary = 6;
  const Tensor logits = at::tensor({1.0f, 0.0f, 2.0f, -1.0f, 3.0f, 0.5f});
  const Forbidden forbidden({4}, kVocabulary);
  const double temperature = 1.7;
  const auto drawn =
      Sampler({temperature, 1, 0}, forbidden).draw(logits.expand({kDraws, kVocabulary}), uniforms(kDraws, 1));
  Tensor p = (logits / temperature).exp();
  p[4] = 0;
  p = p / p.sum();
  double chi = 0;
  for (int64_t id = 0; id < kVocabulary; ++id) {
    const double count = static_cast<double>(std::count(drawn.ids.begin(), drawn.ids.end(), id)),
                 expected = p[id].item<double>() * kDraws;
    if (id == 4) {
      EXPECT_EQ(count, 0);
    } else {
      chi += (count - expected) * (count - expected) / expected;
    }
  }
  EXPECT_LT(chi, 18.5);  // 4 degrees of freedom, p = 0.001
  const Tensor full = (logits / temperature).log_softmax(0);
  EXPECT_NEAR(drawn.logprobs[0], full[drawn.ids[0]].item<float>(), 1e-6) << "log-probs are of the full distribution";
  EXPECT_NEAR(drawn.masked_mass, full[4].exp().item<double>(), 1e-6);
}

TEST(Sampling, GreedyTakesTheLikeliestAllowedIdAndReportsLogProbsAtTemperatureOne) {
  const Tensor logits = at::tensor({1.0f, 5.0f, 3.0f}).unsqueeze(0);
  const Forbidden forbidden({1}, 3);
  const auto drawn = Sampler({0, 1, 0}, forbidden).draw(logits, {});
  EXPECT_EQ(drawn.ids[0], 2);
  EXPECT_NEAR(drawn.logprobs[0], logits.log_softmax(1)[0][2].item<float>(), 1e-6);
}

TEST(Sampling, TopKTopPAndMinPKeepExactlyTheirSets) {
  at::manual_seed(3);
  const Tensor logits = at::randn({1, 500}) * 2;
  const auto [sorted, order] = logits.softmax(1).sort(1, true);
  const Forbidden forbidden({}, 500);
  const auto seen = [&](const SamplingSettings& settings) {
    const auto drawn = Sampler(settings, forbidden).draw(logits.expand({20000, 500}), uniforms(20000, 2));
    return std::set<int64_t>(drawn.ids.begin(), drawn.ids.end());
  };
  const auto first = [&, order_ = order](int64_t n) {
    std::set<int64_t> ids;
    for (int64_t i = 0; i < n; ++i) ids.insert(order_[0][i].item<int64_t>());
    return ids;
  };
  EXPECT_EQ(seen({1, 1, 5}), first(5));
  int64_t nucleus = 0;
  for (double mass = 0; mass < 0.3; ++nucleus) mass += sorted[0][nucleus].item<double>();
  EXPECT_EQ(seen({1, 0.3, 0}), first(nucleus));
  EXPECT_EQ(seen({1, 0.01, 0}), first(1));
  EXPECT_EQ(seen({1, 0.999, 3}), first(3));
  int64_t likely = 0;
  while (sorted[0][likely].item<double>() >= 0.25 * sorted[0][0].item<double>()) ++likely;
  EXPECT_EQ(seen({.min_p = 0.25}), first(likely));
  EXPECT_EQ(seen({.top_k = 2, .min_p = 0.25}), first(std::min<int64_t>(likely, 2)));
  EXPECT_EQ(seen({.min_p = 1}), first(1));
}

TEST(Sampling, AtensOperatorsDrawTheSameTokens) {
  at::manual_seed(4);
  for (const int64_t vocabulary : {700, 1024, 2500}) {
    const Tensor logits = at::randn({300, vocabulary}) * 3;
    const Forbidden forbidden({0, 7, vocabulary - 1}, vocabulary);
    for (const SamplingSettings& settings : {SamplingSettings{1, 1, 0},
                                             {0.6, 0.9, 0},
                                             {1.3, 1, 0},
                                             {1.3, 1, 40},
                                             {1, 0.8, 20},
                                             {1, 1, 0, 0.1},
                                             {1.5, 0.95, 50, 0.05},
                                             {0, 1, 0}}) {
      const auto u = uniforms(300, 5);
      Sampler sampler(settings, forbidden);
      const auto a = sampler.draw(logits, u);
      for (const auto type : {at::kDouble, at::kFloat}) {
        const auto b = sampler.draw_by_operators(logits.to(type), u);
        int same = 0;
        for (size_t i = 0; i < 300; ++i) {
          same += a.ids[i] == b.ids[i];
          if (a.ids[i] == b.ids[i]) {
            EXPECT_NEAR(a.logprobs[i], b.logprobs[i], 1e-4);
          }
        }
        EXPECT_GE(same, 299) << vocabulary << ' ' << settings.temperature << ' ' << settings.top_p;
        EXPECT_NEAR(a.masked_mass, b.masked_mass, 1e-5);
      }
    }
  }
}

TEST(Sampling, TheEndsOfTheUnitIntervalAreLegal) {
  at::manual_seed(5);
  const Tensor logits = at::randn({2, 3000});
  const Forbidden forbidden({2999, 0}, 3000);
  for (const SamplingSettings& settings : {SamplingSettings{1, 1, 0}, {1, 0.5, 0}, {1, 1, 7}}) {
    Sampler sampler(settings, forbidden);
    const std::vector<double> ends{0.0, 1 - 1e-16};
    for (const auto& drawn : {sampler.draw(logits, ends), sampler.draw_by_operators(logits, ends)})
      for (const int64_t id : drawn.ids) EXPECT_TRUE(id > 0 && id < 2999);
  }
}

}  // namespace
}  // namespace ssl4rl::nn
