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

bool low_precision(const Tensor& tensor) {
  return tensor.scalar_type() != at::kFloat && tensor.scalar_type() != at::kDouble;
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
             Decay decay, const Communicator& communicator, std::shared_ptr<ShardedWeights> sharded)
    : communicator_(communicator), config_(config), sharded_(std::move(sharded)) {
  const std::vector<bool> decayed = decayed_parameters(parameters, decay);
  std::vector<Tensor> weights;
  for (size_t i = 0; i < parameters.size(); ++i) {
    models::Parameter& parameter = parameters[i];
    const bool train = !frozen.contains(parameter.part);
    parameter.tensor->set_requires_grad(train);
    if (!train) continue;
    // Micro-batches add up in float32, whatever the weights' type.
    if (low_precision(*parameter.tensor)) parameter.tensor->set_grad_dtype(at::kFloat);
    weights.push_back(parameter.tensor->detach());
    parameters_.push_back(parameter);
    decayed_.push_back(decayed[i]);
  }
  if (parameters_.empty()) fail("model.freeze: nothing is left to train");
  shards_ = std::make_unique<Shards>(communicator_, weights);
  for (size_t i = 0; i < weights.size(); ++i) {
    const Tensor own = this->own(i);
    const at::Device device = config.offloads("optimizer") ? at::Device(at::kCPU) : own.device();
    const bool low = low_precision(own);
    const Tensor like = own.to(device, low ? at::kFloat : own.scalar_type());
    const auto options =
        like.options().dtype(config.optimizer_dtype == at::kBFloat16 ? at::kBFloat16 : like.scalar_type());
    moments_.push_back({.first = at::zeros(like.sizes(), options),
                        .second = at::zeros(like.sizes(), options),
                        .steps = at::zeros({}, like.options().dtype(at::kFloat)),
                        .master = low || device != own.device() ? like : Tensor(),
                        .parameter = i,
                        .begin = shards_->begin(i)});
  }
}

Tensor AdamW::own(size_t i) const {
  const Tensor& whole = *parameters_[i].tensor;
  return is_sharded(i) ? sharded_->own(whole) : shards_->own(i, whole.detach());
}

int64_t AdamW::trainable() const {
  int64_t count = 0;
  for (const auto& parameter : parameters_) count += parameter.tensor->numel();
  return count;
}

void AdamW::reduce_gradients() {
  if (!gradients_.empty()) return;
  std::vector<Tensor> gradients;
  for (const auto& parameter : parameters_) gradients.push_back(parameter.tensor->grad());
  if (communicator_.ranks() > 1)  // held by the list alone, so that each is freed once it is summed
    for (auto& parameter : parameters_) parameter.tensor->mutable_grad() = Tensor();
  gradients_ = shards_->reduce(gradients);
  for (size_t i = 0; i < parameters_.size(); ++i)
    if (is_sharded(i) && !gradients_[i].defined()) gradients_[i] = sharded_->take_gradient(*parameters_[i].tensor);
}

double AdamW::gradient_norm() {
  reduce_gradients();
  std::vector<Tensor> gradients;
  for (const Tensor& gradient : gradients_)
    if (gradient.defined()) gradients.push_back(gradient);
  if (gradients.empty()) return 0;
  std::vector<Tensor> norms = at::_foreach_norm(gradients);
  for (Tensor& norm : norms) norm = norm.to(at::kDouble);
  return communicator_.norm(at::stack(norms).norm().item<double>());
}

void AdamW::clip_gradients(double norm, double max_norm) {
  const double scale = max_norm / (norm + 1e-6);
  if (!(scale < 1)) return;
  reduce_gradients();
  std::vector<Tensor> gradients;
  for (const Tensor& gradient : gradients_)
    if (gradient.defined()) gradients.push_back(gradient);
  at::_foreach_mul_(gradients, scale);
}

