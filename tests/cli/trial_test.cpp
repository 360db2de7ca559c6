// The choice of threads and type at the start of a run.
#include "trial.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "support/model_cases.h"

namespace ssl4rl::cli {
namespace {

constexpr Setting kFour{4, at::kFloat}, kTwo{2, at::kFloat}, kOne{1, at::kFloat}, kHalf{4, at::kBFloat16};

Setting chosen_by(const std::vector<std::pair<Setting, double>>& seconds) {
  std::vector<Setting> settings;
  for (const auto& [setting, time] : seconds) settings.push_back(setting);
  return choose_setting(settings, [&](const Setting& setting) {
    for (const auto& [other, time] : seconds)
      if (other == setting) return time;
    return 0.0;
  });
}

TEST(Trial, TheFirstSettingStaysUnlessAnotherIsDecisivelyFaster) {
  EXPECT_EQ(chosen_by({{kFour, 1.0}, {kTwo, 0.9}, {kOne, 0.8}}), kFour);
  EXPECT_EQ(chosen_by({{kFour, 1.0}, {kTwo, 0.5}, {kOne, 0.45}}), kTwo);
  EXPECT_EQ(chosen_by({{kFour, 1.0}, {kTwo, 0.5}, {kOne, 0.3}}), kOne);
  EXPECT_EQ(chosen_by({{kFour, 1.0}, {kTwo, 1.5}, {kHalf, 0.6}}), kHalf);
  EXPECT_EQ(chosen_by({{kFour, 1.0}, {kTwo, 0.8}, {kHalf, 0.7}}), kFour) << "0.7 is not decisively less than 0.8";
}

TEST(Trial, ThreadsAreHalvedDownToOne) {
  const std::vector<Setting> settings = possible_settings(6, false);
  ASSERT_EQ(settings.size(), 3U);
  EXPECT_EQ(settings[0], (Setting{6, at::kFloat}));
  EXPECT_EQ(settings[1], (Setting{3, at::kFloat}));
  EXPECT_EQ(settings[2], kOne);
  EXPECT_EQ(possible_settings(1, false).size(), 1U);
}

TEST(Trial, EverySettingIsMeasuredAndTheModelStaysAsItIs) {
  const int before = at::get_num_threads();
  const auto model = load_tiny();
  for (auto& parameter : model->parameters()) parameter.tensor->set_requires_grad(true);
  const at::Tensor weight = model->weights().layers[0].qkv.weight.detach().clone();
  for (const Setting& setting : {kTwo, kOne, Setting{1, at::kBFloat16}}) {
    EXPECT_GT(trial_seconds(*model, setting), 0);
    EXPECT_EQ(at::get_num_threads(), setting.threads);
  }
  for (auto& parameter : model->parameters()) EXPECT_FALSE(parameter.tensor->grad().defined()) << parameter.name;
  EXPECT_TRUE(at::equal(model->weights().layers[0].qkv.weight.detach(), weight));
  at::set_num_threads(before);
}

}  // namespace
}  // namespace ssl4rl::cli
