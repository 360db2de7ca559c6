// From a picture to the patches that the vision tower reads, equal to transformers' Pillow-based Qwen2VLImageProcessor.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include <cstdint>

#include "ssl4rl/image/image.h"
#include "ssl4rl/models/config.h"

namespace ssl4rl::models {

/// Patches of an image: frames (pairs of them), rows, columns.
struct Grid {
  int64_t t = 1, h = 0, w = 0;
  [[nodiscard]] int64_t patches() const { return t * h * w; }
  bool operator==(const Grid&) const = default;
};

struct PixelBounds {
  int64_t min_pixels = 0, max_pixels = 0;
};

/// The size to resize to: sides are multiples of `factor`, the area lies within the bounds, the aspect ratio is kept as
/// far as possible (rounding half to even, as Python does). Throws Error if one side is over 200 times the other.
struct ResizedSize {
  int64_t height = 0, width = 0;
};
[[nodiscard]] ResizedSize smart_resize(int64_t height, int64_t width, int64_t factor, const PixelBounds& bounds);

struct ImagePatches {
  at::Tensor values;  ///< [patches, patch values] float32 on the CPU, normalised
  Grid grid;
};

/// What the vision tower makes of images. Shape suffixes: M image tokens, D width of the decoder.
struct VisionFeatures {
  at::Tensor tokens_MD;                  ///< image tokens in the images' own order
  std::vector<at::Tensor> deepstack_MD;  ///< what is added to them behind the first decoder layers
};

/// Resizes (Pillow's bicubic), normalises and cuts into patches, in the order in which the merger joins them.
[[nodiscard]] ImagePatches to_patches(const image::Image& image, const VisionConfig& vision,
                                      const ImageSettings& settings, const PixelBounds& bounds);

}  // namespace ssl4rl::models
