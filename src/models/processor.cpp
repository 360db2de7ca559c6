#include "ssl4rl/models/processor.h"

#include <algorithm>

#include "json_reader.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/jsonl.h"
#include "ssl4rl/models/family.h"

namespace ssl4rl::models {
namespace fs = std::filesystem;
namespace {

// Small files that belong to a model directory besides the weights.
constexpr std::array kCompanions{"config.json",
                                 "generation_config.json",
                                 "preprocessor_config.json",
                                 "processor_config.json",
                                 "video_preprocessor_config.json",
                                 "tokenizer.json",
                                 "tokenizer.model",
                                 "tokenizer_config.json",
                                 "vocab.json",
                                 "merges.txt",
                                 "added_tokens.json",
                                 "special_tokens_map.json",
                                 "chat_template.json",
                                 "chat_template.jinja"};

// The directory's chat template, from the first place that transformers would take it from.
std::optional<std::string> find_chat_template(const fs::path& folder, const std::map<std::string, std::string>& files) {
  if (const auto plain = files.find("chat_template.jinja"); plain != files.end()) return plain->second;
  for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
    if (!files.contains(name)) continue;
    const JsonReader json(io::read_json(folder / name), (folder / name).string());
    if (!json.has("chat_template")) continue;
    if (!json.json()["chat_template"].is_array()) return json.get<std::string>("chat_template");
    for (const auto& named : json.json()["chat_template"]) {  // several, by name
      const JsonReader entry(named, json.file(), "chat_template");
      if (entry.get<std::string>("name", "") == "default") return entry.get<std::string>("template", "");
    }
  }
  return {};
}

}  // namespace

Processor::Processor(const fs::path& folder, std::optional<int64_t> min_pixels, std::optional<int64_t> max_pixels)
    : config_(read_model_config(folder)), folder_(folder) {
  config_.image.min_pixels = min_pixels.value_or(config_.image.min_pixels);
  config_.image.max_pixels = max_pixels.value_or(config_.image.max_pixels);
  if (config_.image.max_pixels < config_.image.min_pixels)
    fail("model.min_pixels {} exceeds model.max_pixels {}", config_.image.min_pixels, config_.image.max_pixels);
  tokenizer_ = std::make_unique<text::Tokenizer>(text::Tokenizer::find(folder));
  for (const char* name : kCompanions)
    if (fs::exists(folder / name)) files_[name] = io::read_file(folder / name);
  chat_ = family_of(config_.model_type, folder.string()).chat;
  if (const auto chat_template = find_chat_template(folder, files_)) text::adapt(chat_, *chat_template);
  find_special_ids();
}

void Processor::find_special_ids() {
  const Family& family = family_of(config_.model_type, folder_.string());
  const int64_t rows = config_.text.vocab_size;
  if (tokenizer_->size() > rows)
    fail("{}: the tokenizer has {} ids, the embedding only {} rows", folder_.string(), tokenizer_->size(), rows);
  if (config_.reads_images() && (config_.ids.image < 0 || config_.ids.image >= rows))
    fail("{}: image_token_id {} is no row of the embedding", folder_.string(), config_.ids.image);
  const auto end_of_turn = tokenizer_->id_of(family.end_of_turn);
  if (!end_of_turn) fail("{}: the tokenizer lacks {}", folder_.string(), family.end_of_turn);
  end_of_turn_ = *end_of_turn;
  end_of_sequence_ = config_.ids.end_of_sequence;
  if (end_of_sequence_.empty()) end_of_sequence_ = {end_of_turn_};
  std::vector<int64_t> never{config_.ids.image, config_.ids.video, config_.ids.vision_start, config_.ids.vision_end};
  for (const std::string& token : family.never_sampled) never.push_back(tokenizer_->id_of(token).value_or(-1));
  const bool ends =
      config_.ids.padding && std::count(end_of_sequence_.begin(), end_of_sequence_.end(), *config_.ids.padding) > 0;
  if (config_.ids.padding && !ends) never.push_back(*config_.ids.padding);
  for (int64_t id = tokenizer_->size(); id < rows; ++id) never.push_back(id);
  std::erase_if(never, [rows](int64_t id) { return id < 0 || id >= rows; });
  forbidden_ = nn::Forbidden(std::move(never), rows);
}

std::string Processor::render(std::span<const text::Message> messages) const {
  return text::render(chat_, messages, true);
}

