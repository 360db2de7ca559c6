#include "ssl4rl/models/model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "ssl4rl/io/file.h"
#include "ssl4rl/models/vision.h"
#include "support/errors.h"
#include "support/model_cases.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace ssl4rl::models {
namespace {
namespace fs = std::filesystem;
using at::Tensor;

std::vector<double> logprobs_of(const Model& model, const ModelCase& c, double temperature) {
  const at::NoGradGuard no_grad;
  const Prompt prompt = model.processor().encode(c.messages, c.images, c.min_pixels, c.max_pixels);
  const std::vector<PackedGroup> groups{{&prompt, {c.token_ids}}};
  const Tensor values = model.completion_logprobs(pack(groups, model.config().ids.image, model.device()), temperature)
                            .logprob_T.to(at::kDouble)
                            .contiguous();
  return {values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel()};
}

std::vector<int64_t> greedy_of(const Model& model, const ModelCase& c, size_t tokens) {
  const at::NoGradGuard no_grad;
  const Prompt prompt = model.processor().encode(c.messages, c.images, c.min_pixels, c.max_pixels);
  const auto cache = model.make_cache();
  const Prompt* const one = &prompt;
  const int64_t group = cache->add_group(prompt.length(), 1);
  Tensor logits = model.prefill({&one, 1}, {&group, 1}, *cache);
  std::vector<int64_t> ids;
  while (true) {
    ids.push_back(nn::sample_tokens(logits, {0, 1, 0}, model.processor().forbidden(), {}).ids[0]);
    const auto& ends = model.processor().end_of_sequence();
    if (ids.size() == tokens || std::count(ends.begin(), ends.end(), ids.back()) > 0) return ids;
    const nn::DecodeRow row{group, 0, static_cast<int64_t>(ids.size()) - 1};
    const int64_t position = prompt.next_position + row.position;
    logits = model.decode({&row, 1}, {&ids.back(), 1}, {&position, 1}, *cache);
  }
}

void expect_parity(const Model& model, const std::vector<ModelCase>& cases, double tolerance) {
  for (const ModelCase& c : cases) {
    const auto plain = logprobs_of(model, c, 1), tempered = logprobs_of(model, c, 0.7);
    ASSERT_EQ(plain.size(), c.logprobs.size());
    for (size_t i = 0; i < plain.size(); ++i) {
      EXPECT_NEAR(plain[i], c.logprobs[i], tolerance) << c.id << " token " << i;
      EXPECT_NEAR(tempered[i], c.logprobs_at_0_7[i], 1.5 * tolerance) << c.id << " token " << i;
    }
    if (tolerance < 1e-3) {
      EXPECT_EQ(greedy_of(model, c, c.greedy_ids.size()), c.greedy_ids) << c.id;
    }
  }
}

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

// Log-probs and gradients of some groups, packed in the given order into as many batches.
struct Pass {
  std::map<std::pair<size_t, size_t>, Tensor> logprobs;  // (case, sample)
  std::vector<Tensor> gradients;
};

struct Sample {
  size_t which;
  std::vector<size_t> samples;
};

class Packing : public testing::Test {
 protected:
  Packing() : model_(load_tiny(tiny_model(), at::kDouble)), cases_(model_cases()) {
    for (const ModelCase& c : cases_) {
      prompts_.push_back(model_->processor().encode(c.messages, c.images, c.min_pixels, c.max_pixels));
      completions_.push_back({c.token_ids, c.greedy_ids, {c.greedy_ids.begin(), c.greedy_ids.begin() + 5}});
    }
    for (auto& parameter : model_->parameters()) parameter.tensor->set_requires_grad(true);
  }

  Pass run(const std::vector<std::vector<Sample>>& batches) {
    for (auto& parameter : model_->parameters()) parameter.tensor->mutable_grad() = Tensor();
    Pass pass;
    for (const auto& batch : batches) {
      std::vector<PackedGroup> groups;
      for (const Sample& sample : batch) {
        groups.push_back({&prompts_[sample.which], {}});
        for (const size_t s : sample.samples) groups.back().completions.emplace_back(completions_[sample.which][s]);
      }
      const Tensor logprobs =
          model_->completion_logprobs(pack(groups, model_->config().ids.image, at::kCPU), 0.9).logprob_T;
      int64_t begin = 0;
      Tensor loss = at::zeros({}, at::kDouble);
      for (const Sample& sample : batch)
        for (const size_t s : sample.samples) {
          const auto length = static_cast<int64_t>(completions_[sample.which][s].size());
          const Tensor own = logprobs.narrow(0, begin, length);
          pass.logprobs[{sample.which, s}] = own.detach().clone();
          loss = loss + own.sum() * static_cast<double>(1 + sample.which + 3 * s);  // each sample counts differently
          begin += length;
        }
      loss.backward();
    }
    for (auto& parameter : model_->parameters()) pass.gradients.push_back(parameter.tensor->grad().clone());
    return pass;
  }

