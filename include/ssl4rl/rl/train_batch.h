// A micro-batch of groups as the model reads it, with the samples' numbers beside it.
#pragma once

#include <span>
#include <vector>

#include "ssl4rl/models/model.h"
#include "ssl4rl/rl/group.h"
#include "ssl4rl/rl/loss.h"

namespace ssl4rl::rl {

struct TrainBatch {
  models::PackedBatch packed;
  std::vector<Sample*> samples;  ///< in packed order

  [[nodiscard]] std::vector<int64_t> lengths() const;
  /// One field of all samples in packed order, float32 on `device`; undefined where the samples have none.
  [[nodiscard]] at::Tensor field(std::vector<float> Sample::*field, at::Device device) const;
};

[[nodiscard]] TrainBatch make_train_batch(std::span<Group> groups, const MicroBatch& batch, const models::Model& model);

/// A number for each token of the samples of several micro-batches, which the device is still computing.
class PendingField {
 public:
  void add(const TrainBatch& batch, const at::Tensor& values_n);  ///< in packed order
  /// Waits for the numbers and writes them into this field of the samples.
  void write(std::vector<float> Sample::*field) const;
  [[nodiscard]] const std::vector<Sample*>& samples() const { return samples_; }

 private:
  std::vector<Sample*> samples_;
  std::vector<at::Tensor> values_;
};

/// Each token's share of the update's losses, [n] float32.
struct TokenWeightTensors {
  at::Tensor policy_n, kl_n, entropy_n, value_n;
};
[[nodiscard]] TokenWeightTensors token_weight_tensors(const AlgorithmConfig& config, const TrainBatch& batch,
                                                      const UpdateSize& size, at::Device device);

}  // namespace ssl4rl::rl
