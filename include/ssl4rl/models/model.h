// A model in memory and what it computes: one forward serves scoring, prefill and training; decoding runs the same
// layers against a cache. Shape suffixes: T packed tokens, n selected rows, D model width, V vocabulary rows.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "ssl4rl/models/batch.h"
#include "ssl4rl/models/block.h"
#include "ssl4rl/models/processor.h"
#include "ssl4rl/models/weights.h"
#include "ssl4rl/nn/kv_cache.h"
#include "ssl4rl/nn/logprob.h"
#include "ssl4rl/nn/rope.h"

namespace ssl4rl::models {

/// What a decoding step reads besides the cache, on the model's device.
struct DecodeInputs {
  at::Tensor ids_n;
  nn::RopeTable rope;
};

class Model {
 public:
  /// Reads the directory's weights to `device`, converted to `dtype`; `loaded` is called with each.
  Model(const std::filesystem::path& folder, std::shared_ptr<const Processor> processor, at::Device device,
        at::ScalarType dtype, const Loaded& loaded = {});
  /// Takes weights that exist already (a reference that shares tensors, a freshly drawn model).
  Model(std::shared_ptr<const Processor> processor, Weights weights);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  [[nodiscard]] const Processor& processor() const { return *processor_; }
  [[nodiscard]] const std::shared_ptr<const Processor>& shared_processor() const { return processor_; }
  [[nodiscard]] const ModelConfig& config() const { return processor_->config(); }
  [[nodiscard]] Weights& weights() { return weights_; }
  [[nodiscard]] const Weights& weights() const { return weights_; }
  [[nodiscard]] at::Device device() const { return weights_.embedding.device(); }
  [[nodiscard]] at::ScalarType dtype() const { return weights_.embedding.scalar_type(); }

  /// The table of parameters, bound to this model's tensors.
  [[nodiscard]] std::vector<Parameter> parameters() { return parameter_table(config(), weights_); }
  /// Whether the vision tower is trained: where it is not, an image's features stay the same.
  [[nodiscard]] bool trains_vision() const;
  /// Keep only each layer's input for backward and compute the rest again.
  void set_recompute(bool on) { blocks_.recompute = on; }
  /// Who brings the weights where they are not always there. The calls below need them all, but for those of training
  /// and scoring (completion_hidden, completion_logprobs), which fetch each block's.
  void set_keeper(std::shared_ptr<WeightKeeper> keeper) { blocks_.keeper = std::move(keeper); }
  [[nodiscard]] const std::shared_ptr<WeightKeeper>& keeper() const { return blocks_.keeper; }

  /// For each completion token of a batch, in packed order, the normalised hidden row that predicts it [n, D].
  /// Differentiable.
  [[nodiscard]] at::Tensor completion_hidden(const PackedBatch& batch) const;
  /// Log-probs (and entropies) of a batch's completion tokens from those rows. Differentiable (the entropies if asked
  /// for).
  [[nodiscard]] nn::TokenLogProbs logprobs_of(const at::Tensor& hidden_nD, const PackedBatch& batch, double temperature,
                                              bool entropy_gradient = false) const;
  [[nodiscard]] nn::TokenLogProbs completion_logprobs(const PackedBatch& batch, double temperature) const;

  /// Runs prompts and fills the cache's groups; returns the logits behind each prompt, [groups, V]. `features` is given
  /// what the tower made of each prompt's images.
  [[nodiscard]] at::Tensor prefill(std::span<const Prompt* const> prompts, std::span<const int64_t> cache_groups,
                                   nn::KvCache& cache, std::vector<VisionFeatures>* features = nullptr) const;
  /// One token further for each row: ids and positions [n] → logits [n, V].
  [[nodiscard]] at::Tensor decode(std::span<const nn::DecodeRow> rows, std::span<const int64_t> ids,
                                  std::span<const int64_t> positions, nn::KvCache& cache) const;
  /// decode() in parts: what goes to the device, and the work that is done there, behind cache.begin().
  [[nodiscard]] DecodeInputs decode_inputs(std::span<const int64_t> ids, std::span<const int64_t> positions) const;
  [[nodiscard]] at::Tensor decode_step(const DecodeInputs& inputs, nn::KvCache& cache) const;
  [[nodiscard]] std::unique_ptr<nn::KvCache> make_cache() const;

  /// The same model on `device`; tensors that are there already are shared.
  [[nodiscard]] std::unique_ptr<Model> on(at::Device device) const;
  /// The same model with trained tensors of its own, copied to the host's memory, for saving; frozen ones are shared.
  [[nodiscard]] std::unique_ptr<Model> copy_on_host();

  /// Writes a Hugging Face model directory: weights under the hub's names, in this model's type, and the small files. A
  /// model with adapters writes them alone, as PEFT does.
  void save(const std::filesystem::path& folder);

 private:
  /// The decoder's input: tokens' embeddings, with the images' tokens in their places.
  struct Embedded {
    at::Tensor x_TD;
    std::vector<at::Tensor> deepstack_MD;  ///< added to the images' tokens behind the first layers
  };
  [[nodiscard]] Embedded embed(const PackedBatch& batch) const;
  [[nodiscard]] at::Tensor head(const at::Tensor& hidden_nD) const;

  std::shared_ptr<const Processor> processor_;
  Weights weights_;
  BlockRunner blocks_;
};

/// The tensors that require a gradient, of the model and of its adapters.
[[nodiscard]] std::vector<Parameter> trained_parameters(Model& model);

}  // namespace ssl4rl::models
