// What a model directory says about the model: plain fields for what differs between models. Filled by the family's
// reader from config.json (old and new form), generation_config.json and the processor's settings.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace ssl4rl::models {

/// Normalisation: RMSNorm (a weight) or LayerNorm (weight and bias).
enum class NormKind { kRms, kLayer };
/// Feed-forward: down(silu(gate(x)) * up(x)), or down(activation(up(x))).
enum class FeedForward { kSwiGlu, kQuickGelu, kGeluTanh };

/// How positions turn the heads of the decoder.
struct RopeConfig {
  double theta = 1e6;
  /// Frequencies per axis (time, height, width); sums to head_dim / 2. Models of text alone have one axis.
  std::vector<int64_t> sections;
  bool interleaved = false;  ///< frequencies take the axes in turn (Qwen3-VL), not one block after the other
  enum class Scaling { kNone, kLinear, kYarn };
  Scaling scaling = Scaling::kNone;
  double factor = 1;            ///< positions are stretched by it (linear; YaRN, arXiv 2309.00071)
  double attention_factor = 1;  ///< YaRN: cosines and sines are multiplied by it
  double beta_fast = 32, beta_slow = 1, original_positions = 0;  ///< YaRN: where interpolation begins and is complete
  bool truncate = true;                                          ///< YaRN: that range is widened to whole frequencies
};

/// Names that differ between families, of tensors and of the prefixes under which they are published.
struct WeightNames {
  std::string decoder = "model.", vision = "visual.";  ///< how the hub's names begin
  std::string vision_up, vision_down;  ///< of a block's feed-forward (SwiGLU: the gate's and up's are fixed)
  std::string merger_norm, merger_up, merger_down;
};

struct TextConfig {
  int64_t vocab_size = 0;  ///< rows of the embedding, which may exceed the tokenizer
  int64_t hidden_size = 0;
  int64_t layers = 0;
  int64_t heads = 0, key_heads = 0, head_dim = 0;
  int64_t intermediate_size = 0;
  double norm_eps = 1e-6;
  bool qkv_bias = false, out_bias = false;  ///< of the attention's products
  bool qk_norm = false;                     ///< RMSNorm of each head's query and key before rotation
  RopeConfig rope;
  bool tie_embeddings = false;  ///< the output layer is the embedding
};

struct VisionConfig {
  int64_t depth = 0;  ///< 0: the model reads no images
  int64_t hidden_size = 0;
  int64_t heads = 0;
  int64_t intermediate_size = 0;
  int64_t in_channels = 3;
  int64_t patch_size = 14;          ///< pixels
  int64_t temporal_patch_size = 2;  ///< frames in a patch; a still image is repeated
  int64_t merge_size = 2;           ///< patches per side of one image token
  NormKind norm = NormKind::kRms;
  FeedForward feed_forward = FeedForward::kSwiGlu;
  bool patch_bias = false;
  int64_t window_size = 0;  ///< pixels per side of an attention window; 0: every block attends over the whole image
  std::vector<int64_t> full_blocks;  ///< with windows: blocks that attend over the whole image
  int64_t position_rows = 0;         ///< learned position embeddings, a square grid resampled to each image's; 0: none
  std::vector<int64_t> deepstack;    ///< blocks whose output is merged too and added behind the first decoder layers
  double norm_eps = 1e-6;
  double rope_theta = 10000;

  /// Values of one patch.
  [[nodiscard]] int64_t patch_values() const { return in_channels * temporal_patch_size * patch_size * patch_size; }
  /// Pixels per side of one image token; image sides are multiples of it.
  [[nodiscard]] int64_t token_pixels() const { return patch_size * merge_size; }
};

struct ImageSettings {
  int64_t min_pixels = 56 * 56, max_pixels = 28 * 28 * 1280;
  std::array<double, 3> mean{}, std{};
};

struct SpecialIds {
  int64_t image = -1, video = -1, vision_start = -1, vision_end = -1;
  std::optional<int64_t> padding;
  std::vector<int64_t> end_of_sequence;  ///< any of them ends a sample; empty: the family's end-of-turn token
};

struct ModelConfig {
  std::string model_type;
  TextConfig text;
  VisionConfig vision;
  ImageSettings image;
  SpecialIds ids;
  WeightNames names;

  [[nodiscard]] bool reads_images() const { return vision.depth > 0; }
};

/// Reads a model directory's configuration files. Throws Error naming the file, the key, and what was expected.
[[nodiscard]] ModelConfig read_model_config(const std::filesystem::path& folder);

}  // namespace ssl4rl::models
