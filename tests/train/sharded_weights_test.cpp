// Passes over a model whose weights are split over ranks (threads of the test), against the same passes of one whole
// model.
#include "ssl4rl/train/sharded_weights.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>

#include "ssl4rl/models/lora.h"
#include "ssl4rl/train/optimizer.h"
#include "support/family_cases.h"
#include "support/ranks.h"
#include "support/tensors.h"

namespace ssl4rl::train {
namespace {

using at::Tensor;
using models::Part;
using Direction = SharedPasses::Direction;

struct Setting {
  std::string name;
  std::set<Part> frozen;
  std::vector<std::string> adapted;  // products with adapters
};

const std::vector<Setting> kSettings{
    {"all", {}, {}},
    {"decoder alone", {Part::kVision, Part::kMerger, Part::kEmbeddings}, {}},
    {"tower alone", {Part::kLanguage, Part::kEmbeddings}, {}},
    {"merger alone", {Part::kVision, Part::kLanguage, Part::kEmbeddings}, {}},
    {"adapters", {}, {"q_proj", "down_proj"}},
    {"adapters in the tower's last block", {}, {R"(visual\.blocks\.1\.attn\.proj)", "o_proj"}},
};

// Ranks have different numbers of batches, with and without images.
std::vector<std::vector<size_t>> cases_of_ranks() { return {{2, 0, 3}, {1}, {}, {0, 5}}; }

class Sharded : public testing::TestWithParam<std::string> {
 protected:
  Sharded() {
    folder_path_ = tiny_model();
    if (GetParam() != "tiny") {
      write_family(folder_.path(), family_fixture(GetParam()));
      folder_path_ = folder_.path();
    }
  }

  [[nodiscard]] std::unique_ptr<models::Model> load(const Setting& setting, ShardedWeights* sharded = nullptr) const {
    models::Loaded take;
    if (sharded) take = [&](const models::Parameter& parameter) { sharded->add(parameter); };
    auto model = std::make_unique<models::Model>(folder_path_, std::make_shared<const models::Processor>(folder_path_),
                                                 at::kCPU, at::kFloat, take);
    if (setting.adapted.empty()) return model;
    models::add_adapters(*model, {.rank = 2, .targets = setting.adapted, .vision = true}, 1, folder_path_);
    for (const auto& parameter : models::adapter_parameters(*model)) {
      if (parameter.name.ends_with("lora_B.weight"))
        parameter.tensor->copy_(drawn_tensor(parameter.name, parameter.shape));
      if (sharded) sharded->add(parameter);
    }
    return model;
  }
  static AdamW optimizer_of(models::Model& model, const Setting& setting, const Communicator& communicator,
                            std::shared_ptr<ShardedWeights> sharded) {
    return {setting.adapted.empty() ? model.parameters() : models::adapter_parameters(model),
            setting.frozen,
            TrainConfig{},
            Decay::kMatrices,
            communicator,
            std::move(sharded)};
  }
  static models::PackedBatch batch_of(const models::Model& model, size_t number, models::Prompt& prompt) {
    static const std::vector<ModelCase> cases = model_cases();
    prompt = model.processor().encode(cases[number].messages, cases[number].images, {}, 28 * 28 * 8);
    const std::vector<models::PackedGroup> groups{{&prompt, {cases[number].token_ids}}};
    return models::pack(groups, model.config().ids.image, at::kCPU);
  }

