#include "ssl4rl/models/model.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ssl4rl/base/error.h"
#include "ssl4rl/models/decoder.h"
#include "ssl4rl/models/lora.h"
#include "ssl4rl/models/rope.h"
#include "ssl4rl/models/vision.h"
#include "ssl4rl/nn/attention.h"
#include "ssl4rl/nn/norm.h"
#include "ssl4rl/nn/on_device.h"

namespace ssl4rl::models {
namespace {

using at::Tensor;

const char* hub_dtype(at::ScalarType type) {
  switch (type) {
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    case at::kDouble:
      return "float64";
    default:
      return "float32";
  }
}

// The features of each prompt's images.
std::vector<VisionFeatures> by_prompt(const VisionFeatures& all, std::span<const Prompt* const> prompts,
                                      int64_t image_id) {
  std::vector<VisionFeatures> features(prompts.size());
  int64_t first = 0;
  for (size_t p = 0; p < prompts.size(); ++p) {
    const int64_t count = std::count(prompts[p]->ids.begin(), prompts[p]->ids.end(), image_id);
    if (count == 0) continue;
    features[p].tokens_MD = all.tokens_MD.narrow(0, first, count);
    for (const Tensor& rows_MD : all.deepstack_MD) features[p].deepstack_MD.push_back(rows_MD.narrow(0, first, count));
    first += count;
  }
  return features;
}

}  // namespace

Model::Model(const std::filesystem::path& folder, std::shared_ptr<const Processor> processor, at::Device device,
             at::ScalarType dtype, const Loaded& loaded)
    : processor_(std::move(processor)) {
  load_weights(config(), io::SafetensorsModel(folder), at::TensorOptions().device(device).dtype(dtype), weights_,
               loaded);
}

Model::Model(std::shared_ptr<const Processor> processor, Weights weights)
    : processor_(std::move(processor)), weights_(std::move(weights)) {}

Model::Embedded Model::embed(const PackedBatch& batch) const {
  // The image token's own row takes no part and gets no gradient (the padding index of embedding's backward).
  Tensor x_TD = at::embedding(weights_.embedding, batch.ids_T, /*padding_idx=*/config().ids.image);
  if (!batch.patches.defined() && blocks_.keeper) blocks_.keeper->no_images();
  if (!batch.features && !batch.patches.defined()) return {x_TD, {}};
  VisionFeatures features = batch.features
                                ? *batch.features
                                : vision_tower(config().vision, weights_.vision, batch.patches, batch.grids, blocks_);
  return {x_TD.index_copy(0, batch.image_rows_M, features.tokens_MD), std::move(features.deepstack_MD)};
}

Tensor Model::head(const Tensor& hidden_nD) const {
  const Tensor normed_nD = nn::rms_norm(hidden_nD, weights_.norm, config().text.norm_eps);
  return weights_.packed_head.defined() ? weights_.packed_head.multiply(normed_nD, {})
                                        : nn::logits(normed_nD, weights_.head);
}

Tensor Model::completion_hidden(const PackedBatch& batch) const {
  const nn::RopeTable table = decoder_rope(config().text, batch.positions_AT);
  const auto plan = nn::make_plan(batch.layout, device());
  const TextConfig& text = config().text;
  // Table and plan by value: with recomputation a layer runs again after this function has returned.
  const Attend attend = [&text, table, plan](int64_t, const Tensor& qkv_TEH) {
    return nn::attention(qkv_TEH, text.heads, text.key_heads, table, plan);
  };
  auto [x_TD, deepstack_MD] = embed(batch);
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    const auto run = [&text, &layer = weights_.layers[i], index = static_cast<int64_t>(i), attend](const Tensor& x) {
      return decoder_layer(text, layer, index, x, attend);
    };
    x_TD = blocks_.run({Block::Kind::kDecoder, static_cast<int64_t>(i)}, run, x_TD);
    if (i < deepstack_MD.size()) x_TD = x_TD.index_add(0, batch.image_rows_M, deepstack_MD[i]);
  }
  return nn::rms_norm(nn::gather_rows(x_TD, batch.logit_rows_n), weights_.norm, text.norm_eps);
}

nn::TokenLogProbs Model::logprobs_of(const Tensor& hidden_nD, const PackedBatch& batch, double temperature,
                                     bool entropy_gradient) const {
  return nn::token_logprobs(hidden_nD, weights_.head, batch.targets_n, temperature, /*chunk=*/0, entropy_gradient);
}

nn::TokenLogProbs Model::completion_logprobs(const PackedBatch& batch, double temperature) const {
  return logprobs_of(completion_hidden(batch), batch, temperature);
}

std::unique_ptr<nn::KvCache> Model::make_cache() const {
  const TextConfig& text = config().text;
  return nn::make_kv_cache({text.layers, text.key_heads, text.head_dim, text.heads}, weights_.embedding.options());
}

