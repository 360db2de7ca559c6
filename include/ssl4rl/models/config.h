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

struct TextConfig {
  int64_t vocab_size = 0;  ///< rows of the embedding, which may exceed the tokenizer
  int64_t hidden_size = 0;
  int64_t layers = 0;
  int64_t heads = 0, key_heads = 0, head_dim = 0;
  int64_t intermediate_size = 0;
  double norm_eps = 1e-6;
  double rope_theta = 1e6;
  std::vector<int64_t> mrope_section;  ///< frequencies per axis (time, height, width); sums to head_dim / 2
  bool tie_embeddings = false;         ///< the output layer is the embedding
};

struct VisionConfig {
  int64_t depth = 0;
  int64_t hidden_size = 0;
  int64_t heads = 0;
  int64_t intermediate_size = 0;
  int64_t in_channels = 3;
  int64_t patch_size = 14;           ///< pixels
  int64_t temporal_patch_size = 2;   ///< frames in a patch; a still image is repeated
  int64_t merge_size = 2;            ///< patches per side of one image token
  int64_t window_size = 112;         ///< pixels per side of an attention window
  std::vector<int64_t> full_blocks;  ///< blocks that attend over the whole image
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
};

/// Reads a model directory's configuration files. Throws Error naming the file, the key, and what was expected.
[[nodiscard]] ModelConfig read_model_config(const std::filesystem::path& folder);

}  // namespace ssl4rl::models
