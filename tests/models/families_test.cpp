// Every family against transformers, and the properties that make training and sampling agree: any packing gives the
// same log-probs and gradients, a cache the same as the full forward.
#include <gtest/gtest.h>

#include <map>

#include "ssl4rl/models/rope.h"
#include "support/errors.h"
#include "support/family_cases.h"
#include "support/model_checks.h"
#include "support/tensors.h"

namespace ssl4rl::models {
namespace {
namespace fs = std::filesystem;
using at::Tensor;

std::vector<std::string> fixture_names() {
  std::vector<std::string> names;
  for (const auto& family : family_fixtures()) names.push_back(family["name"]);
  return names;
}

class Families : public testing::TestWithParam<std::string> {
 protected:
  const nlohmann::ordered_json& fixture_ = family_fixture(GetParam());
  TemporaryFolder folder_;
};

TEST_P(Families, IdsLogProbsAndGreedyContinuationsEqualTransformersInBothFormsOfTheConfiguration) {
  for (const char* form : {"config", "hub_config"}) {
    write_family(folder_.path(), fixture_, form);
    expect_parity(*load_tiny(folder_.path()), parse_model_cases(fixture_["cases"]), 2e-5);
  }
}

TEST_P(Families, GradientsEqualTransformers) {
  write_family(folder_.path(), fixture_);
  const auto model = load_tiny(folder_.path());
  const ModelCase c = parse_model_cases(fixture_["cases"])[1];
  for (auto& parameter : model->parameters()) parameter.tensor->set_requires_grad(true);
  const Prompt prompt = model->processor().encode(c.messages, c.images, c.min_pixels, c.max_pixels);
  const std::vector<PackedGroup> groups{{&prompt, {c.token_ids}}};
  model->completion_logprobs(pack(groups, model->config().ids.image, at::kCPU), 1).logprob_T.sum().backward();
  const auto& expected = fixture_["cases"][1]["gradients"];
  size_t compared = 0;
  for (const Parameter& parameter : model->parameters())
    for (const auto& piece : parameter.pieces) {
      const Tensor gradient = parameter.tensor->grad().narrow(0, piece.first_row, piece.rows).to(at::kDouble);
      const auto& [norm, sum] =
          expected[published_name(model->config().names, piece.name)].get<std::pair<double, double>>();
      EXPECT_NEAR(gradient.norm().item<double>(), norm, 1e-4 * norm + 1e-6) << piece.name;
      EXPECT_NEAR(gradient.sum().item<double>(), sum,
                  3e-4 * norm * std::sqrt(static_cast<double>(gradient.numel())) + 1e-5)
          << piece.name;
      ++compared;
    }
  EXPECT_EQ(compared, expected.size());
}

TEST_P(Families, SavedModelsHoldTheTensorsThatTransformersSaves) {
  write_family(folder_.path(), fixture_);
  const auto model = load_tiny(folder_.path());
  const TemporaryFolder copy;
  model->save(copy.path());
  const io::SafetensorsModel original(folder_.path()), saved(copy.path());
  ASSERT_EQ(saved.names(), original.names());
  for (const std::string& name : saved.names())
    EXPECT_TRUE(at::equal(saved.tensor(name), original.tensor(name))) << name;
  expect_parity(*load_tiny(copy.path()), {parse_model_cases(fixture_["cases"])[1]}, 2e-5);
}

TEST_P(Families, HalfPrecisionShardsWithTheOtherPrefixesAreRead) {
  write_family(folder_.path(), fixture_);
  const auto model = load_tiny(folder_.path());
  io::NamedTensors halves;
  for (const auto& [name, tensor] : hub_tensors(model->config(), model->weights())) {
    std::string other = name;
    if (model->config().reads_images()) {
      if (other.starts_with("visual."))
        other = "model." + other;
      else if (other.starts_with("model.visual."))
        other = other.substr(6);
      else if (other.starts_with("model.language_model."))
        other = "model." + other.substr(21);
      else if (other.starts_with("model."))
        other = "model.language_model." + other.substr(6);
    }
    halves.emplace_back(other, tensor.to(at::kBFloat16));
  }
  fs::remove(folder_.path() / "model.safetensors");
  io::write_sharded_safetensors(folder_.path(), halves, 40'000);
  ASSERT_TRUE(fs::exists(folder_.path() / "model.safetensors.index.json"));
  const auto again = load_tiny(folder_.path());
  const auto a = hub_tensors(model->config(), model->weights()), b = hub_tensors(again->config(), again->weights());
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_TRUE(at::equal(a[i].second.to(at::kBFloat16).to(at::kFloat), b[i].second)) << a[i].first;
}

INSTANTIATE_TEST_SUITE_P(All, Families, testing::ValuesIn(fixture_names()),
                         [](const auto& instance) { return instance.param; });

// Log-probs and gradients of some groups, packed in the given order into as many batches.
struct Pass {
  std::map<std::pair<size_t, size_t>, Tensor> logprobs;  // (case, sample)
  std::vector<Tensor> gradients;
};

struct Sample {
  size_t which;
  std::vector<size_t> samples;
};

// Every family, by the name of its fixture.
class Packing : public testing::TestWithParam<std::string> {
 protected:
  Packing() {
    if (GetParam() == "qwen2_5_vl") {
      folder_ = tiny_model();
      cases_ = model_cases();
      cases_.erase(cases_.begin() + 1);  // a text like the first
      cases_.erase(cases_.begin() + 4, cases_.end());
    } else {
      folder_ = temporary_.path();
      write_family(folder_, family_fixture(GetParam()));
      cases_ = parse_model_cases(family_fixture(GetParam())["cases"]);
    }
    model_ = load_tiny(folder_, at::kDouble);
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

  TemporaryFolder temporary_;
  std::filesystem::path folder_;
  std::unique_ptr<Model> model_;
  std::vector<ModelCase> cases_;
  std::vector<Prompt> prompts_;
  std::vector<std::vector<std::vector<int64_t>>> completions_;
};

TEST_P(Packing, ASharedPromptEqualsRepeatedPrompts) {
  expect_equal(run({{{1, {0, 1, 2}}}, {{2, {0, 1, 2}}}}),
               run({{{1, {0}}, {1, {1}}, {1, {2}}}, {{2, {0}}}, {{2, {1}}, {2, {2}}}}));
}

TEST_P(Packing, AnyPackingEqualsAnyOther) {
  const Pass together = run({{{0, {0, 1}}, {2, {1, 2}}, {1, {0}}, {0, {2, 0}}}});
  expect_equal(together, run({{{0, {0}}, {0, {1}}}, {{1, {0}}, {0, {0}}, {0, {2}}}, {{2, {2, 1}}}}));
}

TEST_P(Packing, RecomputationChangesNothing) {
  const Pass plain = run({{{2, {0, 1}}, {1, {1}}}});
  model_->set_recompute(true);
  expect_equal(plain, run({{{2, {0, 1}}, {1, {1}}}}));
}

TEST_P(Packing, ADecodedTokensLogProbEqualsTheFullForwards) {
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
    const auto model = load_tiny(folder_, dtype);
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

INSTANTIATE_TEST_SUITE_P(All, Packing, testing::Values("qwen2_5_vl", "qwen2_vl", "qwen3_vl", "qwen2", "qwen3"),
                         [](const auto& instance) { return instance.param; });

TEST(DecoderRope, InterleavedSectionsTakeTheAxesInTurn) {
  const RopeConfig rope{.sections = {4, 2, 2}, .interleaved = true};
  EXPECT_EQ(frequency_axes(rope, 8), (std::vector<int64_t>{0, 1, 2, 0, 1, 2, 0, 0}));
  const RopeConfig blocks{.sections = {2, 3, 3}};
  EXPECT_EQ(frequency_axes(blocks, 8), (std::vector<int64_t>{0, 0, 1, 1, 1, 2, 2, 2}));
}

TEST(TextModels, RefuseImages) {
  const TemporaryFolder folder;
  write_family(folder.path(), family_fixture("qwen3"));
  const Processor processor(folder.path());
  const std::vector<text::Message> messages{{"user", {{text::ContentPart::Kind::kImage, "x.png"}}}};
  EXPECT_EQ(error_of([&] { (void)processor.encode(messages, std::vector{image::Image(56, 56)}); }),
            "a message holds an image, but the model (qwen3) reads none");
}

}  // namespace
}  // namespace ssl4rl::models
