#include "ssl4rl/train/optimizer.h"

#include <ATen/ATen.h>

#include <ATen/core/grad_mode.h>
#include <utility>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <regex>

#include "ssl4rl/base/error.h"

namespace ssl4rl::train {

using at::Tensor;

namespace {

// transformers 5.23, Trainer.get_decay_parameter_names: not biases, not modules of type nn.LayerNorm (norms that have a
// bias), not names of the pattern layernorm, rmsnorm, norm or *_norm.
bool decayed_by_name(const std::string& name) {
  static const std::regex kLeftOut(R"(bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.))");
  std::string lower = name;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return !std::regex_search(lower, kLeftOut);
}

std::vector<bool> decayed_parameters(const std::vector<models::Parameter>& parameters, Decay decay) {
  std::set<std::string> names;
  for (const auto& parameter : parameters) names.insert(parameter.name);
  std::vector<bool> decayed;
  for (const auto& parameter : parameters) {
    const bool matrix = parameter.tensor->dim() > 1;
    // A vector with a bias beside it is a LayerNorm's weight.
    const bool layer_norm = !matrix && parameter.name.ends_with(".weight") &&
                            names.contains(parameter.name.substr(0, parameter.name.size() - 6) + "bias");
    switch (decay) {
      case Decay::kMatrices:
        decayed.push_back(matrix);
        break;
      case Decay::kAll:
        decayed.push_back(true);
        break;
      case Decay::kByName:
        decayed.push_back(!layer_norm && decayed_by_name(parameter.pieces.front().name));
        break;
    }
  }
  return decayed;
}

}  // namespace

AdamW::AdamW(std::vector<models::Parameter> parameters, const std::set<models::Part>& frozen, const TrainConfig& config,
             Decay decay)
    : config_(config) {
  const std::vector<bool> decayed = decayed_parameters(parameters, decay);
  for (size_t i = 0; i < parameters.size(); ++i) {
    models::Parameter& parameter = parameters[i];
    const bool train = !frozen.contains(parameter.part);
    parameter.tensor->set_requires_grad(train);
    if (!train) continue;
    const Tensor& weight = *parameter.tensor;
    const bool low = weight.scalar_type() != at::kFloat && weight.scalar_type() != at::kDouble;
    const Tensor like = low ? weight.detach().to(at::kFloat) : weight.detach();
    moments_.push_back({at::zeros_like(like), at::zeros_like(like), at::zeros({}, like.options().dtype(at::kFloat)),
                        low ? like : Tensor()});
    parameters_.push_back(parameter);
    decayed_.push_back(decayed[i]);
  }
  if (parameters_.empty()) fail("model.freeze: nothing is left to train");
}

int64_t AdamW::trainable() const {
  int64_t count = 0;
  for (const auto& parameter : parameters_) count += parameter.tensor->numel();
  return count;
}

double AdamW::gradient_norm() const {
  std::vector<Tensor> gradients;
  for (const auto& parameter : parameters_)
    if (parameter.tensor->grad().defined()) gradients.push_back(parameter.tensor->grad());
  if (gradients.empty()) return 0;
  std::vector<Tensor> norms = at::_foreach_norm(gradients);
  for (Tensor& norm : norms) norm = norm.to(at::kDouble);
  return at::stack(norms).norm().item<double>();
}

void AdamW::clip_gradients(double norm, double max_norm) {
  const double scale = max_norm / (norm + 1e-6);
  if (!(scale < 1)) return;
  std::vector<Tensor> gradients;
  for (const auto& parameter : parameters_)
    if (parameter.tensor->grad().defined()) gradients.push_back(parameter.tensor->grad());
  at::_foreach_mul_(gradients, scale);
}

void AdamW::step(double learning_rate) {
  const at::NoGradGuard no_grad;
  ++updates_;
  // One call for what is decayed, one for the rest.
  for (const bool decayed : {true, false}) {
    std::vector<Tensor> weights, gradients, first, second, steps;
    std::vector<size_t> low;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const Tensor& weight = *parameters_[i].tensor;
      if (decayed_[i] != decayed || !weight.grad().defined()) continue;
      const Moments& m = moments_[i];
      weights.push_back(m.master.defined() ? m.master : weight.detach());
      gradients.push_back(weight.grad().to(weights.back().scalar_type()));
      first.push_back(m.first);
      second.push_back(m.second);
      steps.push_back(m.steps);
      if (m.master.defined()) low.push_back(i);
    }
    if (weights.empty()) continue;
    at::_foreach_add_(steps, 1);
    at::_fused_adamw_(weights, gradients, first, second, /*max_exp_avg_sqs=*/{}, steps, learning_rate,
                      config_.adam_beta1, config_.adam_beta2, decayed ? config_.weight_decay : 0, config_.adam_eps,
                      /*amsgrad=*/false, /*maximize=*/false);
    for (const size_t i : low) parameters_[i].tensor->detach().copy_(moments_[i].master);
  }
}

void AdamW::clear_gradients() {
  for (auto& parameter : parameters_) parameter.tensor->mutable_grad() = Tensor();
}

std::vector<Tensor> AdamW::take_gradients() {
  std::vector<Tensor> gradients;
  for (auto& parameter : parameters_) gradients.push_back(std::exchange(parameter.tensor->mutable_grad(), Tensor()));
  return gradients;
}

io::NamedTensors AdamW::state() const {
  io::NamedTensors tensors;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].name;
    tensors.emplace_back(name + "/exp_avg", moments_[i].first);
    tensors.emplace_back(name + "/exp_avg_sq", moments_[i].second);
    tensors.emplace_back(name + "/step", moments_[i].steps);
    if (moments_[i].master.defined()) tensors.emplace_back(name + "/master", moments_[i].master);
  }
  return tensors;
}

void AdamW::load_state(const io::SafetensorsFile& file) {
  const at::NoGradGuard no_grad;
  const auto expected = state();
  for (const auto& [name, tensor] : expected) {
    const auto found = file.tensors().find(name);
    if (found == file.tensors().end())
      fail("{}: has no {}; the run trains other parameters than the checkpoint's", file.path().string(), name);
    if (found->second.shape != tensor.sizes().vec())
      fail("{}: {} has another shape than the model's", file.path().string(), name);
    Tensor(tensor).copy_(file.tensor(name));
  }
  if (file.tensors().size() != expected.size())
    fail("{}: holds the state of other parameters too; the run trains fewer than the checkpoint's",
         file.path().string());
}

}  // namespace ssl4rl::train
