// Readers of the parts of config.json that the Qwen families share, in the published flat form and the nested one of
// transformers 4.52 and later.
#pragma once

#include <string>
#include <vector>

#include "json_reader.h"
#include "ssl4rl/models/config.h"

namespace ssl4rl::models {

/// What a family assumes where config.json is silent (the defaults of transformers' configuration classes), and what
/// its decoder is like.
struct DecoderTraits {
  double norm_eps = 1e-6, rope_theta = 1e6;
  int64_t head_dim = 0;   ///< 0: hidden size / heads
  bool qkv_bias = false;  ///< always; otherwise as "attention_bias" says
  bool qk_norm = false;
  size_t axes = 3;                ///< of positions
  std::vector<int64_t> sections;  ///< of M-RoPE where the file names none; empty: it must
  bool interleaved = false;
};

/// The part of config.json that describes the decoder: "text_config" or the whole file.
[[nodiscard]] JsonReader text_part(const JsonReader& json);

/// The decoder's shape and RoPE. Throws Error on what is not supported (sliding windows, unknown RoPE types).
void read_decoder(const JsonReader& text, const DecoderTraits& traits, TextConfig& config);

/// tie_word_embeddings, from the top level or the text part.
[[nodiscard]] bool read_tie_embeddings(const JsonReader& json);

/// Depth, heads, channels and patch sizes; `width_key` names the tower's width, `out_key` the decoder's.
void read_vision_shape(const JsonReader& vision, const char* width_key, const char* out_key, int64_t default_patch,
                       const TextConfig& text, VisionConfig& config);

/// image_token_id and its like.
void read_special_ids(const JsonReader& json, SpecialIds& ids);

/// Vision markers of the Qwen tokenizers.
[[nodiscard]] const std::vector<std::string>& qwen_vision_markers();

}  // namespace ssl4rl::models
