// What is particular to a model family. A family is data and a reader of its config.json; the layers are shared.
#pragma once

#include <string>
#include <vector>

#include "ssl4rl/models/config.h"
#include "ssl4rl/text/chat.h"

namespace ssl4rl::models {

class JsonReader;

struct Family {
  std::string model_type;                                ///< as in config.json
  void (*read_config)(const JsonReader&, ModelConfig&);  ///< text, vision and special ids
  WeightNames names;
  text::ChatFormat chat;    ///< where the directory holds no chat template that says otherwise
  std::string end_of_turn;  ///< the token that ends an assistant's turn
  std::vector<std::string>
      never_sampled;  ///< markers that a sample must not contain, besides the ids of the configuration
};

/// All families that can be loaded.
[[nodiscard]] const std::vector<Family>& families();
/// The family of a model_type. Throws Error naming `where` and the supported ones.
[[nodiscard]] const Family& family_of(const std::string& model_type, const std::string& where);

[[nodiscard]] Family qwen2();
[[nodiscard]] Family qwen2_vl();
[[nodiscard]] Family qwen2_5_vl();
[[nodiscard]] Family qwen3();
[[nodiscard]] Family qwen3_vl();

}  // namespace ssl4rl::models
