// The tensors of a model, and the table that ties each to its names in Hugging Face files.
//
// Products that share an input are stored as one: query, key and value; gate and up. A table entry says which rows of
// our tensor a file's tensor fills. Shape suffixes: D model width, E query + 2 × key heads, H head dimension, F
// feed-forward width, V vocabulary rows.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ssl4rl/io/safetensors.h"
#include "ssl4rl/models/block.h"
#include "ssl4rl/models/config.h"
#include "ssl4rl/nn/packed_matrix.h"

namespace ssl4rl::models {

/// A low-rank addition to some rows of a product (models/lora.h): y[rows] += scale · (x Aᵀ) Bᵀ. A and B are float32.
struct Adapter {
  std::string module;               ///< the product's name on the hub, without ".weight"
  uint64_t number = 0;              ///< among the model's adapters, for dropout
  int64_t first_row = 0, rows = 0;  ///< of the product's output
  at::Tensor a, b;                  ///< [rank, in], [rows, rank]
  double scale = 1;
};
/// Dropout of the adapters' inputs; off while there is no key. Equal keys give equal masks.
struct AdapterDropout {
  double probability = 0;
  std::optional<uint64_t> key;
};

struct Linear {
  at::Tensor weight;              ///< [out, in]
  at::Tensor bias;                ///< [out], or undefined
  std::vector<Adapter> adapters;  ///< in the order of their rows
  std::shared_ptr<const AdapterDropout> dropout;
  nn::PackedMatrix packed;  ///< of the weight, where the model only samples (pack_weights)

  [[nodiscard]] at::Tensor operator()(const at::Tensor& x) const;
};

struct DecoderLayer {
  at::Tensor input_norm;      ///< [D]
  Linear qkv;                 ///< [E * H, D]
  at::Tensor q_norm, k_norm;  ///< [H], with TextConfig::qk_norm
  Linear out;                 ///< [D, N * H]
  at::Tensor post_norm;       ///< [D]
  Linear gate_up;             ///< [2F, D]
  Linear down;                ///< [D, F]
};

struct Norm {
  at::Tensor weight;
  at::Tensor bias;  ///< undefined with RMSNorm
};

struct VisionBlock {
  Norm norm1;
  Linear qkv, out;
  Norm norm2;
  Linear up, down;  ///< up: [2F, D] with SwiGLU (gate, then up), else [F, D]
};

/// From blocks of patches to image tokens.
struct Merger {
  Norm norm;
  Linear up, down;
};

struct VisionWeights {
  Linear patch_embed;    ///< [D, patch values]
  at::Tensor positions;  ///< [position_rows, D]
  std::vector<VisionBlock> blocks;
  Merger merger;
  std::vector<Merger> deepstack;
};

struct Weights {
  at::Tensor embedding;  ///< [V, D]
  std::vector<DecoderLayer> layers;
  at::Tensor norm;               ///< [D]
  at::Tensor head;               ///< [V, D]; the embedding itself where they are tied
  nn::PackedMatrix packed_head;  ///< see Linear::packed
  VisionWeights vision;

  /// The adapters' settings, where there are any.
  struct Lora {
    int64_t rank = 0;
    double alpha = 0;
    std::shared_ptr<AdapterDropout> dropout;
    std::filesystem::path base;  ///< the directory of the weights that they belong to
  };
  std::optional<Lora> lora;
};

/// Parts of a model that can be frozen.
enum class Part { kVision, kMerger, kLanguage, kEmbeddings };

/// A tensor that is trained as one, and where its rows stand in files.
struct Parameter {
  struct Piece {
    std::string name;                 ///< visual.…, model.layers.…, lm_head.weight, whatever the family's prefixes
    std::vector<int64_t> shape;       ///< in the file
    int64_t first_row = 0, rows = 0;  ///< of our tensor
  };
  std::string name;    ///< unique; the piece's name where there is one piece
  at::Tensor* tensor;  ///< in the Weights that the table was made for
  std::vector<int64_t> shape;
  Part part;
  std::vector<Piece> pieces;
  Block block;
};

/// The products of the blocks and mergers.
[[nodiscard]] std::vector<Linear*> products(Weights& weights);

/// The same tensors with packed products, for sampling while the weights do not change. Where the memory does not allow
/// a second copy in panels, these are made on the fly. Returns the weights as they are where they cannot be packed.
[[nodiscard]] Weights pack_weights(Weights weights);

/// The table of all parameters. With tied embeddings the head is not in it.
[[nodiscard]] std::vector<Parameter> parameter_table(const ModelConfig& config, Weights& weights);

/// Throws Error listing the tensors that are missing, unexpected or of another shape than the configuration needs.
void check_weights(const ModelConfig& config, const io::SafetensorsModel& files);

/// Called with each parameter of a model as it has been read.
using Loaded = std::function<void(const Parameter&)>;
/// Allocates all tensors of the table, filled from the files (converted tensor by tensor). Throws Error listing what is
/// missing, unexpected or of another shape.
void load_weights(const ModelConfig& config, const io::SafetensorsModel& files, const at::TensorOptions& options,
                  Weights& weights, const Loaded& loaded = {});

/// The table's tensors under the names and shapes that the family is published with, as views.
[[nodiscard]] io::NamedTensors hub_tensors(const ModelConfig& config, Weights& weights);

/// The table's name for a tensor of any published layout ("model.visual.x" → "visual.x").
[[nodiscard]] std::string table_name(std::string name);
/// The name that a family is published with ("visual.x" → "model.visual.x" for Qwen3-VL).
[[nodiscard]] std::string published_name(const WeightNames& names, const std::string& table_name);

}  // namespace ssl4rl::models
