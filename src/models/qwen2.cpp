// Qwen2 and Qwen2.5, text alone (arXiv 2407.10671, 2412.15115): the decoder of Qwen2.5-VL with plain RoPE.
#include "qwen_config.h"
#include "ssl4rl/models/family.h"

namespace ssl4rl::models {
namespace {

void read_config(const JsonReader& json, ModelConfig& config) {
  read_decoder(json, {.rope_theta = 1e4, .qkv_bias = true, .axes = 1}, config.text);
  config.text.tie_embeddings = read_tie_embeddings(json);
}

}  // namespace

Family qwen2() {
  return {.model_type = "qwen2",
          .read_config = read_config,
          .chat = {.default_system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."},
          .end_of_turn = "<|im_end|>",
          .never_sampled = qwen_vision_markers()};
}

}  // namespace ssl4rl::models