Tensor Model::prefill(std::span<const Prompt* const> prompts, std::span<const int64_t> cache_groups, nn::KvCache& cache,
                      std::vector<VisionFeatures>* features) const {
  std::vector<PackedGroup> groups;
  for (const Prompt* prompt : prompts) groups.push_back({prompt, {}});
  PackedBatch batch = pack(groups, config().ids.image, device());
  if (batch.patches.defined())
    batch.features = vision_tower(config().vision, weights_.vision, batch.patches, batch.grids, {});
  if (features) *features = by_prompt(batch.features.value_or(VisionFeatures{}), prompts, config().ids.image);
  const nn::RopeTable table = decoder_rope(config().text, batch.positions_AT);
  const auto plan = nn::make_plan(batch.layout, device());
  const TextConfig& text = config().text;
  const Attend attend = [&](int64_t layer, const Tensor& qkv_TEH) {
    const Tensor out = nn::attention(qkv_TEH, text.heads, text.key_heads, table, plan);  // rotates the keys in place
    for (size_t g = 0; g < groups.size(); ++g) {
      const nn::Span rows = batch.layout.groups[g].prompt;
      const Tensor group = qkv_TEH.narrow(0, rows.begin, rows.length);
      cache.store_prompt(cache_groups[g], layer, group.narrow(1, text.heads, text.key_heads),
                         group.narrow(1, text.heads + text.key_heads, text.key_heads));
    }
    return out;
  };
  auto [x_TD, deepstack_MD] = embed(batch);
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    x_TD = decoder_layer(text, weights_.layers[i], static_cast<int64_t>(i), x_TD, attend);
    if (i < deepstack_MD.size()) x_TD = x_TD.index_add(0, batch.image_rows_M, deepstack_MD[i]);
  }
  std::vector<int64_t> last;
  for (const nn::GroupSpans& group : batch.layout.groups) last.push_back(group.prompt.end() - 1);
  return head(x_TD.index_select(0, nn::on_device(last, device())));
}

DecodeInputs Model::decode_inputs(std::span<const int64_t> ids, std::span<const int64_t> positions) const {
  std::vector<int64_t> both(ids.begin(), ids.end());
  both.insert(both.end(), positions.begin(), positions.end());
  const Tensor inputs = nn::on_device(both, device()).view({2, -1});
  return {inputs[0], decoder_rope(config().text, inputs[1].expand({3, -1}))};
}

Tensor Model::decode_step(const DecodeInputs& inputs, nn::KvCache& cache) const {
  const TextConfig& text = config().text;
  const Attend attend = [&](int64_t layer, const Tensor& qkv_nEH) {
    nn::apply_rope_(qkv_nEH, text.heads + text.key_heads, inputs.rope);
    return cache.attend(layer, qkv_nEH.narrow(1, 0, text.heads), qkv_nEH.narrow(1, text.heads, text.key_heads),
                        qkv_nEH.narrow(1, text.heads + text.key_heads, text.key_heads));
  };
  Tensor x_nD = at::embedding(weights_.embedding, inputs.ids_n);
  for (size_t i = 0; i < weights_.layers.size(); ++i)
    x_nD = decoder_layer(text, weights_.layers[i], static_cast<int64_t>(i), x_nD, attend);
  return head(x_nD);
}

Tensor Model::decode(std::span<const nn::DecodeRow> rows, std::span<const int64_t> ids,
                     std::span<const int64_t> positions, nn::KvCache& cache) const {
  cache.begin(rows);
  return decode_step(decode_inputs(ids, positions), cache);
}

std::vector<Parameter> trained_parameters(Model& model) {
  std::vector<Parameter> parameters = model.parameters();
  if (model.weights().lora)
    for (Parameter& parameter : adapter_parameters(model)) parameters.push_back(std::move(parameter));
  std::erase_if(parameters, [](const Parameter& parameter) { return !parameter.tensor->requires_grad(); });
  return parameters;
}

bool Model::trains_vision() const {
  Model same(processor_, weights_);
  const std::vector<Parameter> trained = trained_parameters(same);
  return std::any_of(trained.begin(), trained.end(), [](const Parameter& parameter) {
    return parameter.part == Part::kVision || parameter.part == Part::kMerger;
  });
}

std::unique_ptr<Model> Model::on(at::Device device) const {
  auto moved = std::make_unique<Model>(processor_, weights_);
  moved->set_keeper(keeper());
  for (const Parameter& parameter : moved->parameters()) *parameter.tensor = parameter.tensor->to(device);
  if (config().text.tie_embeddings) moved->weights_.head = moved->weights_.embedding;
  return moved;
}

std::unique_ptr<Model> Model::copy_on_host() {
  auto copy = std::make_unique<Model>(processor_, weights_);
  for (const Parameter& parameter : trained_parameters(*copy))
    *parameter.tensor = parameter.tensor->detach().to(at::kCPU, parameter.tensor->scalar_type(), /*non_blocking=*/false,
                                                      /*copy=*/true);
  if (config().text.tie_embeddings) copy->weights_.head = copy->weights_.embedding;
  return copy;
}

void Model::save(const std::filesystem::path& folder) {
  if (weights_.lora) {
    save_adapters(*this, folder);
  } else {
    io::write_sharded_safetensors(folder, hub_tensors(config(), weights_));
  }
  processor_->save(folder, hub_dtype(dtype()));
}

}  // namespace ssl4rl::models
