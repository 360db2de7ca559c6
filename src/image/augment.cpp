#include "ssl4rl/image/augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <opencv2/imgproc.hpp>

#include "ssl4rl/base/error.h"

namespace ssl4rl::image {
namespace {

// Pillow's convert("L"): ITU-R 601 in 16-bit fixed point.
uint8_t luma(const uint8_t* p) {
  return static_cast<uint8_t>((p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16);
}

// Pillow's Image.blend: from `a` towards `b`, truncated and clipped.
uint8_t blend(double a, double b, double factor) {
  return static_cast<uint8_t>(std::clamp(a + factor * (b - a), 0.0, 255.0));
}

template <typename F>
void for_each_pixel(Image& image, F change) {
  for (size_t i = 0; i < image.pixels.size(); i += 3) change(image.pixels.data() + i);
}

}  // namespace

void adjust_brightness(Image& image, double factor) {
  std::array<uint8_t, 256> table;
  for (size_t v = 0; v < 256; ++v) table[v] = blend(0, static_cast<double>(v), factor);
  for (uint8_t& v : image.pixels) v = table[v];
}

void adjust_contrast(Image& image, double factor) {
  double sum = 0;
  for_each_pixel(image, [&](const uint8_t* p) { sum += luma(p); });
  const double mean = std::floor(sum / (static_cast<double>(image.pixels.size()) / 3) + 0.5);
  std::array<uint8_t, 256> table;
  for (size_t v = 0; v < 256; ++v) table[v] = blend(mean, static_cast<double>(v), factor);
  for (uint8_t& v : image.pixels) v = table[v];
}

void adjust_saturation(Image& image, double factor) {
  for_each_pixel(image, [&](uint8_t* p) {
    const uint8_t grey = luma(p);
    for (int c = 0; c < 3; ++c) p[c] = blend(grey, p[c], factor);
  });
}

void shift_hue(Image& image, double turns) {
  for_each_pixel(image, [&](uint8_t* p) {
    const double r = p[0], g = p[1], b = p[2], high = std::max({r, g, b}), low = std::min({r, g, b}),
                 range = high - low;
    if (range == 0) return;
    double hue = high == r   ? (g - b) / range
                 : high == g ? 2 + (b - r) / range
                             : 4 + (r - g) / range;  // sixths of a turn
    hue = hue / 6 + turns;
    hue = (hue - std::floor(hue)) * 6;
    const int sector = std::min(static_cast<int>(hue), 5);
    const double part = hue - sector, falling = high - range * part, rising = low + range * part;
    const std::array<std::array<double, 3>, 6> colours{{{high, rising, low},
                                                        {falling, high, low},
                                                        {low, high, rising},
                                                        {low, falling, high},
                                                        {rising, low, high},
                                                        {high, low, falling}}};
    for (size_t c = 0; c < 3; ++c) p[c] = static_cast<uint8_t>(std::lround(colours[static_cast<size_t>(sector)][c]));
  });
}

void colour_jitter(Image& image, const Jitter& strength, Rng& rng) {
  std::vector<int> order{0, 1, 2, 3};
  rng.shuffle(order);
  const auto factor = [&](double s) { return rng.uniform(std::max(0.0, 1 - s), 1 + s); };
  const double brightness = factor(strength.brightness), contrast = factor(strength.contrast),
               saturation = factor(strength.saturation);
  const double hue = rng.uniform(-strength.hue, strength.hue);
  for (const int change : order) {
    if (change == 0 && strength.brightness > 0) adjust_brightness(image, brightness);
    if (change == 1 && strength.contrast > 0) adjust_contrast(image, contrast);
    if (change == 2 && strength.saturation > 0) adjust_saturation(image, saturation);
    if (change == 3 && strength.hue > 0) shift_hue(image, hue);
  }
}

void to_grey(Image& image) {
  for_each_pixel(image, [](uint8_t* p) { p[0] = p[1] = p[2] = luma(p); });
}

void gaussian_blur(Image& image, double sigma) {
  cv::Mat pixels(image.height, image.width, CV_8UC3, image.pixels.data());
  cv::GaussianBlur(pixels, pixels, cv::Size(0, 0), sigma, sigma, cv::BORDER_REPLICATE);
}

void solarise(Image& image, int threshold) {
  for (uint8_t& v : image.pixels)
    if (v >= threshold) v = static_cast<uint8_t>(255 - v);
}

void equalise(Image& image) {  // ImageOps.equalize
  for (size_t channel = 0; channel < 3; ++channel) {
    std::array<int64_t, 256> histogram{};
    for (size_t i = channel; i < image.pixels.size(); i += 3) ++histogram[image.pixels[i]];
    int64_t total = 0, last = 0;
    for (const int64_t count : histogram) {
      total += count;
      if (count > 0) last = count;
    }
    const int64_t step = (total - last) / 255;
    if (step == 0 || last == total) continue;
    std::array<uint8_t, 256> table;
    int64_t n = step / 2;
    for (size_t v = 0; v < 256; ++v) {
      table[v] = static_cast<uint8_t>(std::min<int64_t>(n / step, 255));
      n += histogram[v];
    }
    for (size_t i = channel; i < image.pixels.size(); i += 3) image.pixels[i] = table[image.pixels[i]];
  }
}

void add_noise(Image& image, double sigma, Rng& rng) {
  for (uint8_t& v : image.pixels) v = static_cast<uint8_t>(std::clamp(std::lround(v + sigma * rng.normal()), 0L, 255L));
}

Box random_resized_crop(int width, int height, double min_area, double max_area, double min_aspect, double max_aspect,
                        Rng& rng) {
  const double area = static_cast<double>(width) * height;
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * rng.uniform(min_area, max_area);
    const double aspect = std::exp(rng.uniform(std::log(min_aspect), std::log(max_aspect)));
    const auto w = static_cast<int>(std::nearbyint(std::sqrt(target * aspect)));
    const auto h = static_cast<int>(std::nearbyint(std::sqrt(target / aspect)));
    if (w > 0 && w <= width && h > 0 && h <= height) {
      const auto y = static_cast<int>(rng.between(0, height - h)), x = static_cast<int>(rng.between(0, width - w));
      return {x, y, w, h};
    }
  }
  int w = width, h = height;
  const double ratio = static_cast<double>(width) / height;
  if (ratio < min_aspect) h = std::max(1, static_cast<int>(std::nearbyint(w / min_aspect)));
  if (ratio > max_aspect) w = std::max(1, static_cast<int>(std::nearbyint(h * max_aspect)));
  return {(width - w) / 2, (height - h) / 2, w, h};
}

double mean_difference(const Image& a, const Image& b) {
  SSL4RL_CHECK(a.width == b.width && a.height == b.height, "images of two sizes");
  int64_t sum = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(a.pixels[i] - b.pixels[i]);
  return static_cast<double>(sum) / static_cast<double>(a.pixels.size());
}

}  // namespace ssl4rl::image
