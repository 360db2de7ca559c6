#include "ssl4rl/rl/critic.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "ssl4rl/base/error.h"

namespace ssl4rl::rl {

using at::Tensor;

namespace {

std::vector<models::Parameter> head_parameters(Tensor& weight, Tensor& bias) {
  const auto one = [](const std::string& name, Tensor& tensor) {
    return models::Parameter{
        name, &tensor, tensor.sizes().vec(), models::Part::kLanguage, {{name, tensor.sizes().vec(), 0, tensor.size(0)}},
        {}};
  };
  return {one("value_head.weight", weight), one("value_head.bias", bias)};
}

void fill(const io::SafetensorsFile& file, const io::NamedTensors& tensors) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : tensors) {
    const auto found = file.tensors().find(name);
    if (found == file.tensors().end()) fail("{}: has no {}", file.path().string(), name);
    if (found->second.shape != tensor.sizes().vec())
      fail("{}: {} has another shape than the critic's", file.path().string(), name);
    Tensor(tensor).copy_(file.tensor(name));
  }
}

}  // namespace

Critic::Critic(const models::Model& policy) {
  const auto options =
      at::TensorOptions().dtype(policy.dtype() == at::kDouble ? at::kDouble : at::kFloat).device(policy.device());
  weight_1D_ = at::zeros({1, policy.config().text.hidden_size}, options);
  bias_1_ = at::zeros({1}, options);
}

Critic::Critic(std::unique_ptr<models::Model> model, const std::set<models::Part>& frozen,
               const train::TrainConfig& config, const train::Communicator& communicator,
               std::shared_ptr<train::ShardedWeights> sharded)
    : Critic(*model) {
  model_ = std::move(model);
  sharded_ = std::move(sharded);
  std::vector<models::Parameter> parameters = model_->parameters();
  for (auto& parameter : head_parameters(weight_1D_, bias_1_)) parameters.push_back(std::move(parameter));
  optimizer_ = std::make_unique<train::AdamW>(std::move(parameters), frozen, config, train::Decay::kMatrices,
                                              communicator, sharded_);
}

Tensor Critic::values(const models::PackedBatch& batch, const Tensor& policy_hidden_nD) const {
  const Tensor hidden = model_ ? model_->completion_hidden(batch) : policy_hidden_nD;
  return at::linear(hidden.to(weight_1D_.scalar_type()), weight_1D_, bias_1_).squeeze(1);
}

std::vector<models::Parameter> Critic::shared_parameters() {
  return model_ ? std::vector<models::Parameter>{} : head_parameters(weight_1D_, bias_1_);
}

void Critic::collect() {
  if (!model_) return;
  optimizer_->collect();
  if (sharded_) collected_ = sharded_->collect(*model_);
}

train::TensorFiles Critic::files() {
  train::TensorFiles files{
      {"critic.safetensors", {{"value_head.weight", weight_1D_.detach()}, {"value_head.bias", bias_1_.detach()}}}};
  if (model_) {
    const auto collected = std::exchange(collected_, nullptr);
    models::Model& whole = collected ? *collected : *model_;
    files.emplace_back("critic_model.safetensors", models::hub_tensors(whole.config(), whole.weights()));
    files.emplace_back("critic_optimizer.safetensors", optimizer_->state());
  }
  return files;
}

void Critic::load(const std::filesystem::path& folder) {
  fill(io::SafetensorsFile(folder / "critic.safetensors"),
       {{"value_head.weight", weight_1D_}, {"value_head.bias", bias_1_}});
  if (!model_) return;
  if (sharded_) sharded_->bring_all();
  fill(io::SafetensorsFile(folder / "critic_model.safetensors"),
       models::hub_tensors(model_->config(), model_->weights()));
  if (sharded_) {
    sharded_->take_over();
    sharded_->let_go_all();
  }
  optimizer_->load_state(io::SafetensorsFile(folder / "critic_optimizer.safetensors"));
}

}  // namespace ssl4rl::rl
