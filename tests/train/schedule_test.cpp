#include <gtest/gtest.h>

#include "ssl4rl/train/config.h"
#include "support/errors.h"

namespace ssl4rl::train {
namespace {

TrainConfig config(TrainConfig::Schedule schedule) {
  TrainConfig c;
  c.steps = 110;
  c.warmup_steps = 10;
  c.learning_rate = 2;
  c.min_lr_ratio = 0.1;
  c.lr_scheduler = schedule;
  return c;
}

TEST(Schedule, TheLearningRateRisesLinearlyThenFollowsItsLaw) {
  for (const auto schedule :
       {TrainConfig::Schedule::kConstant, TrainConfig::Schedule::kLinear, TrainConfig::Schedule::kCosine}) {
    const TrainConfig c = config(schedule);
    for (int64_t step = 1; step <= 10; ++step)
      EXPECT_DOUBLE_EQ(c.learning_rate_at(step), 2.0 * static_cast<double>(step) / 10);
    EXPECT_DOUBLE_EQ(c.learning_rate_at(11), 2);
  }
  EXPECT_DOUBLE_EQ(config(TrainConfig::Schedule::kConstant).learning_rate_at(110), 2);
  EXPECT_DOUBLE_EQ(config(TrainConfig::Schedule::kLinear).learning_rate_at(61), 2 * (0.1 + 0.9 * 0.5));
  EXPECT_NEAR(config(TrainConfig::Schedule::kCosine).learning_rate_at(61), 2 * (0.1 + 0.9 * 0.5), 1e-12);
  EXPECT_NEAR(config(TrainConfig::Schedule::kCosine).learning_rate_at(36), 2 * (0.1 + 0.9 * 0.853553390593), 1e-9);
}

TEST(Schedule, ItNeverFallsBelowTheLeastShare) {
  for (const auto schedule : {TrainConfig::Schedule::kLinear, TrainConfig::Schedule::kCosine}) {
    const TrainConfig c = config(schedule);
    for (int64_t step = 12; step <= 110; ++step) {
      EXPECT_LT(c.learning_rate_at(step), c.learning_rate_at(step - 1));
      EXPECT_GT(c.learning_rate_at(step), 0.2);
    }
  }
}

TEST(Schedule, SettingsThatContradictEachOtherAreNamed) {
  TrainConfig c;
  EXPECT_EQ(error_of([&] { c.check(); }), "train.steps: required");
  c.steps = 5;
  c.prompts_per_step = 32;
  c.prompts_per_update = 12;
  EXPECT_EQ(error_of([&] { c.check(); }), "train.prompts_per_update: 12 does not divide train.prompts_per_step 32");
  c.prompts_per_update = 16;
  c.warmup_steps = 6;
  EXPECT_EQ(error_of([&] { c.check(); }), "train.warmup_steps: 6 exceeds train.steps 5");
  c.warmup_steps = 5;
  EXPECT_EQ(error_of([&] { c.check(); }), "no error");
}

}  // namespace
}  // namespace ssl4rl::train
