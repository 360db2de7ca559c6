#include "ssl4rl/models/lora.h"

#include <gtest/gtest.h>

#include "support/errors.h"
#include "support/model_cases.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace ssl4rl::models {
namespace {

using at::Tensor;

// Log-probs of one case's completion.
Tensor logprobs(const Model& model) {
  const at::NoGradGuard no_grad;
  const ModelCase one = model_cases().front();
  const Prompt prompt = model.processor().encode(one.messages, one.images, one.min_pixels, one.max_pixels);
  const std::vector<PackedGroup> groups{{&prompt, {one.token_ids}}};
  return model.completion_logprobs(pack(groups, model.config().ids.image, model.device()), 1).logprob_T;
}

void draw_b(Model& model) {
  for (const Parameter& parameter : adapter_parameters(model))
    if (parameter.name.ends_with("lora_B.weight")) parameter.tensor->normal_(0, 0.2);
}

TEST(Lora, PeftsAdapterGivesPeftsLogProbs) {
  const auto model = load_tiny();
  load_adapters(*model, test_data() / "lora");
  const auto cases = io::read_json(test_data() / "lora/cases.json");
  for (const bool merged : {false, true}) {
    if (merged) merge_adapters(*model);
    for (const auto& one : cases) {
      std::vector<text::Message> messages;
      std::vector<image::Image> images;
      for (const auto& m : one["messages"]) {
        text::Message message{m["role"], {}};
        if (m["content"].is_string()) message.content.push_back({text::ContentPart::Kind::kText, m["content"]});
        if (m["content"].is_array())
          for (const auto& part : m["content"]) {
            const bool is_image = part["type"] == "image";
            message.content.push_back({is_image ? text::ContentPart::Kind::kImage : text::ContentPart::Kind::kText,
                                       part[is_image ? "image" : "text"]});
            if (is_image) images.push_back(image::load(test_data() / "lora" / part["image"].get<std::string>()));
          }
        messages.push_back(std::move(message));
      }
      const auto ids = one["completion_ids"].get<std::vector<int64_t>>();
      const Prompt prompt = model->processor().encode(messages, images);
      const std::vector<PackedGroup> groups{{&prompt, {ids}}};
      const at::NoGradGuard no_grad;
      const Tensor found = model->completion_logprobs(pack(groups, model->config().ids.image, at::kCPU), 1).logprob_T;
      EXPECT_LT(difference(found, at::tensor(one["logprobs"].get<std::vector<double>>(), at::kDouble)), 2e-5);
    }
  }
}

TEST(Lora, NewAdaptersChangeNothingAndMergedOnesTheSame) {
  const auto model = load_tiny();
  const Tensor before = logprobs(*model);
  LoraConfig config;
  config.rank = 3;
  config.vision = true;
  config.targets = {"all-linear"};
  add_adapters(*model, config, 7, tiny_model());
  EXPECT_TRUE(at::equal(logprobs(*model), before));
  draw_b(*model);
  const Tensor changed = logprobs(*model);
  EXPECT_GT(difference(changed, before), 1e-2);
  const Model base(model->shared_processor(), without_adapters(model->weights()));
  EXPECT_TRUE(at::equal(logprobs(base), before)) << "the reference is the base";
  merge_adapters(*model);
  EXPECT_LT(difference(logprobs(*model), changed), 1e-4);
}

TEST(Lora, TheValuesOfAdaptersAreKnownFromTheShapesAlone) {
  LoraConfig config;
  config.rank = 5;
  for (const bool vision : {false, true})
    for (const auto& targets : std::vector<std::vector<std::string>>{
             config.targets, {"all-linear"}, {"q_proj", "up_proj"}, {".*(layers|visual.blocks).0.*"}}) {
      config.vision = vision;
      config.targets = targets;
      const auto model = load_tiny();
      const int64_t expected = adapter_values(model->config(), config);
      add_adapters(*model, config, 1, tiny_model());
      int64_t values = 0;
      for (const Parameter& parameter : adapter_parameters(*model)) values += parameter.tensor->numel();
      EXPECT_EQ(expected, values) << vision << " " << targets.front();
    }
  config.targets = {"k_prj"};
  EXPECT_NE(error_of([&] { (void)adapter_values(load_tiny()->config(), config); }).find("k_prj"), std::string::npos);
  config.targets = {"(k_proj"};
  EXPECT_NE(error_of([&] { (void)adapter_values(load_tiny()->config(), config); }).find("not a regular expression"),
            std::string::npos);
}

TEST(Lora, WhatIsWrittenReadsBackToTheSameModel) {
  const TemporaryFolder folder;
  const auto model = load_tiny(), again = load_tiny();
  LoraConfig config;
  config.rank = 2;
  config.alpha = 5;
  add_adapters(*model, config, 7, tiny_model());
  draw_b(*model);
  model->save(folder.path());
  EXPECT_TRUE(is_adapter_directory(folder.path()));
  EXPECT_EQ(base_of_adapters(folder.path()), tiny_model());
  load_adapters(*again, folder.path());
  EXPECT_TRUE(at::equal(logprobs(*again), logprobs(*model)));
}

TEST(Lora, TargetsAreEndsOfNamesOrPatternsAndVisionIsLeftOutUnlessAskedFor) {
  const auto count = [](std::vector<std::string> targets, bool vision) {
    const auto model = load_tiny();
    LoraConfig config;
    config.rank = 1;
    config.targets = std::move(targets);
    config.vision = vision;
    add_adapters(*model, config, 0, tiny_model());
    return adapter_parameters(*model).size() / 2;
  };
  EXPECT_EQ(count({"q_proj"}, false), 3u);
  EXPECT_EQ(count({"gate_proj"}, false), 3u);
  EXPECT_EQ(count({"gate_proj"}, true), 6u);
  EXPECT_EQ(count({R"(model\.layers\.[01]\..*_proj)"}, false), 14u);
  EXPECT_NE(error_of([&] { count({"qkv"}, false); }).find("\"qkv\" is the name of no product"), std::string::npos);
}

TEST(Lora, DropoutDependsOnItsKeyAlone) {
  const auto model = load_tiny();
  LoraConfig config;
  config.rank = 2;
  config.dropout = 0.5;
  add_adapters(*model, config, 7, tiny_model());
  draw_b(*model);
  const auto with_key = [&](uint64_t key) {
    const AdapterDropoutScope scope(*model, key);
    return logprobs(*model);
  };
  const Tensor plain = logprobs(*model);
  EXPECT_TRUE(at::equal(with_key(1), with_key(1)));
  EXPECT_GT(difference(with_key(1), with_key(2)), 1e-4);
  EXPECT_TRUE(at::equal(logprobs(*model), plain));
}

}  // namespace
}  // namespace ssl4rl::models
