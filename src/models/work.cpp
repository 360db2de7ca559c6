#include "ssl4rl/models/work.h"

#include <algorithm>

#include "ssl4rl/models/vision.h"

namespace ssl4rl::models {
namespace {

double image_work(const VisionConfig& c, int64_t out_width, const Grid& grid) {
  const auto patches = static_cast<double>(grid.patches()), width = static_cast<double>(c.hidden_size);
  const double feed_forward =
      (c.feed_forward == FeedForward::kSwiGlu ? 3 : 2) * static_cast<double>(c.intermediate_size);
  const auto depth = static_cast<double>(c.depth);
  const double full = c.window_size > 0 ? static_cast<double>(c.full_blocks.size()) : depth;
  const VisionLayout layout = vision_layout(c, {&grid, 1});
  double windows = 0, frames = 0;  // pairs of patches that attend to each other
  for (const int64_t length : layout.window_lengths) windows += static_cast<double>(length * length);
  for (const int64_t length : layout.image_lengths) frames += static_cast<double>(length * length);
  const auto merged = static_cast<double>(c.merge_size * c.merge_size) * width;
  const double mergers = 1 + static_cast<double>(c.deepstack.size());
  return depth * patches * 2 * (4 * width * width + width * feed_forward) +
         4 * width * (full * frames + (depth - full) * windows) +
         2 * patches * width * static_cast<double>(c.patch_values()) +
         mergers * 2 * patches / static_cast<double>(c.merge_size * c.merge_size) *
             (merged * merged + merged * static_cast<double>(out_width));
}

// The decoder's layers for tokens [begin, end) of one row, each attending to all before it.
double span_work(const TextConfig& c, double begin, double end) {
  const double tokens = end - begin, pairs = tokens * begin + tokens * (tokens + 1) / 2;
  const auto width = static_cast<double>(c.hidden_size), queries = static_cast<double>(c.heads * c.head_dim),
             keys = static_cast<double>(c.key_heads * c.head_dim);
  const double products = 2 * width * (2 * queries + 2 * keys + 3 * static_cast<double>(c.intermediate_size));
  return static_cast<double>(c.layers) * (tokens * products + 4 * queries * pairs);
}

}  // namespace

Work forward_work(const ModelConfig& config, const Prompt& prompt, int64_t samples, int64_t length) {
  Work work;
  for (const ImagePatches& image : prompt.images)
    work.vision += image_work(config.vision, config.text.hidden_size, image.grid);
  const auto before = static_cast<double>(prompt.length()), own = static_cast<double>(length),
             count = static_cast<double>(samples);
  work.prompt = span_work(config.text, 0, before);
  work.completion = count * span_work(config.text, before, before + own);
  work.head = count * own * 2 * static_cast<double>(config.text.hidden_size * config.text.vocab_size);
  return work;
}

}  // namespace ssl4rl::models
