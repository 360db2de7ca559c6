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

// The new pool's tensors may lie where the old one's did, or elsewhere: either way nothing old is replayed.
TEST_P(Recordings, OfAPoolThatHasGoneAreNotReplayed) {
  const auto recorder = make_recorder();
  const auto cache = model_.make_cache(), plain = model_.make_cache();
  models::StepRecorder steps(model_, *cache, *recorder);
  const models::Prompt* const prompt = &prompts_[0];
  for (int round = 0; round < 3; ++round) {
    const int64_t group = cache->add_group(prompt->length(), 2);
    ASSERT_EQ(plain->add_group(prompt->length(), 2), group);
    for (nn::KvCache* one : {cache.get(), plain.get()}) (void)model_.prefill({{prompt}}, {{group}}, *one);
    for (int64_t position = 0; position < 6; ++position) {
      const std::vector<nn::DecodeRow> rows{{group, 0, position}, {group, 1, position}};
      const std::vector<int64_t> ids{5 + round, 40 + position}, positions(2, prompt->next_position + position);
      const Tensor a = steps.decode(rows, ids, positions), b = model_.decode(rows, ids, positions, *plain);
      EXPECT_LT((a - b).abs().max().item<double>(), GetParam() == at::kFloat ? 1e-4 : 0.1);
    }
    EXPECT_EQ(steps.recorded(), static_cast<size_t>(round + 1));
    cache->drop_group(group);
    plain->drop_group(group);
  }
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