void AdamW::step(double learning_rate) {
  const at::NoGradGuard no_grad;
  ++updates_;
  reduce_gradients();
  collected_.clear();
  // One call for what is decayed, one for the rest.
  for (const bool decayed : {true, false}) {
    std::vector<Tensor> weights, gradients;
    std::vector<Moments*> moments;
    std::vector<size_t> mastered;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      if (decayed_[i] != decayed || !gradients_[i].defined()) continue;
      Moments& m = moments_[i];
      weights.push_back(m.master.defined() ? m.master : own(i));
      gradients.push_back(gradients_[i].to(weights.back().device()).to(weights.back().scalar_type()));
      moments.push_back(&m);
      if (m.master.defined()) mastered.push_back(i);
    }
    update_adamw(moments, weights, gradients, learning_rate, decayed ? config_.weight_decay : 0, config_);
    for (const size_t i : mastered) own(i).copy_(moments_[i].master);
  }
  gradients_.clear();
  std::vector<Tensor> weights;
  for (size_t i = 0; i < parameters_.size(); ++i)
    weights.push_back(is_sharded(i) ? Tensor() : parameters_[i].tensor->detach());
  shards_->complete(weights);
}

void AdamW::clear_gradients() {
  gradients_.clear();
  if (sharded_) sharded_->clear_gradients();
  for (auto& parameter : parameters_) parameter.tensor->mutable_grad() = Tensor();
}

std::vector<Tensor> AdamW::take_gradients() {
  reduce_gradients();
  std::vector<Tensor> gradients = std::move(gradients_);
  clear_gradients();
  return gradients;
}

// The state as files hold it, each tensor in its parameter's shape: with several ranks a collective.
io::NamedTensors AdamW::whole_state() const {
  io::NamedTensors tensors;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].name;
    const Moments& m = moments_[i];
    const auto add = [&](const char* what, const Tensor& own) {
      const Tensor whole = shards_->gather(i, own);
      if (communicator_.ranks() == 1)
        tensors.emplace_back(name + what, whole);
      else if (communicator_.first())
        tensors.emplace_back(name + what, whole.cpu());
    };
    add("/exp_avg", m.first);
    add("/exp_avg_sq", m.second);
    tensors.emplace_back(name + "/step", m.steps);
    if (low_precision(*parameters_[i].tensor)) add("/master", m.master);
  }
  return tensors;
}

void AdamW::collect() {
  if (communicator_.ranks() > 1) collected_ = whole_state();
}

io::NamedTensors AdamW::state() const {
  if (communicator_.ranks() == 1) return whole_state();
  SSL4RL_CHECK(!collected_.empty(), "the optimiser's state was not collected");
  return collected_;
}

void AdamW::load_state(const io::SafetensorsFile& file) {
  const at::NoGradGuard no_grad;
  size_t expected = 0;
  const auto read = [&](const std::string& name, const std::vector<int64_t>& shape) {
    ++expected;
    const auto found = file.tensors().find(name);
    if (found == file.tensors().end())
      fail("{}: has no {}; the run trains other parameters than the checkpoint's", file.path().string(), name);
    if (found->second.shape != shape) fail("{}: {} has another shape than the model's", file.path().string(), name);
    return file.tensor(name);
  };
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].name;
    const std::vector<int64_t> shape = parameters_[i].tensor->sizes().vec();
    Moments& m = moments_[i];
    m.first.copy_(shards_->own(i, read(name + "/exp_avg", shape)));
    m.second.copy_(shards_->own(i, read(name + "/exp_avg_sq", shape)));
    m.steps.copy_(read(name + "/step", {}));
    if (low_precision(*parameters_[i].tensor))
      m.master.copy_(shards_->own(i, read(name + "/master", shape)));
    else if (m.master.defined())
      m.master.copy_(own(i));
  }
  if (file.tensors().size() != expected)
    fail("{}: holds the state of other parameters too; the run trains fewer than the checkpoint's",
         file.path().string());
}

}  // namespace ssl4rl::train
