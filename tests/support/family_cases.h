// Tiny models of every family, drawn as scripts/make_family_fixtures.py draws them, with the reference's results.
#pragma once

#include <cmath>

#include "ssl4rl/io/file.h"
#include "ssl4rl/io/safetensors.h"
#include "support/model_cases.h"
#include "support/temporary_folder.h"

namespace ssl4rl {

/// Values of a tensor by its published name: uniform, by splitmix64 of the name's FNV-1a hash and the index.
inline at::Tensor drawn_tensor(const std::string& name, const std::vector<int64_t>& shape) {
  uint64_t seed = 0xCBF29CE484222325u;
  for (const char c : name) seed = (seed ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
  at::Tensor tensor = at::empty(shape, at::kFloat);
  int64_t fan_in = 1;
  for (size_t d = 1; d < shape.size(); ++d) fan_in *= shape[d];
  float* const out = tensor.mutable_data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    uint64_t z = seed + static_cast<uint64_t>(i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    const double u = static_cast<double>(z >> 40) / (1 << 23) - 1;
    out[i] = static_cast<float>(name.ends_with(".bias") ? 0.2 * u
                                : shape.size() == 1     ? 1 + 0.4 * u
                                                        : u * std::sqrt(3.0 / static_cast<double>(fan_in)));
  }
  return tensor;
}

inline const nlohmann::ordered_json& family_fixtures() {
  static const auto fixtures = io::read_json(test_data() / "family_cases.json")["families"];
  return fixtures;
}

inline const nlohmann::ordered_json& family_fixture(const std::string& name) {
  for (const auto& family : family_fixtures())
    if (family["name"] == name) return family;
  throw std::runtime_error(name);
}

/// Writes a model directory of a fixture: config.json in one of its two forms ("config", "hub_config").
inline void write_family(const std::filesystem::path& folder, const nlohmann::ordered_json& fixture,
                         const char* form = "config") {
  const auto write = [&](const char* name, const nlohmann::ordered_json& json) {
    io::write_file(folder / name, json.dump());
  };
  write("config.json", fixture[form]);
  write("generation_config.json", {{"eos_token_id", {514, 512}}, {"pad_token_id", 512}, {"repetition_penalty", 1.3}});
  if (!fixture["preprocessor"].is_null()) write("preprocessor_config.json", fixture["preprocessor"]);
  if (!fixture["chat_template"].is_null())
    write("tokenizer_config.json",
          {{"chat_template", fixture["chat_template"]}, {"tokenizer_class", "Qwen2Tokenizer"}});
  std::filesystem::copy_file(tiny_model() / "tokenizer.json", folder / "tokenizer.json",
                             std::filesystem::copy_options::overwrite_existing);
  io::NamedTensors tensors;
  for (const auto& [name, shape] : fixture["tensors"].items()) tensors.emplace_back(name, drawn_tensor(name, shape));
  io::write_safetensors(folder / "model.safetensors", tensors);
}

}  // namespace ssl4rl