  TemporaryFolder folder_;
  std::filesystem::path folder_path_;
};

TEST_P(Sharded, PassesGiveTheGradientsOfAWholeModelWhoeverHasABatchOrImages) {
  const InterruptGuard interrupt;
  for (const Setting& setting : kSettings) {
    SCOPED_TRACE(setting.name);
    const auto whole = load(setting);
    AdamW expected = optimizer_of(*whole, setting, one_process(), nullptr);
    for (const auto& cases : cases_of_ranks())
      for (const size_t number : cases) {
        models::Prompt prompt;
        const Tensor sum = whole->completion_logprobs(batch_of(*whole, number, prompt), 1).logprob_T.sum();
        if (sum.requires_grad()) sum.backward();  // a tower alone has no part in a batch without images
      }
    const std::vector<Tensor> gradients = expected.take_gradients();
    with_ranks(4, [&](Communicator& communicator) {
      const auto sharded = std::make_shared<ShardedWeights>(communicator);
      const auto model = load(setting, sharded.get());
      model->set_keeper(sharded);
      AdamW optimizer = optimizer_of(*model, setting, communicator, sharded);
      SharedPasses passes({model.get()}, Direction::kForwardAndBackward, communicator, &interrupt);
      const auto cases = cases_of_ranks();
      for (const size_t number : cases[static_cast<size_t>(communicator.rank())]) {
        models::Prompt prompt;
        const models::PackedBatch batch = batch_of(*model, number, prompt);
        passes.begin(batch);
        model->completion_logprobs(batch, 1).logprob_T.sum().backward();
      }
      passes.finish();
      for (const auto& parameter : model->parameters())
        EXPECT_EQ(parameter.tensor->storage().nbytes(), 0u) << parameter.name;
      const std::vector<Tensor> own = optimizer.take_gradients();
      ASSERT_EQ(own.size(), gradients.size());
      for (size_t i = 0; i < own.size(); ++i) {
        SCOPED_TRACE(optimizer.parameters()[i].name);
        ASSERT_EQ(own[i].defined(), gradients[i].defined());
        if (!own[i].defined()) continue;
        const Shards layout(communicator, {gradients[i]});
        EXPECT_LT(difference(layout.gather(0, own[i]), gradients[i]),
                  1e-6 * (1 + gradients[i].abs().max().item<double>()));
      }
    });
  }
}

TEST_P(Sharded, UpdatesReachTheWholeWeightsAndWhatIsCollected) {
  const InterruptGuard interrupt;
  for (const Setting& setting : {kSettings[0], kSettings[4]}) {
    SCOPED_TRACE(setting.name);
    const auto whole = load(setting);
    AdamW expected = optimizer_of(*whole, setting, one_process(), nullptr);
    models::Prompt one;
    whole->completion_logprobs(batch_of(*whole, 3, one), 1).logprob_T.sum().backward();
    expected.step(0.01);
    const at::NoGradGuard no_grad;
    const Tensor logprobs = whole->completion_logprobs(batch_of(*whole, 3, one), 1).logprob_T;
    with_ranks(2, [&](Communicator& communicator) {
      const auto sharded = std::make_shared<ShardedWeights>(communicator);
      const auto model = load(setting, sharded.get());
      model->set_keeper(sharded);
      AdamW optimizer = optimizer_of(*model, setting, communicator, sharded);
      models::Prompt prompt;
      const models::PackedBatch batch = batch_of(*model, 3, prompt);
      {
        SharedPasses passes({model.get()}, Direction::kForwardAndBackward, communicator, &interrupt);
        if (communicator.first()) {
          passes.begin(batch);
          model->completion_logprobs(batch, 1).logprob_T.sum().backward();
        }
        passes.finish();
      }
      optimizer.step(0.01);
      const at::NoGradGuard none;
      {
        const WholeWeights here(*model, communicator, interrupt);
        EXPECT_LT(difference(model->completion_logprobs(batch, 1).logprob_T, logprobs), 1e-5);
      }
      SharedPasses passes({model.get()}, Direction::kForward, communicator, nullptr);
      if (!communicator.first()) {
        passes.begin(batch);
        EXPECT_LT(difference(model->completion_logprobs(batch, 1).logprob_T, logprobs), 1e-5);
      }
      passes.finish();
      const auto collected = sharded->collect(*model);
      ASSERT_EQ(collected != nullptr, communicator.first());
      if (!collected) return;
      const bool adapters = !setting.adapted.empty();
      auto left = adapters ? models::adapter_parameters(*collected) : collected->parameters();
      auto right = adapters ? models::adapter_parameters(*whole) : whole->parameters();
      for (size_t i = 0; i < left.size(); ++i)
        EXPECT_LT(difference(*left[i].tensor, right[i].tensor->detach()), 1e-4) << left[i].name;
    });
  }
}

TEST_P(Sharded, AStopEndsThePassesOfAllRanks) {
  const InterruptGuard interrupt;
  std::atomic<int> stopped = 0;
  with_ranks(3, [&](Communicator& communicator) {
    const auto sharded = std::make_shared<ShardedWeights>(communicator);
    const auto model = load({}, sharded.get());
    model->set_keeper(sharded);
    const at::NoGradGuard no_grad;
    try {
      SharedPasses passes({model.get()}, Direction::kForward, communicator, &interrupt);
      models::Prompt prompt;
      const models::PackedBatch batch = batch_of(*model, 2, prompt);
      for (int i = 0; i < 2 + communicator.rank(); ++i) {
        passes.begin(batch);
        (void)model->completion_logprobs(batch, 1);
        if (communicator.rank() == 1 && i == 1) InterruptGuard::request(SIGTERM);
      }
      passes.finish();
    } catch (const Interrupted&) {
      communicator.stop_together();
      ++stopped;
    }
  });
  EXPECT_EQ(stopped, 3);
}

INSTANTIATE_TEST_SUITE_P(Families, Sharded, testing::Values("tiny", "qwen3_vl"));

}  // namespace
}  // namespace ssl4rl::train
