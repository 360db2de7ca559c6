// Short runs of the program on a CUDA device and on the host.
#pragma once

#include <gtest/gtest.h>

#include "support/images.h"
#include "support/training.h"

namespace ssl4rl {

/// What a run of the program on a device leaves behind.
struct Outcome {
  std::vector<nlohmann::json> metrics;
  std::map<std::string, at::Tensor> weights;
};

inline std::map<std::string, at::Tensor> weights_of(const std::filesystem::path& checkpoint) {
  const char* const file =
      std::filesystem::exists(checkpoint / "model.safetensors") ? "model.safetensors" : "adapter_model.safetensors";
  const io::SafetensorsFile tensors(checkpoint / file);
  std::map<std::string, at::Tensor> weights;
  for (const auto& [name, info] : tensors.tensors()) weights[name] = tensors.tensor(name).to(at::kDouble);
  return weights;
}

class DeviceTraining : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    draw_pictures(images(), 12, 64);
    // A model that knows the form of an answer, so that rewards differ.
    ASSERT_EQ(run_training(folder_->path(),
                           small_run(images(), {{"train.steps", 60},
                                                {"train.prompts_per_step", 4},
                                                {"train.learning_rate", 3e-3},
                                                {"sft.labels", "random"}}),
                           "sft"),
              0);
  }
  static void TearDownTestSuite() { folder_.reset(); }
  static std::filesystem::path images() { return folder_->path() / "images"; }
  static std::filesystem::path start() { return folder_->path() / "run/checkpoints/step-000060"; }

  // Two steps.
  static Outcome run(const std::string& device, const Keys& more, const std::string& command = "train") {
    const TemporaryFolder folder;
    const Keys keys = with(small_run(images(), {{"model.path", start().string()},
                                                {"model.device", device},
                                                {"data.holdout_fraction", 0.2},
                                                {"train.steps", 2},
                                                {"train.learning_rate", 1e-4},
                                                {"rollout.num_generations", 6},
                                                {"rollout.max_completion_length", 16}}),
                           more);
    EXPECT_EQ(run_training(folder.path(), keys, command), 0);
    return {metrics_of(folder.path()), weights_of(folder.path() / "run/checkpoints/step-000002")};
  }

  // In float32 the device's results are the host's, but for the order of sums.
  static void expect_the_hosts_results(const Keys& keys, const std::string& command = "train") {
    const Outcome host = run("cpu", keys, command), device = run("cuda", keys, command);
    ASSERT_EQ(device.metrics.size(), 2u);
    EXPECT_GT(device.metrics[0]["grad_norm"].get<double>(), 1e-3) << "nothing is learned";
    for (size_t i = 0; i < 2; ++i)
      for (const char* key : {"loss", "grad_norm", "kl", "completion_length/mean", "value_loss"})
        if (host.metrics[i].contains(key) && host.metrics[i][key].is_number()) {
          const double expected = host.metrics[i][key];
          EXPECT_NEAR(device.metrics[i][key].get<double>(), expected, 1e-5 + 1e-4 * std::abs(expected)) << key;
        }
    ASSERT_EQ(device.weights.size(), host.weights.size());
    for (const auto& [name, weight] : host.weights)  // AdamW moves each by about the learning rate, twice
      EXPECT_LT((device.weights.at(name) - weight).abs().mean().item<double>(), 4e-6) << name;
  }

 private:
  static inline std::unique_ptr<TemporaryFolder> folder_;
};

}  // namespace ssl4rl
