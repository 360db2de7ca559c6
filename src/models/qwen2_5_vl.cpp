// Qwen2.5-VL (arXiv 2502.13923): a ViT with window attention, a 2×2 patch merger, a GQA decoder with M-RoPE.
#include "qwen_config.h"
#include "ssl4rl/models/family.h"

namespace ssl4rl::models {
namespace {

void read_vision(const JsonReader& json, const TextConfig& text, VisionConfig& vision) {
  read_vision_shape(json, "hidden_size", "out_hidden_size", 14, text, vision);
  vision.intermediate_size = json.count("intermediate_size");
  vision.window_size = json.count("window_size", 112);
  vision.full_blocks = json.get<std::vector<int64_t>>("fullatt_block_indexes", {7, 15, 23, 31});
  json.expect("hidden_act", "silu");
  if (vision.window_size % vision.token_pixels() != 0)
    fail("{}: \"{}\" must be a multiple of {}", json.file(), json.name("window_size"), vision.token_pixels());
}

void read_config(const JsonReader& json, ModelConfig& config) {
  read_decoder(text_part(json), {.norm_eps = 1e-5, .qkv_bias = true}, config.text);
  config.text.tie_embeddings = read_tie_embeddings(json);
  read_vision(json.object("vision_config"), config.text, config.vision);
  read_special_ids(json, config.ids);
}

}  // namespace

Family qwen2_5_vl() {
  return {.model_type = "qwen2_5_vl",
          .read_config = read_config,
          .names = {.merger_norm = "ln_q", .merger_up = "mlp.0", .merger_down = "mlp.2"},
          .chat = {.default_system = "You are a helpful assistant.",
                   .reserved = {"<|image_pad|>", "<|video_pad|>"},
                   .image = "<|vision_start|><|image_pad|><|vision_end|>"},
          .end_of_turn = "<|im_end|>",
          .never_sampled = qwen_vision_markers()};
}

}  // namespace ssl4rl::models
