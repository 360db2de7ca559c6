#include "ssl4rl/train/optimizer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <functional>

#include "ssl4rl/train/update.h"
#include "support/errors.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace ssl4rl::train {
namespace {

using at::Tensor;

// A matrix of the decoder, a bias of the decoder, a matrix of the vision tower.
class Optimizer : public testing::Test {
 protected:
  explicit Optimizer(at::ScalarType type = at::kFloat) {
    auto generator = at::detail::createCPUGenerator(3);
    for (Tensor& t : tensors_) t = at::randn({4, 3}, generator, at::TensorOptions().dtype(at::kFloat)).to(type);
    tensors_[1] = tensors_[1].select(1, 0).clone();
  }
  std::vector<models::Parameter> parameters() {
    std::vector<models::Parameter> table;
    const char* const names[] = {"matrix", "bias", "vision"};
    for (size_t i = 0; i < 3; ++i)
      table.push_back({names[i],
                       &tensors_[i],
                       tensors_[i].sizes().vec(),
                       i == 2 ? models::Part::kVision : models::Part::kLanguage,
                       {}});
    return table;
  }
  // Gradients that depend on the step, the same for every run.
  void set_gradients(int64_t step, double scale = 1) {
    for (size_t i = 0; i < 3; ++i)
      if (tensors_[i].requires_grad())
        tensors_[i].mutable_grad() =
            (tensors_[i].detach().to(at::kFloat).sin() * static_cast<double>(step + static_cast<int64_t>(i)) * scale)
                .to(tensors_[i].scalar_type());
  }

  // Lets another optimiser, which reads what was saved, go on from `middle`: it must end where the first one stands.
  void expect_continued(const std::filesystem::path& saved, const std::array<Tensor, 3>& middle,
                        const std::function<void(AdamW&)>& rest) {
    const std::array<Tensor, 3> end = copies();
    for (size_t i = 0; i < 3; ++i) tensors_[i] = middle[i].clone();
    AdamW resumed(parameters(), {}, config_);
    resumed.load_state(io::SafetensorsFile(saved));
    rest(resumed);
    for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(tensors_[i].detach(), end[i])) << i;
  }
  [[nodiscard]] std::array<Tensor, 3> copies() const {
    return {tensors_[0].detach().clone(), tensors_[1].detach().clone(), tensors_[2].detach().clone()};
  }

  Tensor tensors_[3];
  TrainConfig config_;
};

TEST_F(Optimizer, EqualsTheFormulaOfAdamWStepForStep) {
  config_.weight_decay = 0.1;
  config_.adam_beta1 = 0.8;
  config_.adam_beta2 = 0.95;
  AdamW optimizer(parameters(), {}, config_);
  std::vector<std::vector<double>> w(3), m(3), v(3);
  for (size_t i = 0; i < 3; ++i) {
    const Tensor flat = tensors_[i].detach().to(at::kDouble).flatten();
    w[i].assign(flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel());
    m[i].assign(w[i].size(), 0);
    v[i].assign(w[i].size(), 0);
  }
  for (int64_t step = 1; step <= 5; ++step) {
    set_gradients(step);
    const double lr = 0.01 * static_cast<double>(step);
    for (size_t i = 0; i < 3; ++i) {
      const Tensor g = tensors_[i].grad().to(at::kDouble).flatten().contiguous();
      for (size_t j = 0; j < w[i].size(); ++j) {
        const double gradient = g.const_data_ptr<double>()[j];
        if (i != 1) w[i][j] *= 1 - lr * 0.1;  // vectors are not decayed
        m[i][j] = 0.8 * m[i][j] + 0.2 * gradient;
        v[i][j] = 0.95 * v[i][j] + 0.05 * gradient * gradient;
        const double mean = m[i][j] / (1 - std::pow(0.8, step)), square = v[i][j] / (1 - std::pow(0.95, step));
        w[i][j] -= lr * mean / (std::sqrt(square) + 1e-8);
      }
    }
    optimizer.step(lr);
    optimizer.clear_gradients();
    for (size_t i = 0; i < 3; ++i) {
      const Tensor expected = at::tensor(w[i], at::kDouble).view(tensors_[i].sizes());
      EXPECT_LT(difference(tensors_[i].detach(), expected), 2e-6) << "tensor " << i << " step " << step;
    }
  }
}

