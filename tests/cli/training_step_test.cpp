// Training steps against the peers', from the same recorded rollouts (scripts/make_training_fixtures.py).
#include <gtest/gtest.h>

#include <cmath>

#include "support/training.h"

namespace ssl4rl {
namespace {

using Json = nlohmann::json;

// The fixtures' count sketch of a change of weights.
std::vector<double> sketch_of(const std::map<std::string, at::Tensor>& change, size_t size) {
  std::vector<double> buckets(size, 0.0);
  uint64_t index = 0;
  for (const auto& [name, tensor] : change) {
    const at::Tensor flat = tensor.contiguous();
    for (int64_t i = 0; i < flat.numel(); ++i, ++index) {
      uint64_t h = index + 0x9E3779B97F4A7C15u;
      h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9u;
      h = (h ^ (h >> 27)) * 0x94D049BB133111EBu;
      h ^= h >> 31;
      buckets[h % size] += (h >> 63 ? -1 : 1) * flat.const_data_ptr<double>()[i];
    }
  }
  return buckets;
}

double norm(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

const std::map<std::string, Json>& cases() {
  static const auto by_name = [] {
    std::map<std::string, Json> result;
    const auto file = io::read_json(test_data() / "training/cases.json");
    for (const auto& one : file["cases"]) result[one["name"].get<std::string>()] = one;
    return result;
  }();
  return by_name;
}

std::vector<std::string> names() {
  std::vector<std::string> result;
  for (const auto& [name, one] : cases()) result.push_back(name);
  return result;
}

class TrainingStep : public testing::TestWithParam<std::string> {};

TEST_P(TrainingStep, EqualsThePeers) {
  const Json& expected = cases().at(GetParam());
  const TemporaryFolder folder;
  auto keys = expected["config"].get<std::map<std::string, Json>>();
  keys["rollout.replay"] = (test_data() / "training" / expected["rollouts"].get<std::string>()).string();
  ASSERT_EQ(run_training(folder.path(), keys), 0);

  const auto metrics = metrics_of(folder.path());
  ASSERT_EQ(metrics.size(), expected["loss"].size());
  for (size_t step = 0; step < metrics.size(); ++step) {
    EXPECT_NEAR(metrics[step]["loss"].get<double>(), expected["loss"][step].get<double>(), 1e-5);
    EXPECT_NEAR(metrics[step]["grad_norm"].get<double>() / expected["grad_norm"][step].get<double>(), 1, 1e-4);
  }
  const auto reference = expected["change_sketch"].get<std::vector<double>>();
  std::vector<double> difference = sketch_of(
      change_of_weights(folder.path() / fmt::format("run/checkpoints/step-{:06}", metrics.size())), reference.size());
  for (size_t i = 0; i < reference.size(); ++i) difference[i] -= reference[i];
  const double relative = norm(difference) / norm(reference);
  EXPECT_LT(relative, 1e-3);
  RecordProperty("relative_difference", fmt::format("{:.2e}", relative));
}

INSTANTIATE_TEST_SUITE_P(Peers, TrainingStep, testing::ValuesIn(names()),
                         [](const testing::TestParamInfo<std::string>& one) { return one.param; });

}  // namespace
}  // namespace ssl4rl
