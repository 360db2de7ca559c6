// The demo's model: Qwen2.5-VL in miniature, 1.6 million parameters, with a tokenizer of 384 entries.
#pragma once

#include <array>

namespace ssl4rl::cli::demo {

/// Merges of the tokenizer, learned from the demo's prompts and, with less weight, from configs/prompts.yaml. \u0120
/// stands for a space and \u010a for a line break, as in every byte-level vocabulary.
inline constexpr std::array kMerges{"e r",
                                    "a n",
                                    "i s",
                                    "w er",
                                    "s wer",
                                    "\u0120 a",
                                    "\u0120 t",
                                    "an swer",
                                    "r e",
                                    "o u",
                                    "< /",
                                    "h e",
                                    "> .",
                                    "s s",
                                    "t an",
                                    "is tan",
                                    "ss istan",
                                    "ssistan t",
                                    "n e",
                                    "\u0120 c",
                                    "\u0120 <",
                                    "\u0120 p",
                                    "e s",
                                    "i c",
                                    "o w",
                                    "n t",
                                    "l o",
                                    "\u0120 is",
                                    "s t",
                                    "\u0120a re",
                                    "i n",
                                    "t u",
                                    "\u0120t h",
                                    "ou nt",
                                    "\u0120p ic",
                                    "tu re",
                                    "\u0120pic ture",
                                    "u r",
                                    "\u0120 m",
                                    "d e",
                                    "\u0120 o",
                                    "- c",
                                    "c k",
                                    "g re",
                                    "w is",
                                    "\u0120t ur",
                                    "ne d",
                                    "\u0120c ount",
                                    "lo ck",
                                    "-c lock",
                                    "wis e",
                                    "\u0120tur ned",
                                    "\u0120count er",
                                    "-clock wise",
                                    "\u0120 de",
                                    "an y",
                                    "st e",
                                    "\u0120th is",
                                    "\u0120m any",
                                    "gre es",
                                    "\u0120de grees",
                                    ". .",
                                    "? \u010a",
                                    "A n",
                                    "H ow",
                                    "Y ou",
                                    "a ssistant",
                                    "f u",
                                    "l p",
                                    "s y",
                                    "s er",
                                    "u ser",
                                    "\u0120 he",
                                    "\u0120a s",
                                    "\u0120a ssistant",
                                    "\u0120t he",
                                    ">. ..",
                                    "ste m",
                                    "An swer",
                                    "fu l",
                                    "lp ful",
                                    "sy stem",
                                    "\u0120he lpful",
                                    ">... </",
                                    "i v",
                                    "l e",
                                    "t h",
                                    "iv e",
                                    "in k",
                                    "th ink",
                                    "t ive",
                                    "\u0120 i",
                                    "o p",
                                    "s i",
                                    "- le",
                                    "f t",
                                    "\u0120 b",
                                    "-le ft",
                                    "o m",
                                    "\u0120 s",
                                    "\u0120 {",
                                    "o si",
                                    "a tive",
                                    "g ative",
                                    "\u0120 f",
                                    "\u0120 ne",
                                    "osi tive",
                                    "\u0120ne gative",
                                    "< answer",
                                    "< think",
                                    "> t",
                                    "> \u010a",
                                    "p ositive",
                                    "\u0120o f",
                                    ">t op",
                                    "er e",
                                    "a c",
                                    "an d",
                                    "m a",
                                    "u m"};

/// Added tokens, in the order of the published tokenizer.
inline constexpr std::array kAdded{"<|endoftext|>",  "<|im_start|>",   "<|im_end|>",    "<|vision_start|>",
                                   "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"};

inline constexpr const char* kConfig = R"json({
  "architectures": ["Qwen2_5_VLForConditionalGeneration"],
  "model_type": "qwen2_5_vl",
  "attention_dropout": 0.0,
  "bos_token_id": 376,
  "eos_token_id": 378,
  "vision_start_token_id": 379,
  "vision_end_token_id": 380,
  "vision_token_id": 381,
  "image_token_id": 382,
  "video_token_id": 383,
  "hidden_act": "silu",
  "hidden_size": 128,
  "initializer_range": 0.05,
  "intermediate_size": 384,
  "max_position_embeddings": 32768,
  "max_window_layers": 4,
  "num_attention_heads": 4,
  "num_hidden_layers": 4,
  "num_key_value_heads": 2,
  "rms_norm_eps": 1e-06,
  "rope_theta": 1000000.0,
  "rope_scaling": {"type": "mrope", "mrope_section": [4, 6, 6]},
  "sliding_window": 32768,
  "tie_word_embeddings": true,
  "torch_dtype": "float32",
  "use_cache": true,
  "use_sliding_window": false,
  "vocab_size": 384,
  "vision_config": {
    "depth": 4,
    "fullatt_block_indexes": [1, 3],
    "hidden_act": "silu",
    "hidden_size": 96,
    "in_chans": 3,
    "intermediate_size": 256,
    "num_heads": 4,
    "out_hidden_size": 128,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "tokens_per_second": 2,
    "window_size": 56
  }
}
)json";

inline constexpr const char* kGenerationConfig = R"json({
  "bos_token_id": 376,
  "pad_token_id": 376,
  "eos_token_id": [378, 376]
}
)json";

inline constexpr const char* kPreprocessorConfig = R"json({
  "image_processor_type": "Qwen2VLImageProcessor",
  "processor_class": "Qwen2_5_VLProcessor",
  "min_pixels": 3136,
  "max_pixels": 200704,
  "patch_size": 14,
  "temporal_patch_size": 2,
  "merge_size": 2,
  "image_mean": [0.48145466, 0.4578275, 0.40821073],
  "image_std": [0.26862954, 0.26130258, 0.27577711]
}
)json";

/// What transformers renders; ssl4rl has it written out (models/qwen2_5_vl.cpp).
inline constexpr const char* kChatTemplate =
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% "
    "endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

inline constexpr double kInitStd = 0.05;
inline constexpr int kImages = 6000, kImageSide = 56;

}  // namespace ssl4rl::cli::demo
