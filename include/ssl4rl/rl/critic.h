// PPO's critic: the value of the state before each completion token. A linear head on the policy's trunk, trained with
// the policy, or on a model of its own with an optimiser of its own. Shape suffixes: n completion tokens in packed
// order, D model width.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "ssl4rl/models/model.h"
#include "ssl4rl/train/optimizer.h"
#include "ssl4rl/train/update.h"

namespace ssl4rl::rl {

class Critic {
 public:
  /// A head on `policy`'s trunk, zero at first, so that every value is 0.
  explicit Critic(const models::Model& policy);
  /// A head on a model of its own, trained with `config`.
  Critic(std::unique_ptr<models::Model> model, const std::set<models::Part>& frozen, const train::TrainConfig& config,
         const train::Communicator& communicator, std::shared_ptr<train::ShardedWeights> sharded = nullptr);

  [[nodiscard]] bool separate() const { return model_ != nullptr; }
  /// Its own model, or nullptr.
  [[nodiscard]] const models::Model* model() const { return model_.get(); }
  /// Values [n] float32, with gradient. `policy_hidden_nD` are the policy's rows of the same batch; a critic with a
  /// model of its own computes its own.
  [[nodiscard]] at::Tensor values(const models::PackedBatch& batch, const at::Tensor& policy_hidden_nD) const;

  /// The head's parameters, for the policy's optimiser; empty where the critic has its own.
  [[nodiscard]] std::vector<models::Parameter> shared_parameters();
  /// Its own optimiser, or nullptr.
  [[nodiscard]] train::AdamW* optimizer() { return optimizer_.get(); }

  /// Brings what files() needs of all ranks to rank 0: a collective.
  void collect();
  /// What a resume needs, by file: critic.safetensors and, with a model of its own, critic_model.safetensors and
  /// critic_optimizer.safetensors. (The optimiser's state of a head on the trunk is the policy optimiser's.)
  [[nodiscard]] train::TensorFiles files();
  /// Reads them from a folder.
  void load(const std::filesystem::path& folder);

 private:
  std::unique_ptr<models::Model> model_, collected_;
  std::shared_ptr<train::ShardedWeights> sharded_;  // its model's, or null
  at::Tensor weight_1D_, bias_1_;                   // float32
  std::unique_ptr<train::AdamW> optimizer_;
};

}  // namespace ssl4rl::rl
