// Qwen3, dense, text alone (arXiv 2505.09388): normalised queries and keys, no biases, plain RoPE.
#include "qwen_config.h"
#include "ssl4rl/models/family.h"

namespace ssl4rl::models {
namespace {

void read_config(const JsonReader& json, ModelConfig& config) {
  read_decoder(json, {.rope_theta = 1e4, .head_dim = 128, .qk_norm = true, .axes = 1}, config.text);
  config.text.tie_embeddings = read_tie_embeddings(json);
}

}  // namespace

Family qwen3() {
  return {.model_type = "qwen3",
          .read_config = read_config,
          .chat = {.drop_old_thinking = true},
          .end_of_turn = "<|im_end|>",
          .never_sampled = qwen_vision_markers()};
}

}  // namespace ssl4rl::models