PixelBounds Processor::bounds(std::optional<int64_t> min_pixels, std::optional<int64_t> max_pixels) const {
  const PixelBounds result{min_pixels.value_or(config_.image.min_pixels),
                           max_pixels.value_or(config_.image.max_pixels)};
  if (result.min_pixels <= 0 || result.max_pixels < result.min_pixels)
    fail("expected 0 < min_pixels ≤ max_pixels, found {} and {}", result.min_pixels, result.max_pixels);
  return result;
}

void Processor::check(std::span<const text::Message> messages, std::optional<int64_t> min_pixels,
                      std::optional<int64_t> max_pixels) const {
  (void)bounds(min_pixels, max_pixels);
  (void)render(messages);
}

std::vector<ImagePatches> Processor::patches(std::span<const image::Image> images, std::optional<int64_t> min_pixels,
                                             std::optional<int64_t> max_pixels) const {
  const PixelBounds limits = bounds(min_pixels, max_pixels);
  if (!images.empty() && !config_.reads_images())
    fail("a message holds an image, but the model ({}) reads none", config_.model_type);
  std::vector<ImagePatches> result;
  for (const image::Image& picture : images)
    result.push_back(to_patches(picture, config_.vision, config_.image, limits));
  return result;
}

Prompt Processor::encode(std::span<const text::Message> messages, std::span<const image::Image> images,
                         std::optional<int64_t> min_pixels, std::optional<int64_t> max_pixels) const {
  return encode_patches(messages, patches(images, min_pixels, max_pixels));
}

Prompt Processor::encode_patches(std::span<const text::Message> messages, std::vector<ImagePatches> images) const {
  Prompt prompt;
  prompt.images = std::move(images);
  const int64_t per_token = config_.vision.merge_size * config_.vision.merge_size;
  size_t next_image = 0;
  for (const int64_t id : tokenizer_->encode(render(messages))) {
    int64_t repeat = 1;
    if (id == config_.ids.image) {
      SSL4RL_CHECK(next_image < prompt.images.size(), "more image placeholders than images");
      repeat = prompt.images[next_image++].grid.patches() / per_token;
    }
    prompt.ids.insert(prompt.ids.end(), static_cast<size_t>(repeat), id);
  }
  SSL4RL_CHECK(next_image == prompt.images.size(), "{} image placeholders for {} images", next_image,
               prompt.images.size());
  set_positions(prompt, config_);
  return prompt;
}

void set_positions(Prompt& prompt, const ModelConfig& config) {
  const int64_t merge = config.vision.merge_size;
  int64_t next = 0;
  size_t image = 0;
  const auto put = [&prompt](int64_t t, int64_t h, int64_t w) {
    prompt.positions[0].push_back(t);
    prompt.positions[1].push_back(h);
    prompt.positions[2].push_back(w);
  };
  for (auto& axis : prompt.positions) axis.clear();
  for (size_t i = 0; i < prompt.ids.size();) {
    if (prompt.ids[i] != config.ids.image) {
      put(next, next, next);
      ++next;
      ++i;
      continue;
    }
    SSL4RL_CHECK(image < prompt.images.size(), "more image tokens than images");
    const Grid& grid = prompt.images[image++].grid;
    const int64_t rows = grid.h / merge, columns = grid.w / merge;
    for (int64_t t = 0; t < grid.t; ++t)
      for (int64_t y = 0; y < rows; ++y)
        for (int64_t x = 0; x < columns; ++x) put(next + t, next + y, next + x);
    next += std::max({grid.t, rows, columns});
    i += static_cast<size_t>(grid.t * rows * columns);
  }
  SSL4RL_CHECK(prompt.positions[0].size() == prompt.ids.size() && image == prompt.images.size(),
               "image tokens do not match the images");
  prompt.next_position = next;
}

void Processor::save(const fs::path& folder, const std::string& dtype) const {
  for (const auto& [name, content] : files_) {
    if (name != "config.json") {
      io::write_file(folder / name, content);
      continue;
    }
    auto json = nlohmann::ordered_json::parse(content);
    const bool new_form = json.contains("dtype");
    const auto set_dtype = [&](nlohmann::ordered_json& section) {
      for (const char* key : {"dtype", "torch_dtype"})
        if (section.contains(key)) section[key] = dtype;
    };
    set_dtype(json);
    for (const char* section : {"text_config", "vision_config"})
      if (json.contains(section)) set_dtype(json[section]);
    if (!new_form && !json.contains("torch_dtype")) json["torch_dtype"] = dtype;
    io::write_file(folder / name, json.dump(2) + "\n");
  }
}

}  // namespace ssl4rl::models