  static void expect_equal(const Pass& a, const Pass& b) {
    ASSERT_EQ(a.logprobs.size(), b.logprobs.size());
    for (const auto& [key, value] : a.logprobs)
      EXPECT_LT(difference(value, b.logprobs.at(key)), 1e-11) << key.first << " " << key.second;
    for (size_t i = 0; i < a.gradients.size(); ++i)
      EXPECT_LT(difference(a.gradients[i], b.gradients[i]), 1e-10 * (1 + a.gradients[i].abs().max().item<double>()))
          << i;
  }

  std::unique_ptr<Model> model_;
  std::vector<ModelCase> cases_;
  std::vector<Prompt> prompts_;
  std::vector<std::vector<std::vector<int64_t>>> completions_;
};

TEST_F(Packing, ASharedPromptEqualsRepeatedPrompts) {
  expect_equal(run({{{3, {0, 1, 2}}}, {{2, {0, 1, 2}}}}),
               run({{{3, {0}}, {3, {1}}, {3, {2}}}, {{2, {0}}}, {{2, {1}}, {2, {2}}}}));
}

TEST_F(Packing, AnyPackingEqualsAnyOther) {
  const Pass together = run({{{0, {0, 1}}, {2, {1, 2}}, {4, {0}}, {5, {2, 0}}}});
  expect_equal(together, run({{{5, {0}}, {0, {1}}}, {{4, {0}}, {0, {0}}, {5, {2}}}, {{2, {2, 1}}}}));
}

TEST_F(Packing, RecomputationChangesNothing) {
  const Pass plain = run({{{2, {0, 1}}, {4, {1}}}});
  model_->set_recompute(true);
  expect_equal(plain, run({{{2, {0, 1}}, {4, {1}}}}));
}

TEST_F(Packing, ADecodedTokensLogProbEqualsTheFullForwards) {
  const at::NoGradGuard no_grad;
  const Pass full = [&] {
    Pass pass;
    for (size_t which = 0; which < cases_.size(); ++which) {
      const std::vector<PackedGroup> groups{{&prompts_[which], {completions_[which][0], completions_[which][1]}}};
      const Tensor logprobs =
          model_->completion_logprobs(pack(groups, model_->config().ids.image, at::kCPU), 1).logprob_T;
      const auto first = static_cast<int64_t>(completions_[which][0].size());
      pass.logprobs[{which, 0}] = logprobs.narrow(0, 0, first);
      pass.logprobs[{which, 1}] = logprobs.narrow(0, first, logprobs.size(0) - first);
    }
    return pass;
  }();
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    const auto model = load_tiny(tiny_model(), dtype);
    const auto cache = model->make_cache();
    std::vector<const Prompt*> prompts;
    std::vector<int64_t> groups;
    for (const Prompt& prompt : prompts_) {
      prompts.push_back(&prompt);
      groups.push_back(cache->add_group(prompt.length(), 2));
    }
    Tensor logits = model->prefill(prompts, groups, *cache).repeat_interleave(2, 0);
    for (size_t step = 0;; ++step) {
      const Tensor logp = logits.log_softmax(1);
      std::vector<nn::DecodeRow> rows;
      std::vector<int64_t> ids, positions, kept;
      int64_t row_number = 0;
      for (size_t which = 0; which < cases_.size(); ++which)
        for (size_t s = 0; s < 2; ++s) {
          const auto& tokens = completions_[which][s];
          if (step >= tokens.size()) continue;
          EXPECT_NEAR(logp[row_number][tokens[step]].item<double>(),
                      full.logprobs.at({which, s})[static_cast<int64_t>(step)].item<double>(),
                      dtype == at::kDouble ? 1e-11 : 2e-5);
          ++row_number;
          if (step + 1 >= tokens.size()) continue;
          rows.push_back({groups[which], static_cast<int64_t>(s), static_cast<int64_t>(step)});
          ids.push_back(tokens[step]);
          positions.push_back(prompts_[which].next_position + static_cast<int64_t>(step));
        }
      if (rows.empty()) break;
      logits = model->decode(rows, ids, positions, *cache);
    }
  }
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
