#include "ssl4rl/models/config.h"

#include "json_reader.h"
#include "ssl4rl/models/family.h"

namespace ssl4rl::models {
namespace fs = std::filesystem;
namespace {

JsonReader read(const fs::path& file) { return {io::read_json(file), file.string()}; }

// One id or a list of them.
std::vector<int64_t> read_ids(const JsonReader& json, std::string_view key) {
  if (!json.has(key)) return {};
  return json.json()[key].is_array() ? json.get<std::vector<int64_t>>(key)
                                     : std::vector<int64_t>{json.get<int64_t>(key)};
}

void read_image_settings(const fs::path& folder, ModelConfig& config) {
  const fs::path plain = folder / "preprocessor_config.json", nested = folder / "processor_config.json";
  if (!fs::exists(plain) && !fs::exists(nested))
    fail("{}: has neither preprocessor_config.json nor processor_config.json", folder.string());
  const JsonReader json = fs::exists(plain) ? read(plain) : read(nested).object("image_processor");
  ImageSettings& image = config.image;
  if (json.has("size")) {
    const JsonReader size = json.object("size");
    image.min_pixels = size.get<int64_t>("shortest_edge", image.min_pixels);
    image.max_pixels = size.get<int64_t>("longest_edge", image.max_pixels);
  }
  image.min_pixels = json.get<int64_t>("min_pixels", image.min_pixels);
  image.max_pixels = json.get<int64_t>("max_pixels", image.max_pixels);
  image.mean = json.get<std::array<double, 3>>("image_mean", {0.48145466, 0.4578275, 0.40821073});
  image.std = json.get<std::array<double, 3>>("image_std", {0.26862954, 0.26130258, 0.27577711});
  if (image.min_pixels <= 0 || image.max_pixels < image.min_pixels)
    fail("{}: expected 0 < min_pixels ≤ max_pixels, found {} and {}", json.file(), image.min_pixels, image.max_pixels);
  for (const auto& [key, expected] : {std::pair{"patch_size", config.vision.patch_size},
                                      {"temporal_patch_size", config.vision.temporal_patch_size},
                                      {"merge_size", config.vision.merge_size}})
    if (const int64_t found = json.count(key, expected); found != expected)
      fail("{}: \"{}\" is {}, config.json says {}", json.file(), key, found, expected);
}

// Ends of sequence: generation_config.json; without that file config.json, top level, then text_config.
void read_sequence_ends(const fs::path& folder, const JsonReader& json, ModelConfig& config) {
  const bool nested = json.has("text_config");
  const fs::path generation = folder / "generation_config.json";
  if (fs::exists(generation)) {
    const JsonReader settings = read(generation);
    config.ids.end_of_sequence = read_ids(settings, "eos_token_id");
    if (settings.has("pad_token_id")) config.ids.padding = settings.get<int64_t>("pad_token_id");
  } else {
    config.ids.end_of_sequence = read_ids(json, "eos_token_id");
    if (config.ids.end_of_sequence.empty() && nested)
      config.ids.end_of_sequence = read_ids(json.object("text_config"), "eos_token_id");
  }
  if (!config.ids.padding && json.has("pad_token_id")) config.ids.padding = json.get<int64_t>("pad_token_id");
  if (!config.ids.padding && nested && json.object("text_config").has("pad_token_id"))
    config.ids.padding = json.object("text_config").get<int64_t>("pad_token_id");
}

}  // namespace

ModelConfig read_model_config(const fs::path& folder) {
  if (!fs::is_directory(folder)) fail("{}: no such model directory", folder.string());
  const JsonReader json = read(folder / "config.json");
  ModelConfig config;
  config.model_type = json.get<std::string>("model_type");
  const Family& family = family_of(config.model_type, json.file());
  config.names = family.names;
  family.read_config(json, config);
  if (config.reads_images()) read_image_settings(folder, config);
  read_sequence_ends(folder, json, config);
  return config;
}

}  // namespace ssl4rl::models
