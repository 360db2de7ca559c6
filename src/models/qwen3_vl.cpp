// Qwen3-VL, dense (arXiv 2511.21631): a ViT with learned positions whose middle blocks also feed the first decoder
// layers (DeepStack, arXiv 2406.04334); a decoder with normalised queries and keys and interleaved M-RoPE.
#include <algorithm>

#include "qwen_config.h"
#include "ssl4rl/models/family.h"

namespace ssl4rl::models {
namespace {

void read_vision(const JsonReader& json, const TextConfig& text, VisionConfig& vision) {
  read_vision_shape(json, "hidden_size", "out_hidden_size", 16, text, vision);
  vision.intermediate_size = json.count("intermediate_size");
  vision.norm = NormKind::kLayer;
  vision.feed_forward = FeedForward::kGeluTanh;
  vision.patch_bias = true;
  vision.position_rows = json.count("num_position_embeddings", 2304);
  vision.deepstack = json.get<std::vector<int64_t>>("deepstack_visual_indexes", {8, 16, 24});
  json.expect("hidden_act", "gelu_pytorch_tanh");
  const bool in_range = std::all_of(vision.deepstack.begin(), vision.deepstack.end(),
                                    [&](int64_t block) { return block >= 0 && block < vision.depth; });
  if (!in_range || static_cast<int64_t>(vision.deepstack.size()) > text.layers)
    fail("{}: \"{}\": expected blocks below {}, no more than the decoder's {} layers", json.file(),
         json.name("deepstack_visual_indexes"), vision.depth, text.layers);
}

void read_config(const JsonReader& json, ModelConfig& config) {
  read_decoder(text_part(json),
               {.rope_theta = 5e5, .head_dim = 128, .qk_norm = true, .sections = {24, 20, 20}, .interleaved = true},
               config.text);
  config.text.tie_embeddings = read_tie_embeddings(json);
  read_vision(json.object("vision_config"), config.text, config.vision);
  read_special_ids(json, config.ids);
}

}  // namespace

Family qwen3_vl() {
  return {.model_type = "qwen3_vl",
          .read_config = read_config,
          .names = {.decoder = "model.language_model.",
                    .vision = "model.visual.",
                    .vision_up = "linear_fc1",
                    .vision_down = "linear_fc2",
                    .merger_norm = "norm",
                    .merger_up = "linear_fc1",
                    .merger_down = "linear_fc2"},
          .chat = {.reserved = {"<|image_pad|>", "<|video_pad|>"},
                   .image = "<|vision_start|><|image_pad|><|vision_end|>",
                   .system_first = true,
                   .images_of_users = true},
          .end_of_turn = "<|im_end|>",
          .never_sampled = qwen_vision_markers()};
}

}  // namespace ssl4rl::models
