// Random photometric and geometric changes, by the laws of torchvision's transforms on Pillow images.
#pragma once

#include "ssl4rl/base/rng.h"
#include "ssl4rl/image/image.h"

namespace ssl4rl::image {

/// Ranges of ColorJitter: factors from [max(0, 1 − s), 1 + s], hue shift from [−hue, hue] (turns); random order.
struct Jitter {
  double brightness = 0, contrast = 0, saturation = 0, hue = 0;
};
void colour_jitter(Image& image, const Jitter& strength, Rng& rng);

/// Single changes; a factor of 1 changes nothing.
void adjust_brightness(Image& image, double factor);
void adjust_contrast(Image& image, double factor);
void adjust_saturation(Image& image, double factor);
void shift_hue(Image& image, double turns);
void to_grey(Image& image);
void gaussian_blur(Image& image, double sigma);
void solarise(Image& image, int threshold = 128);
void equalise(Image& image);
/// Adds normal noise of this standard deviation, in grey levels.
void add_noise(Image& image, double sigma, Rng& rng);

/// The box of RandomResizedCrop: ten tries of area × aspect, then the largest centred crop within the aspect range.
[[nodiscard]] Box random_resized_crop(int width, int height, double min_area, double max_area, double min_aspect,
                                      double max_aspect, Rng& rng);

/// Mean of the three channels' absolute differences between two images of one size, in grey levels.
[[nodiscard]] double mean_difference(const Image& a, const Image& b);

}  // namespace ssl4rl::image
