// Qwen2.5-VL (arXiv 2502.13923): a ViT with window attention, a 2×2 patch merger, a GQA decoder with M-RoPE.
#include "json_reader.h"
#include "ssl4rl/models/family.h"

namespace ssl4rl::models {
namespace {

// The RoPE parameters stand in `rope_parameters` (transformers 5) or in `rope_theta` and `rope_scaling` (older files).
void read_rope(const JsonReader& json, TextConfig& text) {
  const bool nested = json.has("rope_parameters");
  const JsonReader rope = json.object(nested ? "rope_parameters" : "rope_scaling");
  const std::string type =
      rope.has("rope_type") ? rope.get<std::string>("rope_type") : rope.get<std::string>("type", "default");
  if (type != "default" && type != "mrope") fail("{}: the RoPE type \"{}\" is not supported", json.file(), type);
  text.rope_theta = nested ? rope.get<double>("rope_theta", 1e6) : json.get<double>("rope_theta", 1e6);
  text.mrope_section = rope.get<std::vector<int64_t>>("mrope_section");
  int64_t sum = 0;
  for (const int64_t section : text.mrope_section) sum += section;
  if (text.mrope_section.size() != 3 || sum * 2 != text.head_dim)
    fail("{}: \"{}\": expected three numbers whose sum is half of the head dimension {}", json.file(),
         rope.name("mrope_section"), text.head_dim);
}

void read_text(const JsonReader& json, TextConfig& text) {
  text.vocab_size = json.count("vocab_size");
  text.hidden_size = json.count("hidden_size");
  text.layers = json.count("num_hidden_layers");
  text.heads = json.count("num_attention_heads");
  text.key_heads = json.count("num_key_value_heads", text.heads);
  text.head_dim = json.count("head_dim", text.hidden_size / text.heads);
  text.intermediate_size = json.count("intermediate_size");
  text.norm_eps = json.get<double>("rms_norm_eps", 1e-6);
  json.expect("hidden_act", "silu");
  if (json.get<bool>("use_sliding_window", false))
    fail("{}: \"use_sliding_window\": sliding windows are not supported", json.file());
  if (text.heads % text.key_heads != 0)
    fail("{}: {} attention heads cannot share {} key heads", json.file(), text.heads, text.key_heads);
  read_rope(json, text);
}

void read_vision(const JsonReader& json, int64_t text_width, VisionConfig& vision) {
  vision.depth = json.count("depth");
  vision.hidden_size = json.count("hidden_size");
  vision.heads = json.count("num_heads");
  vision.intermediate_size = json.count("intermediate_size");
  vision.in_channels = json.has("in_channels") ? json.count("in_channels") : json.count("in_chans", 3);
  vision.patch_size = json.count("patch_size", 14);
  vision.temporal_patch_size = json.count("temporal_patch_size", 2);
  vision.merge_size = json.count("spatial_merge_size", 2);
  vision.window_size = json.count("window_size", 112);
  vision.full_blocks = json.get<std::vector<int64_t>>("fullatt_block_indexes", {7, 15, 23, 31});
  json.expect("hidden_act", "silu");
  if (vision.in_channels != 3) fail("{}: {} image channels are not supported", json.file(), vision.in_channels);
  if (vision.hidden_size % vision.heads != 0 || vision.hidden_size / vision.heads % 4 != 0)
    fail("{}: \"{}\" must be a multiple of 4 times \"{}\"", json.file(), json.name("hidden_size"),
         json.name("num_heads"));
  if (vision.window_size % vision.token_pixels() != 0)
    fail("{}: \"{}\" must be a multiple of {}", json.file(), json.name("window_size"), vision.token_pixels());
  if (const int64_t width = json.count("out_hidden_size", text_width); width != text_width)
    fail("{}: \"{}\" is {}, the decoder's width is {}", json.file(), json.name("out_hidden_size"), width, text_width);
}

void read_config(const JsonReader& json, ModelConfig& config) {
  const bool nested = json.has("text_config");  // transformers 4.52 and later nest what was flat before
  const JsonReader text = nested ? json.object("text_config") : json;
  read_text(text, config.text);
  config.text.tie_embeddings = json.has("tie_word_embeddings") ? json.get<bool>("tie_word_embeddings")
                                                               : text.get<bool>("tie_word_embeddings", false);
  read_vision(json.object("vision_config"), config.text.hidden_size, config.vision);
  config.ids.image = json.get<int64_t>("image_token_id");
  config.ids.video = json.get<int64_t>("video_token_id", -1);
  config.ids.vision_start = json.get<int64_t>("vision_start_token_id", -1);
  config.ids.vision_end = json.get<int64_t>("vision_end_token_id", -1);
}

}  // namespace

Family qwen2_5_vl() {
  return {.model_type = "qwen2_5_vl",
          .read_config = read_config,
          .chat = {.default_system = "You are a helpful assistant.",
                   .reserved = {"<|image_pad|>", "<|video_pad|>"},
                   .image = "<|vision_start|><|image_pad|><|vision_end|>"},
          .end_of_turn = "<|im_end|>",
          .never_sampled = {"<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"}};
}

}  // namespace ssl4rl::models
