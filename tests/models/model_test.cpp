#include "ssl4rl/models/model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "ssl4rl/io/file.h"
#include "ssl4rl/models/vision.h"
#include "support/errors.h"
#include "support/model_checks.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace ssl4rl::models {
namespace {
namespace fs = std::filesystem;
using at::Tensor;

TEST(Model, LogProbsAndGreedyContinuationsEqualTransformers) { expect_parity(*load_tiny(), model_cases(), 1e-5); }

TEST(Model, DoublePrecisionThroughTheGenericOperatorsAgrees) {
  expect_parity(*load_tiny(tiny_model(), at::kDouble), model_cases(), 1e-5);
}

// Copies of the tiny model in other published forms.
class ModelForms : public testing::Test {
 protected:
  ModelForms() {
    for (const auto& entry : fs::directory_iterator(tiny_model()))
      if (entry.path().extension() == ".json") fs::copy(entry.path(), folder_.path() / entry.path().filename());
    const io::SafetensorsModel files(tiny_model());
    for (const std::string& name : files.names()) tensors_.emplace_back(name, files.tensor(name));
  }
  void rename(const std::function<std::string(std::string)>& f) {
    for (auto& [name, tensor] : tensors_) name = f(name);
  }

  TemporaryFolder folder_;
  io::NamedTensors tensors_;
};

TEST_F(ModelForms, NamesOfTransformers4AreRead) {
  rename([](const std::string& name) {
    return name.starts_with("visual.") ? "model." + name : "model.language_model." + name.substr(6);
  });
  io::write_safetensors(folder_.path() / "model.safetensors", tensors_);
  expect_parity(*load_tiny(folder_.path()), model_cases(), 1e-5);
}

TEST_F(ModelForms, ATiedHeadThatIsStoredTwiceIsIgnored) {
  tensors_.emplace_back("lm_head.weight", tensors_[0].second.new_zeros({576, 64}));
  io::write_safetensors(folder_.path() / "model.safetensors", tensors_);
  expect_parity(*load_tiny(folder_.path()), model_cases(), 1e-5);
}

TEST_F(ModelForms, ShardsAreReadAsOneModel) {
  io::write_sharded_safetensors(folder_.path(), tensors_, 200'000);
  EXPECT_TRUE(fs::exists(folder_.path() / "model.safetensors.index.json"));
  expect_parity(*load_tiny(folder_.path()), model_cases(), 1e-5);
}

TEST_F(ModelForms, AnOutputLayerOfItsOwnIsUsed) {
  tensors_.emplace_back("lm_head.weight",
                        io::SafetensorsFile(test_data() / "untied_head.safetensors").tensor("lm_head.weight"));
  io::write_safetensors(folder_.path() / "model.safetensors", tensors_);
  auto config = io::read_json(folder_.path() / "config.json");
  config["tie_word_embeddings"] = false;
  io::write_file(folder_.path() / "config.json", config.dump());
  expect_parity(*load_tiny(folder_.path()), model_cases("model_cases_untied.json"), 1e-5);
}

TEST_F(ModelForms, HalfPrecisionFilesAreConvertedOnLoading) {
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    io::NamedTensors halves;
    for (const auto& [name, tensor] : tensors_) halves.emplace_back(name, tensor.to(type));
    io::write_safetensors(folder_.path() / "model.safetensors", halves);
    const auto model = load_tiny(folder_.path());
    for (const auto& [name, tensor] : hub_tensors(model->config(), model->weights())) {
      const auto original =
          std::find_if(halves.begin(), halves.end(), [&, n = name](const auto& h) { return h.first == n; });
      ASSERT_NE(original, halves.end());
      EXPECT_TRUE(at::equal(tensor, original->second.to(at::kFloat))) << name;
    }
  }
}

TEST_F(ModelForms, WeightsThatDoNotFitAreListed) {
  const auto complaint = [&](const io::NamedTensors& tensors) {
    io::write_safetensors(folder_.path() / "model.safetensors", tensors);
    return error_of([&] { load_tiny(folder_.path()); });
  };
  io::NamedTensors changed = tensors_;
  std::erase_if(changed, [](const auto& t) { return t.first == "model.norm.weight"; });
  changed.emplace_back("extra.weight", at::zeros({1}));
  for (auto& [name, tensor] : changed)
    if (name == "visual.merger.ln_q.weight") tensor = at::zeros({31});
  const std::string message = complaint(changed);
  EXPECT_NE(message.find("missing tensors: model.norm.weight"), std::string::npos) << message;
  EXPECT_NE(message.find("tensors of another shape: visual.merger.ln_q.weight [31] instead of [32]"), std::string::npos)
      << message;
  EXPECT_NE(message.find("unexpected tensors: extra.weight"), std::string::npos) << message;
}

TEST(Model, SavedDirectoriesReadBackTheSame) {
  const TemporaryFolder folder;
  const auto model = load_tiny();
  model->save(folder.path());
  const auto again = load_tiny(folder.path());
  const auto a = hub_tensors(model->config(), model->weights()), b = hub_tensors(again->config(), again->weights());
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].first, b[i].first);
    EXPECT_TRUE(at::equal(a[i].second, b[i].second)) << a[i].first;
  }
  // The same tensors under the same names and shapes as transformers wrote.
  const io::SafetensorsModel original(tiny_model()), saved(folder.path());
  EXPECT_EQ(saved.names(), original.names());
  for (const std::string& name : saved.names()) EXPECT_EQ(saved.info(name).shape, original.info(name).shape) << name;
  EXPECT_EQ(io::read_file(folder.path() / "tokenizer.json"), io::read_file(tiny_model() / "tokenizer.json"));
}
TEST(Model, OnADeviceSharesWhatIsThereAndMovesTheRest) {
  const auto model = load_tiny();
  const auto here = model->on(at::kCPU), there = model->on(at::kMeta);
  const auto own = model->parameters(), shared = here->parameters(), moved = there->parameters();
  for (size_t i = 0; i < own.size(); ++i) {
    EXPECT_TRUE(own[i].tensor->is_same(*shared[i].tensor)) << own[i].name;
    EXPECT_TRUE(own[i].tensor->is_cpu()) << own[i].name;
    EXPECT_TRUE(moved[i].tensor->is_meta()) << own[i].name;
  }
  EXPECT_EQ(there->device(), at::kMeta);
  EXPECT_TRUE(there->weights().head.is_meta());
}

