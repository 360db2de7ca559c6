#include "ssl4rl/rl/loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace ssl4rl::rl {
namespace {

using at::Tensor;

struct Token {
  double policy, old, reference, advantage, weight;
};

// One clipped above, one clipped below, one inside, one out of the range on the side that the minimum does not clip.
const std::vector<Token> kTokens{{-0.5, -1.1, -0.9, 1.5, 0.3},
                                 {-2.0, -1.2, -1.0, -0.7, 0.2},
                                 {-1.00, -1.05, -1.3, 0.9, 0.4},
                                 {-0.3, -1.0, -0.2, -1.1, 0.1}};

double loss_of(const AlgorithmConfig& config, const std::vector<Token>& tokens) {
  double sum = 0;
  for (const Token& t : tokens) {
    const double r = std::exp(t.policy - t.old),
                 clipped = std::clamp(r, 1 - config.epsilon, 1 + config.upper_epsilon()), d = t.reference - t.policy;
    sum += t.weight * (-std::min(r * t.advantage, clipped * t.advantage) + config.beta * (std::exp(d) - d - 1));
  }
  return sum;
}

LossInputs inputs_of(const std::vector<Token>& tokens, bool with_reference) {
  const auto column = [&](double Token::*member) {
    std::vector<double> values;
    for (const Token& t : tokens) values.push_back(t.*member);
    return at::tensor(values, at::kDouble);
  };
  return {.logprob_n = column(&Token::policy).requires_grad_(),
          .old_n = column(&Token::old),
          .reference_n = with_reference ? column(&Token::reference) : Tensor(),
          .advantage_n = column(&Token::advantage),
          .lengths_S = {static_cast<int64_t>(tokens.size())},
          .weight_n = column(&Token::weight),
          .kl_weight_n = column(&Token::weight)};
}

TEST(Loss, EqualsTheClippedObjectiveWithK3) {
  for (const double beta : {0.0, 0.3}) {
    AlgorithmConfig config;
    config.beta = beta;
    config.epsilon_high = 0.3;
    LossSums sums;
    const Tensor loss = policy_loss(config, inputs_of(kTokens, beta > 0), sums);
    EXPECT_NEAR(loss.item<double>(), loss_of(config, kTokens), 1e-12);
    EXPECT_EQ(sums.clipped_low.read(), 1);
    EXPECT_EQ(sums.clipped_high.read(), 1);
    if (beta > 0) {
      double kl = 0;
      for (const Token& t : kTokens) kl += std::exp(t.reference - t.policy) - (t.reference - t.policy) - 1;
      EXPECT_NEAR(sums.kl.read(), kl, 1e-12);
    }
  }
}

TEST(Loss, ItsGradientIsTheNumericalOne) {
  AlgorithmConfig config;
  config.beta = 0.2;
  LossSums sums;
  const LossInputs inputs = inputs_of(kTokens, true);
  policy_loss(config, inputs, sums).backward();
  for (size_t i = 0; i < kTokens.size(); ++i) {
    auto up = kTokens, down = kTokens;
    up[i].policy += 1e-6;
    down[i].policy -= 1e-6;
    EXPECT_NEAR(inputs.logprob_n.grad()[static_cast<int64_t>(i)].item<double>(),
                (loss_of(config, up) - loss_of(config, down)) / 2e-6, 1e-8)
        << i;
  }
}

TEST(Loss, OnFreshRolloutsItIsThePolicyGradient) {
  AlgorithmConfig config;
  LossSums sums;
  LossInputs inputs = inputs_of(kTokens, false);
  inputs.old_n = inputs.logprob_n.detach();
  policy_loss(config, inputs, sums).backward();
  EXPECT_TRUE(at::allclose(inputs.logprob_n.grad(), -inputs.advantage_n * inputs.weight_n));
}

TEST(Loss, EveryVariantsGradientIsTheNumericalOne) {
  using Type = AlgorithmConfig::LossType;
  for (const auto compat : {AlgorithmConfig::Compat::kNone, AlgorithmConfig::Compat::kVerl})
    for (const auto type : {Type::kDapo, Type::kSapo})
      for (const auto level : {AlgorithmConfig::Level::kToken, AlgorithmConfig::Level::kSequence})
        for (const auto kl : {AlgorithmConfig::KlEstimator::kK1, AlgorithmConfig::KlEstimator::kK2,
                              AlgorithmConfig::KlEstimator::kK3, AlgorithmConfig::KlEstimator::kAbs}) {
          AlgorithmConfig config;
          config.compat = compat;
          config.loss_type = type;
          config.importance_sampling_level = level;
          config.kl_estimator = kl;
          config.beta = 0.2;
          config.delta = 1.4;
          config.epsilon_high = 0.3;
          if (level == AlgorithmConfig::Level::kSequence && compat == AlgorithmConfig::Compat::kVerl)
            continue;  // straight-through
          const Tensor x = inputs_of(kTokens, true).logprob_n.detach();
          const auto value = [&](const Tensor& logprob) {
            LossInputs inputs = inputs_of(kTokens, true);
            inputs.logprob_n = logprob;
            inputs.lengths_S = {3, 1};
            LossSums sums;
            return policy_loss(config, inputs, sums);
          };
          const Tensor leaf = x.clone().requires_grad_();
          value(leaf).backward();
          for (int64_t i = 0; i < x.size(0); ++i) {
            Tensor up = x.clone(), down = x.clone();
            up[i] += 1e-6;
            down[i] -= 1e-6;
            EXPECT_NEAR(leaf.grad()[i].item<double>(), (value(up) - value(down)).item<double>() / 2e-6, 1e-7);
          }
        }
}

TEST(Loss, VerlsSequenceRatioHasTheSameGradientAsTheMean) {
  AlgorithmConfig config;
  config.importance_sampling_level = AlgorithmConfig::Level::kSequence;
  std::vector<Tensor> gradients;
  for (const auto compat : {AlgorithmConfig::Compat::kNone, AlgorithmConfig::Compat::kVerl}) {
    config.compat = compat;
    LossInputs inputs = inputs_of(kTokens, false);
    inputs.lengths_S = {3, 1};
    inputs.weight_n = at::tensor({1 / 6.0, 1 / 6.0, 1 / 6.0, 1 / 2.0}, at::kDouble);  // means of means
    inputs.advantage_n = at::tensor({0.5, 0.5, 0.5, -1.0}, at::kDouble);              // one a sample
    LossSums sums;
    policy_loss(config, inputs, sums).backward();
    gradients.push_back(inputs.logprob_n.grad());
  }
  EXPECT_TRUE(at::allclose(gradients[0], gradients[1]));
}

TEST(Loss, CispoKeepsTheGradientOfClippedTokens) {
  AlgorithmConfig config;
  config.loss_type = AlgorithmConfig::LossType::kCispo;
  config.epsilon_high = 1.2;
  LossInputs inputs = inputs_of(kTokens, false);
  LossSums sums;
  policy_loss(config, inputs, sums).backward();
  const Tensor weight = (inputs.logprob_n.detach() - inputs.old_n).exp().clamp_max(1.2);
  EXPECT_TRUE(at::allclose(inputs.logprob_n.grad(), -weight * inputs.advantage_n * inputs.weight_n));
}

TEST(Loss, DeltaLimitsTheRatioWhereTheAdvantageIsNegative) {
  AlgorithmConfig config;
  config.delta = 1.5;
  LossSums sums;
  const std::vector<Token> token{{-0.3, -1.3, 0, -2, 1}};  // r = e
  LossInputs inputs = inputs_of(token, false);
  const Tensor loss = policy_loss(config, inputs, sums);
  EXPECT_NEAR(loss.item<double>(), 3, 1e-12);
  loss.backward();
  EXPECT_EQ(inputs.logprob_n.grad().item<double>(), 0);
}

TEST(Loss, TheEntropyBonusIsSubtracted) {
  AlgorithmConfig config;
  config.entropy_coef = 0.3;
  LossInputs inputs = inputs_of(kTokens, false);
  inputs.entropy_n = at::tensor({1.0, 2.0, 3.0, 4.0}, at::kDouble);
  inputs.entropy_weight_n = at::full({4}, 0.25, at::kDouble);
  LossSums sums;
  EXPECT_NEAR(policy_loss(config, inputs, sums).item<double>(), loss_of(config, kTokens) - 0.3 * 2.5, 1e-12);
}

TEST(Loss, ValuesAreClippedAroundTheOldOnes) {
  AlgorithmConfig config;
  config.cliprange_value = 0.2;
  PendingSum clipped;
  const auto one = [](double x) { return at::tensor({x}, at::kDouble); };
  // Far from the old value towards the return: the clipped error counts. Away from it: the plain one.
  EXPECT_NEAR(value_loss(config, one(1), one(0), one(1), one(1), clipped).item<double>(), 0.5 * 0.8 * 0.8, 1e-12);
  EXPECT_NEAR(value_loss(config, one(-1), one(0), one(1), one(1), clipped).item<double>(), 0.5 * 4, 1e-12);
  EXPECT_EQ(clipped.read(), 1);
}

TEST(TokenWeight, SharesOfAnUpdateFollowTheLossType) {
  const UpdateSize size{.rows = 3, .tokens = 11, .rollout_tokens = 40, .updates = 4, .max_completion_length = 20};
  const auto weight = [&](AlgorithmConfig::LossType type, int64_t length, AlgorithmConfig::Compat compat) {
    AlgorithmConfig config;
    config.loss_type = type;
    config.compat = compat;
    return token_weights(config, length, size).policy;
  };
  using Type = AlgorithmConfig::LossType;
  using Compat = AlgorithmConfig::Compat;
  const auto total = [&](Type type, Compat compat) {
    double sum = 0;
    for (const int64_t length : {3, 7, 1}) sum += static_cast<double>(length) * weight(type, length, compat);
    return sum;
  };
  for (const Compat compat : {Compat::kNone, Compat::kTrl, Compat::kVerl}) {
    EXPECT_NEAR(total(Type::kGrpo, compat), 1, 1e-15) << "a mean of means";
    EXPECT_NEAR(total(Type::kSapo, compat), 1, 1e-15) << "a mean of means";
    EXPECT_NEAR(total(Type::kBnpo, compat), 1, 1e-15) << "a mean over the update's tokens";
  }
  for (const Type type : {Type::kDapo, Type::kCispo}) {
    EXPECT_NEAR(total(type, Compat::kNone), 1, 1e-15) << "a mean over the update's tokens";
    EXPECT_NEAR(total(type, Compat::kTrl), 1.1, 1e-15) << "over the mean number of tokens of the rollout's updates";
  }
  EXPECT_NEAR(total(Type::kDrGrpo, Compat::kNone), 11.0 / 60, 1e-15) << "a sum over rows × max_completion_length";
  EXPECT_NEAR(total(Type::kDrGrpo, Compat::kVerl), 11.0 / 20, 1e-15) << "not divided by the rows";
  EXPECT_NEAR(weight(Type::kGrpo, 7, Compat::kNone), 1.0 / 21, 1e-15);
}

}  // namespace
}  // namespace ssl4rl::rl
