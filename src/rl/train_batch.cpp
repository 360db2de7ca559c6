#include "ssl4rl/rl/train_batch.h"

#include <ATen/ATen.h>

#include "ssl4rl/base/error.h"
#include "ssl4rl/nn/on_device.h"

namespace ssl4rl::rl {

using at::Tensor;

std::vector<int64_t> TrainBatch::lengths() const {
  std::vector<int64_t> lengths;
  for (const Sample* sample : samples) lengths.push_back(sample->length());
  return lengths;
}

Tensor TrainBatch::field(std::vector<float> Sample::*field, at::Device device) const {
  if (samples.empty() || (samples.front()->*field).empty()) return {};
  std::vector<float> values;
  for (const Sample* sample : samples) {
    SSL4RL_CHECK((sample->*field).size() == sample->completion.ids.size(), "{} numbers for {} tokens",
                 (sample->*field).size(), sample->completion.ids.size());
    values.insert(values.end(), (sample->*field).begin(), (sample->*field).end());
  }
  return nn::on_device(values, device);
}

TrainBatch make_train_batch(std::span<Group> groups, const MicroBatch& batch, const models::Model& model) {
  TrainBatch result;
  std::vector<models::PackedGroup> packed;
  for (const GroupPart& part : batch) {
    packed.push_back({&groups[part.group].puzzle.prompt, {}});
    for (const size_t s : part.samples) {
      Sample& sample = groups[part.group].samples[s];
      packed.back().completions.emplace_back(sample.completion.ids);
      result.samples.push_back(&sample);
    }
  }
  result.packed = models::pack(packed, model.config().ids.image, model.device());
  return result;
}

void PendingField::add(const TrainBatch& batch, const Tensor& values_n) {
  samples_.insert(samples_.end(), batch.samples.begin(), batch.samples.end());
  values_.push_back(values_n.detach().to(at::kFloat));
}

void PendingField::write(std::vector<float> Sample::*field) const {
  if (values_.empty()) return;
  const Tensor values = at::cat(values_).cpu();
  const float* at = values.const_data_ptr<float>();
  for (Sample* sample : samples_) {
    (sample->*field).assign(at, at + sample->length());
    at += sample->length();
  }
}

TokenWeightTensors token_weight_tensors(const AlgorithmConfig& config, const TrainBatch& batch, const UpdateSize& size,
                                        at::Device device) {
  std::vector<float> policy, kl, entropy, value;
  for (const Sample* sample : batch.samples) {
    const TokenWeights weights = token_weights(config, sample->length(), size);
    const auto length = static_cast<size_t>(sample->length());
    policy.insert(policy.end(), length, static_cast<float>(weights.policy));
    kl.insert(kl.end(), length, static_cast<float>(weights.kl));
    entropy.insert(entropy.end(), length, static_cast<float>(weights.entropy));
    value.insert(value.end(), length, static_cast<float>(weights.value));
  }
  return {nn::on_device(policy, device), nn::on_device(kl, device), nn::on_device(entropy, device),
          nn::on_device(value, device)};
}

}  // namespace ssl4rl::rl
