// AdamW (Loshchilov & Hutter, ICLR 2019) by LibTorch's fused kernel. Weights of lower precision have float32 masters.
// The state can be kept, and updates computed, in the host's memory (TrainConfig::offload).
//
// With several ranks each holds the state of its own stretch of every parameter (ZeRO, arXiv 1910.02054, stage 1): an
// update sums the gradients over the ranks, updates the own stretches and fetches the others'. Of sharded weights
// (stage 3) there are the own stretches alone, and the gradients come summed.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "ssl4rl/io/safetensors.h"
#include "ssl4rl/models/weights.h"
#include "ssl4rl/train/config.h"
#include "ssl4rl/train/moments.h"
#include "ssl4rl/train/sharded_weights.h"
#include "ssl4rl/train/shards.h"

namespace ssl4rl::train {

/// Which parameters are decayed: matrices, but no vectors; everything, as verl; or by name, as transformers' Trainer,
/// which leaves out biases and what it takes for a norm, and so decays a few norms of the vision tower.
enum class Decay { kMatrices, kAll, kByName };

class AdamW {
 public:
  /// Marks the parameters as trainable. `frozen` parts get no gradient and no state. `sharded` has the parameters, or
  /// most of them, where weights are sharded.
  AdamW(std::vector<models::Parameter> parameters, const std::set<models::Part>& frozen, const TrainConfig& config,
        Decay decay = Decay::kMatrices, const Communicator& communicator = one_process(),
        std::shared_ptr<ShardedWeights> sharded = nullptr);

  [[nodiscard]] int64_t trainable() const;  ///< number of values
  [[nodiscard]] const std::vector<models::Parameter>& parameters() const { return parameters_; }

  /// The global L2 norm of all gradients, summed over the ranks; parameters without one count as 0.
  [[nodiscard]] double gradient_norm();
  /// Scales all gradients by max_norm / (norm + 1e-6) where that is below 1 (torch's clip_grad_norm_).
  void clip_gradients(double norm, double max_norm);
  /// One update; parameters without a gradient stay as they are.
  void step(double learning_rate);
  void clear_gradients();
  /// The gradients, by parameter (undefined where there is none), which are then cleared. With several ranks: the sums'
  /// own stretches.
  [[nodiscard]] std::vector<at::Tensor> take_gradients();
  /// How often step() was called: whether weights have changed since.
  [[nodiscard]] int64_t updates() const { return updates_; }

  /// Brings the state of all ranks to rank 0 (a collective), which can then be asked for it until the next step().
  void collect();
  /// First and second moments, step counts and masters, by parameter name. With several ranks: what was collected.
  [[nodiscard]] io::NamedTensors state() const;
  /// Reads what state() gave, whatever the number of ranks then and now.
  void load_state(const io::SafetensorsFile& file);

 private:
  void reduce_gradients();
  [[nodiscard]] bool is_sharded(size_t i) const { return sharded_ && sharded_->has(*parameters_[i].tensor); }
  [[nodiscard]] at::Tensor own(size_t i) const;  // stretch of the weight
  [[nodiscard]] io::NamedTensors whole_state() const;

  const Communicator& communicator_;
  std::vector<models::Parameter> parameters_;
  std::vector<Moments> moments_;  // of the own stretches
  std::vector<bool> decayed_;
  TrainConfig config_;
  int64_t updates_ = 0;
  std::unique_ptr<Shards> shards_;
  std::shared_ptr<ShardedWeights> sharded_;  // or null
  std::vector<at::Tensor> gradients_;        // the own stretches, summed; empty until somebody asks
  io::NamedTensors collected_;
};

}  // namespace ssl4rl::train
