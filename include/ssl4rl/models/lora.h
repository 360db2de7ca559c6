// Low-rank adapters (LoRA, arXiv 2106.09685) in the form of the PEFT library: beside each chosen product y = x Wᵀ
// stands scale · (drop(x) Aᵀ) Bᵀ with scale = alpha / rank, and A and B alone are trained. Adapters stay apart from the
// weights while training, so the model without them is the reference at no cost.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "ssl4rl/base/config.h"
#include "ssl4rl/models/model.h"

namespace ssl4rl::models {

struct LoraConfig {
  int64_t rank = 0;  ///< 0: no adapters
  std::optional<double> alpha;
  double dropout = 0;
  std::vector<std::string> targets{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
  bool vision = false;

  void describe(config::Section& section);
};

/// Adds new adapters: A drawn uniformly as PEFT draws it, B zero, so that the model computes what it did. `base` is the
/// model's directory, for adapter_config.json. Throws Error where a target names no product.
void add_adapters(Model& model, const LoraConfig& config, uint64_t seed, const std::filesystem::path& base);
/// The number of values of those adapters.
[[nodiscard]] int64_t adapter_values(const ModelConfig& model, const LoraConfig& config);
/// Adds the adapters of a PEFT directory. Throws Error naming the file and what does not fit the model.
void load_adapters(Model& model, const std::filesystem::path& folder);
/// Writes adapter_config.json and adapter_model.safetensors.
void save_adapters(Model& model, const std::filesystem::path& folder);
/// W += scale · B A, and no adapters any more.
void merge_adapters(Model& model);

/// What is trained: two tensors an adapter, under PEFT's names.
[[nodiscard]] std::vector<Parameter> adapter_parameters(Model& model);
/// The same tensors, without the adapters.
[[nodiscard]] Weights without_adapters(Weights weights);

/// While it lives, inputs of the adapters are dropped, by a mask that depends on the key alone (so that a layer that is
/// computed again in backward sees the same one). Does nothing on a model without adapters.
class AdapterDropoutScope {
 public:
  AdapterDropoutScope(Model& model, uint64_t key);
  ~AdapterDropoutScope();
  AdapterDropoutScope(const AdapterDropoutScope&) = delete;
  AdapterDropoutScope& operator=(const AdapterDropoutScope&) = delete;

 private:
  std::shared_ptr<AdapterDropout> dropout_;
};

/// Whether a directory holds adapters instead of weights, and the model that they belong to.
[[nodiscard]] bool is_adapter_directory(const std::filesystem::path& folder);
[[nodiscard]] std::filesystem::path base_of_adapters(const std::filesystem::path& folder);

}  // namespace ssl4rl::models