TEST_F(Optimizer, FrozenPartsGetNoGradientAndNoState) {
  const Tensor before = tensors_[2].clone();
  AdamW optimizer(parameters(), {models::Part::kVision}, config_);
  EXPECT_FALSE(tensors_[2].requires_grad());
  EXPECT_TRUE(tensors_[0].requires_grad());
  EXPECT_EQ(optimizer.trainable(), 12 + 4);
  set_gradients(1);
  optimizer.step(0.1);
  EXPECT_TRUE(at::equal(tensors_[2], before));
  for (const auto& [name, tensor] : optimizer.state()) EXPECT_FALSE(name.starts_with("vision")) << name;
  EXPECT_EQ(error_of([&] {
              AdamW(parameters(), {models::Part::kVision, models::Part::kLanguage}, config_);
            }),
            "model.freeze: nothing is left to train");
}

TEST_F(Optimizer, ClippingScalesAllGradientsToTheNorm) {
  AdamW optimizer(parameters(), {}, config_);
  set_gradients(1);
  double squares = 0;
  for (const Tensor& t : tensors_) squares += t.grad().to(at::kDouble).square().sum().item<double>();
  const double norm = optimizer.gradient_norm();
  EXPECT_NEAR(norm, std::sqrt(squares), 1e-6);
  const Tensor direction = tensors_[0].grad().clone();
  optimizer.clip_gradients(norm, 2 * norm);
  EXPECT_TRUE(at::equal(tensors_[0].grad(), direction)) << "a norm below the limit changes nothing";
  optimizer.clip_gradients(norm, 0.5);
  EXPECT_NEAR(optimizer.gradient_norm(), 0.5, 1e-5);
  EXPECT_LT(difference(tensors_[0].grad(), direction * (0.5 / (norm + 1e-6))), 1e-7);
}

TEST_F(Optimizer, ItsStateContinuesBitForBit) {
  const TemporaryFolder folder;
  const auto run = [this](AdamW& by, int64_t first, int64_t last) {
    for (int64_t step = first; step <= last; ++step) {
      set_gradients(step);
      by.step(0.05);
    }
  };
  AdamW whole(parameters(), {}, config_);
  run(whole, 1, 3);
  io::write_safetensors(folder.path() / "state.safetensors", whole.state());
  const auto middle = copies();
  run(whole, 4, 6);
  expect_continued(folder.path() / "state.safetensors", middle, [&](AdamW& resumed) { run(resumed, 4, 6); });
}

TEST_F(Optimizer, MomentsInBfloat16FollowSmallChangesAndContinueBitForBit) {
  const TemporaryFolder folder;
  config_.optimizer_dtype = at::kBFloat16;
  AdamW optimizer(parameters(), {}, config_);
  const auto run = [this](AdamW& by, int64_t steps) {
    for (int64_t step = 0; step < steps; ++step) {
      for (Tensor& t : tensors_) t.mutable_grad() = at::ones_like(t.detach());
      by.step(1e-5);
    }
  };
  run(optimizer, 2000);
  io::write_safetensors(folder.path() / "state.safetensors", optimizer.state());
  const auto middle = copies();
  run(optimizer, 1000);
  // A sum of 1 - 0.999^3000; rounded to the nearest it would stand still near 0.34, where a step adds half a unit.
  for (const auto& [name, tensor] : optimizer.state())
    if (name == "matrix/exp_avg_sq") {
      EXPECT_EQ(tensor.scalar_type(), at::kBFloat16);
      EXPECT_NEAR(tensor.to(at::kFloat).mean().item<double>(), 0.950, 0.02);
    }
  expect_continued(folder.path() / "state.safetensors", middle, [&](AdamW& resumed) { run(resumed, 1000); });
}

TEST(Moments, RandomRoundingIsTheSameHoweverAParameterIsCut) {
  TrainConfig config;
  config.optimizer_dtype = at::kBFloat16;
  const int64_t n = (1 << 18) + 1000, cut = 777;
  const Tensor gradient = at::arange(n, at::kFloat).sin();
  const auto updated = [&](const std::vector<int64_t>& lengths) {
    std::vector<Tensor> second;
    int64_t begin = 0;
    for (const int64_t length : lengths) {
      const auto half = at::TensorOptions(at::kBFloat16);
      Moments m{at::zeros({length}, half), at::zeros({length}, half), at::zeros({}), {}, 3, begin};
      for (int step = 0; step < 3; ++step)
        update_adamw({&m}, {at::zeros({length})}, {gradient.narrow(0, begin, length)}, 1e-3, 0.1, config);
      second.push_back(m.second);
      begin += length;
    }
    return at::cat(second).to(at::kFloat);
  };
  const Tensor whole = updated({n}), exact = gradient.square() * (1 - std::pow(0.999, 3));
  EXPECT_TRUE(at::equal(whole, updated({cut, n - cut})));
  EXPECT_NEAR((whole.sum() / exact.sum()).item<double>(), 1, 1e-4) << "no value is preferred";
  EXPECT_LT(((whole - exact).abs() / exact.clamp_min(1e-20)).max().item<double>(), 3.0 / 128);
}

