#include "ssl4rl/models/image_processor.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "ssl4rl/base/error.h"
#include "ssl4rl/image/resize.h"

namespace ssl4rl::models {

ResizedSize smart_resize(int64_t height, int64_t width, int64_t factor, const PixelBounds& bounds) {
  const double h = static_cast<double>(height), w = static_cast<double>(width), f = static_cast<double>(factor);
  if (std::max(h, w) / std::min(h, w) > 200)
    fail("an image of {}x{} pixels: one side may be at most 200 times the other", width, height);
  const auto multiple = [f, factor](double length, double (*round)(double)) {
    return static_cast<int64_t>(round(length / f)) * factor;
  };
  const auto floor = [](double x) { return std::floor(x); };
  const auto ceil = [](double x) { return std::ceil(x); };
  ResizedSize size{multiple(h, std::nearbyint), multiple(w, std::nearbyint)};
  if (size.height * size.width > bounds.max_pixels) {
    const double beta = std::sqrt(h * w / static_cast<double>(bounds.max_pixels));
    size = {std::max(factor, multiple(h / beta, floor)), std::max(factor, multiple(w / beta, floor))};
  } else if (size.height * size.width < bounds.min_pixels) {
    const double beta = std::sqrt(static_cast<double>(bounds.min_pixels) / (h * w));
    size = {multiple(h * beta, ceil), multiple(w * beta, ceil)};
  }
  return size;
}

ImagePatches to_patches(const image::Image& picture, const VisionConfig& vision, const ImageSettings& settings,
                        const PixelBounds& bounds) {
  const ResizedSize size = smart_resize(picture.height, picture.width, vision.token_pixels(), bounds);
  const image::Image resized =
      image::resize(picture, static_cast<int>(size.width), static_cast<int>(size.height), image::Filter::kBicubic);
  const int64_t p = vision.patch_size, merge = vision.merge_size, frames = vision.temporal_patch_size;
  const Grid grid{1, size.height / p, size.width / p};
  // (v / 255 − mean) / std as the reference computes it: rescaled in double, rounded to float32, then normalised.
  std::array<std::array<float, 256>, 3> table;
  for (size_t c = 0; c < 3; ++c)
    for (size_t v = 0; v < 256; ++v) {
      const auto rescaled = static_cast<float>(static_cast<double>(v) * (1.0 / 255));
      table[c][v] = (rescaled - static_cast<float>(settings.mean[c])) / static_cast<float>(settings.std[c]);
    }
  ImagePatches result{at::empty({grid.patches(), vision.patch_values()}, at::kFloat), grid};
  float* out = result.values.mutable_data_ptr<float>();
  // Rows: blocks of merge × merge patches, row by row; columns of a row: channel, frame, y, x.
  for (int64_t block_y = 0; block_y < grid.h; block_y += merge)
    for (int64_t block_x = 0; block_x < grid.w; block_x += merge)
      for (int64_t in_y = 0; in_y < merge; ++in_y)
        for (int64_t in_x = 0; in_x < merge; ++in_x) {
          const int64_t top = (block_y + in_y) * p, left = (block_x + in_x) * p;
          for (size_t c = 0; c < 3; ++c) {
            float* const first_frame = out;
            for (int64_t y = 0; y < p; ++y) {
              const uint8_t* pixel = resized.at(static_cast<int>(left), static_cast<int>(top + y)) + c;
              for (int64_t x = 0; x < p; ++x, pixel += 3) *out++ = table[c][*pixel];
            }
            for (int64_t frame = 1; frame < frames; ++frame, out += p * p) std::copy_n(first_frame, p * p, out);
          }
        }
  return result;
}

}  // namespace ssl4rl::models
