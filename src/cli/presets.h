// Models that `init` can write: their configuration, with random weights and a tokenizer made for the purpose.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

namespace ssl4rl::cli {

struct Preset {
  std::string name, help;
  std::string config, generation_config, preprocessor_config, tokenizer_config, chat_template;  ///< the files' contents
  std::string tokenizer;                                                                        ///< tokenizer.json
  double init_std = 0.02;  ///< of the matrices; norm weights are 1, biases 0
  at::ScalarType dtype = at::kFloat;
  int images = 0, image_side = 0;  ///< drawn pictures
};

/// The names that preset() takes, and a line of help for each.
[[nodiscard]] const std::vector<std::pair<std::string, std::string>>& preset_names();
[[nodiscard]] Preset preset(const std::string& name);
/// Configuration, tokenizer and processor settings, without weights.
void write_small_files(const std::filesystem::path& folder, const Preset& preset);

}  // namespace ssl4rl::cli
