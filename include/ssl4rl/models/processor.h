// The part of a model that turns conversations into what the network reads, and ids back into text: tokenizer, chat
// template, image processor. Needs no weights. Immutable, so threads may share it.
#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ssl4rl/image/image.h"
#include "ssl4rl/models/config.h"
#include "ssl4rl/models/image_processor.h"
#include "ssl4rl/nn/sampling.h"
#include "ssl4rl/text/chat.h"
#include "ssl4rl/text/tokenizer.h"

namespace ssl4rl::models {

/// A prompt ready for the network.
struct Prompt {
  std::vector<int64_t> ids;                       ///< image placeholders repeated once per image token
  std::array<std::vector<int64_t>, 3> positions;  ///< time, height, width of each token (M-RoPE)
  int64_t next_position = 0;                      ///< of the first token behind the prompt, on all axes
  std::vector<ImagePatches> images;
  std::optional<VisionFeatures> features;  ///< of all images, where they are known and the tower is not trained

  [[nodiscard]] int64_t length() const { return static_cast<int64_t>(ids.size()); }
};

class Processor {
 public:
  /// Reads config.json, the tokenizer and the processor's settings. Throws Error naming what is missing or unsupported.
  /// Given bounds replace the model's own.
  explicit Processor(const std::filesystem::path& folder, std::optional<int64_t> min_pixels = {},
                     std::optional<int64_t> max_pixels = {});

  [[nodiscard]] const ModelConfig& config() const { return config_; }
  [[nodiscard]] const text::Tokenizer& tokenizer() const { return *tokenizer_; }
  /// Ids that end a sample.
  [[nodiscard]] const std::vector<int64_t>& end_of_sequence() const { return end_of_sequence_; }
  /// The id that ends an assistant's turn in the chat template.
  [[nodiscard]] int64_t end_of_turn() const { return end_of_turn_; }
  /// Ids that are never sampled: image and vision markers, padding, rows beyond the tokenizer.
  [[nodiscard]] const nn::Forbidden& forbidden() const { return forbidden_; }

  /// Prompt with generation header. `images` are the pictures of the messages' image parts, in their order. Unset
  /// bounds are the model's own.
  [[nodiscard]] Prompt encode(std::span<const text::Message> messages, std::span<const image::Image> images,
                              std::optional<int64_t> min_pixels = {}, std::optional<int64_t> max_pixels = {}) const;
  /// Throws what encode would complain of, short of the pictures themselves.
  void check(std::span<const text::Message> messages, std::optional<int64_t> min_pixels = {},
             std::optional<int64_t> max_pixels = {}) const;
  /// The same from images that were cut into patches already (patches()), so that prompts with the same images share
  /// them.
  [[nodiscard]] Prompt encode_patches(std::span<const text::Message> messages, std::vector<ImagePatches> images) const;
  [[nodiscard]] std::vector<ImagePatches> patches(std::span<const image::Image> images,
                                                  std::optional<int64_t> min_pixels = {},
                                                  std::optional<int64_t> max_pixels = {}) const;
  /// The prompt as text, with one placeholder per image.
  [[nodiscard]] std::string render(std::span<const text::Message> messages) const;

  /// Writes the directory's small files (configuration, tokenizer, templates) to another directory; the weights' type
  /// in config.json becomes `dtype` ("float32", …).
  void save(const std::filesystem::path& folder, const std::string& dtype) const;

 private:
  void find_special_ids();
  [[nodiscard]] PixelBounds bounds(std::optional<int64_t> min_pixels, std::optional<int64_t> max_pixels) const;

  ModelConfig config_;
  text::ChatFormat chat_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::vector<int64_t> end_of_sequence_;
  int64_t end_of_turn_ = -1;
  nn::Forbidden forbidden_;
  std::filesystem::path folder_;
  std::map<std::string, std::string> files_;  // name → content; kept so that a checkpoint does not need the source
};

/// Positions of a prompt's tokens: text counts on, an image's tokens take (t, row, column) from where it stands, and
/// text goes on behind its longer side (transformers' get_rope_index). Throws Error if ids and images do not match.
void set_positions(Prompt& prompt, const ModelConfig& config);

}  // namespace ssl4rl::models
