// Decoding on the device: the cache by flash attention, and steps that are recorded (nn/graph.h) and computed again
// with the recording's own tensors.
#include <gtest/gtest.h>

#include "ssl4rl/models/step_recorder.h"
#include "ssl4rl/rollout/engine.h"
#include "support/kv_cache_checks.h"
#include "support/model_cases.h"
#ifndef SSL4RL_CUDA
#include "support/stand_in_cuda.h"
#endif

namespace ssl4rl {
namespace {
using at::Tensor;

#ifdef SSL4RL_CUDA
std::shared_ptr<nn::GraphRecorder> make_recorder() { return nn::make_graph_recorder(at::Device(at::kCUDA, 0)); }
#else
using stand_in_cuda::make_recorder;
#endif

TEST(DeviceKvCache, EqualsThePlainOne) {
  for (const auto& [type, tolerance] :
       std::vector<std::pair<at::ScalarType, double>>{{at::kFloat, 1e-5}, {at::kBFloat16, 0.05}, {at::kHalf, 0.01}})
    nn::expect_equal_to_plain(
        [type = type](const nn::KvShape& shape) {
          return nn::make_kv_cache(shape, at::TensorOptions(type).device(at::kCUDA));
        },
        type, tolerance, {40}, at::kCUDA);
}

class Recordings : public testing::TestWithParam<at::ScalarType> {
 protected:
  Recordings()
      : model_(tiny_model(), std::make_shared<const models::Processor>(tiny_model()), at::Device(at::kCUDA, 0),
               GetParam()) {
    for (const ModelCase& c : model_cases())
      prompts_.push_back(model_.processor().encode(c.messages, c.images, c.min_pixels, c.max_pixels));
  }

  const at::NoGradGuard no_grad_;
  models::Model model_;
  std::vector<models::Prompt> prompts_;
};

// Groups that wait for room, so that pools empty and are made again, and samples longer than a pool's first tensors.
TEST_P(Recordings, OfDecodingStepsDrawWhatTheSameStepsDraw) {
  std::vector<rollout::Request> requests;
  for (size_t i = 0; i < prompts_.size(); ++i) requests.push_back({&prompts_[i], 3, i, 0});
  const rollout::SamplingPlan plan{{1, 1, 0}, 140, {}, 5};
  for (const int64_t room : {1 << 18, 1200}) {
    const auto draw = [&](std::shared_ptr<nn::GraphRecorder> recorder) {
      return rollout::Engine(model_, {.cache_tokens = room, .recorder = std::move(recorder)}).generate(requests, plan);
    };
    const rollout::Generation recorded = draw(make_recorder()), repeated = draw(nn::make_graph_recorder(at::kCPU));
    for (size_t i = 0; i < prompts_.size(); ++i)
      for (size_t s = 0; s < 3; ++s) {
        EXPECT_EQ(recorded.completions[i][s].ids, repeated.completions[i][s].ids);
        EXPECT_EQ(recorded.completions[i][s].logprobs, repeated.completions[i][s].logprobs);
      }
  }
}

// Steps of one group's samples, recorded and not.
class RecordedSteps {
 public:
  RecordedSteps(const models::Model& model, const models::Prompt& prompt) : model_(model), prompt_(prompt) {}

  [[nodiscard]] int64_t add_group(int64_t samples) {
    const int64_t group = cache_->add_group(prompt_.length(), samples);
    EXPECT_EQ(plain_->add_group(prompt_.length(), samples), group);
    for (nn::KvCache* one : {cache_.get(), plain_.get()}) (void)model_.prefill({{&prompt_}}, {{group}}, *one);
    return group;
  }
  void drop_group(int64_t group) {
    cache_->drop_group(group);
    plain_->drop_group(group);
  }
  void expect_equal(int64_t group, int64_t samples, int64_t position) {
    std::vector<nn::DecodeRow> rows;
    std::vector<int64_t> ids;
    for (int64_t s = 0; s < samples; ++s) {
      rows.push_back({group, s, position});
      ids.push_back(5 + (11 * position + 7 * s + drawn_++) % 90);
    }
    const std::vector<int64_t> positions(rows.size(), prompt_.next_position + position);
    const Tensor a = steps_.decode(rows, ids, positions), b = model_.decode(rows, ids, positions, *plain_);
    EXPECT_LT((a - b).abs().max().item<double>(), model_.dtype() == at::kFloat ? 1e-4 : 0.1) << position;
  }
  [[nodiscard]] size_t recorded() const { return steps_.recorded(); }

 private:
  const models::Model& model_;
  const models::Prompt& prompt_;
  const std::shared_ptr<nn::GraphRecorder> recorder_ = make_recorder();
  const std::unique_ptr<nn::KvCache> cache_ = model_.make_cache(), plain_ = model_.make_cache();
  models::StepRecorder steps_{model_, *cache_, *recorder_};
  int64_t drawn_ = 0;
};

// The new pool's tensors may lie where the old one's did, or elsewhere: either way nothing old is replayed.
TEST_P(Recordings, OfAPoolThatHasGoneAreNotReplayed) {
  RecordedSteps steps(model_, prompts_[0]);
  for (size_t round = 1; round <= 3; ++round) {
    const int64_t group = steps.add_group(2);
    for (int64_t position = 0; position < 6; ++position) steps.expect_equal(group, 2, position);
    EXPECT_EQ(steps.recorded(), round);
    steps.drop_group(group);
  }
}

TEST_P(Recordings, ReadTheirInputsWhereAStepOfMoreRowsHasPutThem) {
  RecordedSteps steps(model_, prompts_[0]);
  const int64_t group = steps.add_group(12);
  int64_t position = 0;
  for (const int64_t samples : {12, 12}) steps.expect_equal(group, samples, position++);
  for (const int64_t samples : {3, 3, 2}) steps.expect_equal(group, samples, position++);
  const int64_t larger = steps.add_group(20);
  position = 0;
  for (const int64_t samples : {3, 20, 20, 3, 3, 12}) steps.expect_equal(larger, samples, position++);
  steps.expect_equal(group, 2, 5);
}

INSTANTIATE_TEST_SUITE_P(Types, Recordings, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& one) { return one.param == at::kFloat ? "Float32" : "Bfloat16"; });

TEST(Recording, ComputesWithTheTensorsItWasMadeWith) {
  const Tensor x = at::ones({3}, at::kCUDA);
  Tensor y = x;
  const auto recorder = make_recorder();
  const auto graph = recorder->record([&] { return (y * 2).view({3, 1}).add(1); });
  x.fill_(5);
  y = at::zeros({3}, at::kCUDA);
  EXPECT_TRUE(at::equal(graph->replay().cpu(), at::full({3, 1}, 11.0f)));
}

TEST(Recording, EndsWhereTheHostWouldWait) {
  const Tensor x = at::ones({3}, at::kCUDA);
  for (const nn::GraphRecorder::Work& work :
       std::vector<nn::GraphRecorder::Work>{[&] { return x * x.sum().item(); }, [&] { return at::nonzero(x); }})
    EXPECT_EQ(make_recorder()->record(work), nullptr);
  EXPECT_EQ(x.sum().item<float>(), 3) << "the thread records no longer";
}

}  // namespace
}  // namespace ssl4rl