TEST(Model, WhetherTheTowerIsTrainedFollowsFromItsTensors) {
  const auto model = load_tiny();
  EXPECT_FALSE(model->trains_vision());
  for (auto& parameter : model->parameters())
    if (parameter.part == Part::kLanguage) parameter.tensor->set_requires_grad(true);
  EXPECT_FALSE(model->trains_vision());
  for (auto& parameter : model->parameters())
    if (parameter.part == Part::kMerger) parameter.tensor->set_requires_grad(true);
  EXPECT_TRUE(model->trains_vision());
}

TEST(Vision, WindowsCoverEveryUnitOnceAndNeverCrossImages) {
  const VisionConfig config = read_model_config(tiny_model()).vision;  // windows of 2 × 2 units
  const std::vector<Grid> grids{{1, 6, 10}, {1, 4, 4}, {1, 2, 2}};
  const VisionLayout layout = vision_layout(config, grids);
  std::vector<int64_t> order = layout.order;
  std::sort(order.begin(), order.end());
  for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], static_cast<int64_t>(i));
  EXPECT_EQ(order.size(), 15u + 4u + 1u);
  EXPECT_EQ(layout.image_lengths, (std::vector<int64_t>{60, 16, 4}));
  int64_t sum = 0;
  for (const int64_t length : layout.window_lengths) sum += length;
  EXPECT_EQ(sum, 80);
  EXPECT_EQ(layout.window_lengths.size(), 6u + 1u + 1u);
}

}  // namespace
}  // namespace ssl4rl::models