TEST_F(Optimizer, StateOfOtherParametersIsRefused) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "state.safetensors";
  AdamW all(parameters(), {}, config_);
  io::write_safetensors(file, all.state());
  AdamW fewer(parameters(), {models::Part::kVision}, config_);
  EXPECT_NE(
      error_of([&] { fewer.load_state(io::SafetensorsFile(file)); }).find("holds the state of other parameters too"),
      std::string::npos);
  io::write_safetensors(file, fewer.state());
  AdamW again(parameters(), {}, config_);
  EXPECT_NE(error_of([&] { again.load_state(io::SafetensorsFile(file)); }).find("has no vision/exp_avg"),
            std::string::npos);
}

class HalfOptimizer : public Optimizer {
 protected:
  HalfOptimizer() : Optimizer(at::kBFloat16) {}
};

TEST_F(HalfOptimizer, MastersCollectWhatTheHalfPrecisionWeightsCannotHold) {
  config_.weight_decay = 0;
  AdamW optimizer(parameters(), {}, config_);
  const Tensor before = tensors_[0].detach().to(at::kFloat).clone();
  // Each step is far below the weight's resolution; together they are not.
  for (int64_t step = 1; step <= 400; ++step) {
    tensors_[0].mutable_grad() = at::ones_like(tensors_[0].detach());
    optimizer.step(1e-4);
  }
  const Tensor moved = before - tensors_[0].detach().to(at::kFloat);
  EXPECT_LT(difference(moved, at::full_like(moved, 0.04)), 0.01) << "400 steps of 1e-4";
}

TEST_F(HalfOptimizer, ManyMicroBatchesAddUpInFloat32) {
  const AdamW optimizer(parameters(), {}, config_);
  for (int micro_batch = 0; micro_batch < 1000; ++micro_batch) (tensors_[0] * 0.0010004).sum().backward();
  EXPECT_EQ(tensors_[0].grad().scalar_type(), at::kFloat);
  EXPECT_LT(difference(tensors_[0].grad(), at::ones({4, 3})), 2e-3) << "in bfloat16 the sum would stand still at 0.5";
}

TEST_F(Optimizer, ANonFiniteUpdateIsSkippedCountedAndAtLastAnError) {
  config_.max_skipped = 2;
  const Log log(Log::Level::kOff);
  AdamW optimizer(parameters(), {}, config_);
  const Tensor before = tensors_[0].detach().clone();
  TrainerState state;
  const auto poisoned = [&] {
    set_gradients(1);
    tensors_[1].mutable_grad()[2] = NAN;
  };
  poisoned();
  EXPECT_TRUE(apply_update(optimizer, config_, 0.5, 0.1, state, log).skipped);
  EXPECT_TRUE(at::equal(tensors_[0].detach(), before));
  EXPECT_FALSE(tensors_[0].grad().defined()) << "the poisoned gradients are gone";
  set_gradients(1);
  EXPECT_TRUE(apply_update(optimizer, config_, INFINITY, 0.1, state, log).skipped);
  EXPECT_EQ(state.skipped_in_row, 2);
  set_gradients(1);
  EXPECT_FALSE(apply_update(optimizer, config_, 0.5, 0.1, state, log).skipped);
  EXPECT_EQ(state.skipped_in_row, 0);
  EXPECT_EQ(state.skipped_updates, 2);
  EXPECT_FALSE(at::equal(tensors_[0].detach(), before));
  const Tensor good = tensors_[0].detach().clone();
  for (int i = 0; i < 2; ++i) {
    poisoned();
    (void)apply_update(optimizer, config_, 0.5, 0.1, state, log);
  }
  poisoned();
  EXPECT_NE(error_of([&] { (void)apply_update(optimizer, config_, 0.5, 0.1, state, log); }).find("3 updates in a row"),
            std::string::npos);
  EXPECT_TRUE(at::equal(tensors_[0].detach(), good));
}

}  // namespace
}  // namespace ssl4rl::train
