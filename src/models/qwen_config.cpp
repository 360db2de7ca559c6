#include "qwen_config.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace ssl4rl::models {
namespace {

// The RoPE parameters stand in `rope_parameters` (transformers 5) or in `rope_theta` and `rope_scaling` (older files).
void read_rope(const JsonReader& text, const DecoderTraits& traits, int64_t head_dim, RopeConfig& rope) {
  const char* const key = text.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const JsonReader json =
      text.has(key) ? text.object(key) : JsonReader(JsonReader::Json::object(), text.file(), text.name(key));
  rope.theta =
      json.has("rope_theta") ? json.get<double>("rope_theta") : text.get<double>("rope_theta", traits.rope_theta);
  if (!(rope.theta > 1))
    fail("{}: \"{}\" is {}: expected a number above 1", text.file(), text.name("rope_theta"), rope.theta);

  const std::string type =
      json.has("rope_type") ? json.get<std::string>("rope_type") : json.get<std::string>("type", "default");
  if (type == "linear" || type == "yarn") {
    rope.scaling = type == "linear" ? RopeConfig::Scaling::kLinear : RopeConfig::Scaling::kYarn;
    rope.factor = json.get<double>("factor");
    if (!(rope.factor > 0))
      fail("{}: \"{}\" is {}: expected a positive number", text.file(), json.name("factor"), rope.factor);
  } else if (type != "default" && type != "mrope") {
    fail("{}: the RoPE type \"{}\" is not supported; supported: default, mrope, linear, yarn", text.file(), type);
  }
  if (type == "yarn") {
    rope.original_positions = static_cast<double>(json.has("original_max_position_embeddings")
                                                      ? json.count("original_max_position_embeddings")
                                                      : text.count("max_position_embeddings"));
    rope.beta_fast = json.get<double>("beta_fast", rope.beta_fast);
    rope.beta_slow = json.get<double>("beta_slow", rope.beta_slow);
    rope.truncate = json.get<bool>("truncate", rope.truncate);
    const auto scale = [&](double m) { return rope.factor <= 1 ? 1.0 : 0.1 * m * std::log(rope.factor) + 1; };
    const double m = json.get<double>("mscale", 0), m_all = json.get<double>("mscale_all_dim", 0);
    rope.attention_factor =
        json.get<double>("attention_factor", m != 0 && m_all != 0 ? scale(m) / scale(m_all) : scale(1));
  }

  if (traits.axes == 1) {
    rope.sections = {head_dim / 2};
    return;
  }
  rope.sections = traits.sections.empty() ? json.get<std::vector<int64_t>>("mrope_section")
                                          : json.get<std::vector<int64_t>>("mrope_section", traits.sections);
  rope.interleaved = traits.interleaved;
  const int64_t sum = std::accumulate(rope.sections.begin(), rope.sections.end(), int64_t{0});
  const bool positive =
      std::all_of(rope.sections.begin(), rope.sections.end(), [](int64_t section) { return section >= 0; });
  if (rope.sections.size() != traits.axes || !positive || (!rope.interleaved && sum * 2 != head_dim))
    fail("{}: \"{}\": expected three numbers whose sum is half of the head dimension {}", text.file(),
         json.name("mrope_section"), head_dim);
}

}  // namespace

JsonReader text_part(const JsonReader& json) { return json.has("text_config") ? json.object("text_config") : json; }

void read_decoder(const JsonReader& text, const DecoderTraits& traits, TextConfig& config) {
  config.vocab_size = text.count("vocab_size");
  config.hidden_size = text.count("hidden_size");
  config.layers = text.count("num_hidden_layers");
  config.heads = text.count("num_attention_heads");
  config.key_heads = text.count("num_key_value_heads", config.heads);
  config.head_dim = text.count("head_dim", traits.head_dim > 0 ? traits.head_dim : config.hidden_size / config.heads);
  config.intermediate_size = text.count("intermediate_size");
  config.norm_eps = text.get<double>("rms_norm_eps", traits.norm_eps);
  const bool bias = text.get<bool>("attention_bias", false);
  config.qkv_bias = traits.qkv_bias || bias;
  config.out_bias = !traits.qkv_bias && bias;
  config.qk_norm = traits.qk_norm;
  text.expect("hidden_act", "silu");
  if (config.heads % config.key_heads != 0)
    fail("{}: {} attention heads cannot share {} key heads", text.file(), config.heads, config.key_heads);
  if (config.head_dim % 2 != 0)
    fail("{}: \"{}\" is {}: expected an even number", text.file(), text.name("head_dim"), config.head_dim);
  if (text.get<bool>("use_sliding_window", false) && text.get<int64_t>("max_window_layers", 0) < config.layers)
    fail("{}: \"{}\": sliding windows are not supported", text.file(), text.name("use_sliding_window"));
  for (const auto& type : text.get<std::vector<std::string>>("layer_types", {}))
    if (type != "full_attention")
      fail("{}: \"{}\": the layer type \"{}\" is not supported", text.file(), text.name("layer_types"), type);
  read_rope(text, traits, config.head_dim, config.rope);
}

bool read_tie_embeddings(const JsonReader& json) {
  // Files of transformers before version 5 may hold it in the text part alone.
  return json.get<bool>("tie_word_embeddings", false) || text_part(json).get<bool>("tie_word_embeddings", false);
}

void read_vision_shape(const JsonReader& vision, const char* width_key, const char* out_key, int64_t default_patch,
                       const TextConfig& text, VisionConfig& config) {
  config.depth = vision.count("depth");
  config.hidden_size = vision.count(width_key);
  config.heads = vision.count("num_heads");
  config.in_channels = vision.has("in_channels") ? vision.count("in_channels") : vision.count("in_chans", 3);
  config.patch_size = vision.count("patch_size", default_patch);
  config.temporal_patch_size = vision.count("temporal_patch_size", 2);
  config.merge_size = vision.count("spatial_merge_size", 2);
  if (vision.has("rope_parameters"))
    config.rope_theta = vision.object("rope_parameters").get<double>("rope_theta", config.rope_theta);
  if (config.in_channels != 3) fail("{}: {} image channels are not supported", vision.file(), config.in_channels);
  if (config.hidden_size % config.heads != 0 || config.hidden_size / config.heads % 4 != 0)
    fail("{}: \"{}\" must be a multiple of 4 times \"{}\"", vision.file(), vision.name(width_key),
         vision.name("num_heads"));
  if (const int64_t width = vision.count(out_key, text.hidden_size); width != text.hidden_size)
    fail("{}: \"{}\" is {}, the decoder's width is {}", vision.file(), vision.name(out_key), width, text.hidden_size);
}

void read_special_ids(const JsonReader& json, SpecialIds& ids) {
  ids.image = json.get<int64_t>("image_token_id");
  ids.video = json.get<int64_t>("video_token_id", -1);
  ids.vision_start = json.get<int64_t>("vision_start_token_id", -1);
  ids.vision_end = json.get<int64_t>("vision_end_token_id", -1);
}

const std::vector<std::string>& qwen_vision_markers() {
  static const std::vector<std::string> markers{"<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>",
                                                "<|video_pad|>"};
  return markers;
}

}  // namespace ssl4rl::models
