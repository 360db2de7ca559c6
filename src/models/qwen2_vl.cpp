// Qwen2-VL (arXiv 2409.12191): as Qwen2.5-VL, but for a ViT with LayerNorm and QuickGELU that attends over whole
// images.
#include "qwen_config.h"
#include "ssl4rl/models/family.h"

namespace ssl4rl::models {
namespace {

void read_vision(const JsonReader& json, const TextConfig& text, VisionConfig& vision) {
  read_vision_shape(json, "embed_dim", "hidden_size", 14, text, vision);  // here hidden_size is the decoder's width
  vision.intermediate_size =
      static_cast<int64_t>(static_cast<double>(vision.hidden_size) * json.get<double>("mlp_ratio", 4));
  vision.norm = NormKind::kLayer;
  vision.feed_forward = FeedForward::kQuickGelu;
  json.expect("hidden_act", "quick_gelu");
  if (vision.intermediate_size <= 0)
    fail("{}: \"{}\": expected a positive number", json.file(), json.name("mlp_ratio"));
}

void read_config(const JsonReader& json, ModelConfig& config) {
  read_decoder(text_part(json), {.norm_eps = 1e-5, .qkv_bias = true}, config.text);
  config.text.tie_embeddings = read_tie_embeddings(json);
  read_vision(json.object("vision_config"), config.text, config.vision);
  read_special_ids(json, config.ids);
}

}  // namespace

Family qwen2_vl() {
  return {.model_type = "qwen2_vl",
          .read_config = read_config,
          .names = {.vision_up = "fc1",
                    .vision_down = "fc2",
                    .merger_norm = "ln_q",
                    .merger_up = "mlp.0",
                    .merger_down = "mlp.2"},
          .chat = {.default_system = "You are a helpful assistant.",
                   .reserved = {"<|image_pad|>", "<|video_pad|>"},
                   .image = "<|vision_start|><|image_pad|><|vision_end|>"},
          .end_of_turn = "<|im_end|>",
          .never_sampled = qwen_vision_markers()};
}

}  // namespace ssl4rl::models
