#include "ssl4rl/image/resize.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ssl4rl/base/error.h"

namespace ssl4rl::image {
namespace {

constexpr int kPrecision = 22;  // bits of the weights' fraction
constexpr int32_t kHalf = 1 << (kPrecision - 1);

double sinc(double x) {
  if (x == 0) return 1;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double weight(Filter filter, double x) {
  switch (filter) {
    case Filter::kBox:
      return x > -0.5 && x <= 0.5 ? 1 : 0;
    case Filter::kBilinear:
      return std::max(0.0, 1 - std::abs(x));
    case Filter::kBicubic: {  // Keys, a = -0.5
      constexpr double a = -0.5;
      x = std::abs(x);
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
      return 0;
    }
    case Filter::kLanczos:
      return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
  }
  return 0;
}

double support(Filter filter) {
  switch (filter) {
    case Filter::kBox:
      return 0.5;
    case Filter::kBilinear:
      return 1;
    case Filter::kBicubic:
      return 2;
    case Filter::kLanczos:
      return 3;
  }
  return 0;
}

// For each output position: the first input position and the weights from there.
struct Taps {
  int first = 0, count = 0;
  const int32_t* weights = nullptr;
};

struct Kernel {
  std::vector<Taps> taps;
  std::vector<int32_t> weights;
};

Kernel make_kernel(int in, int out, Filter filter) {
  const double scale = static_cast<double>(in) / out, filter_scale = std::max(scale, 1.0);
  const double radius = support(filter) * filter_scale;
  const int stride = static_cast<int>(std::ceil(radius)) * 2 + 1;
  Kernel kernel{std::vector<Taps>(static_cast<size_t>(out)),
                std::vector<int32_t>(static_cast<size_t>(out) * static_cast<size_t>(stride))};
  std::vector<double> exact(static_cast<size_t>(stride));
  for (int i = 0; i < out; ++i) {
    const double centre = (i + 0.5) * scale, inverse = 1 / filter_scale;
    const int first = std::max(static_cast<int>(centre - radius + 0.5), 0);
    const int count = std::min(static_cast<int>(centre + radius + 0.5), in) - first;
    double sum = 0;
    for (int k = 0; k < count; ++k)
      sum += exact[static_cast<size_t>(k)] = weight(filter, (k + first - centre + 0.5) * inverse);
    int32_t* const fixed = kernel.weights.data() + static_cast<ptrdiff_t>(i) * stride;
    for (int k = 0; k < count; ++k) {
      const double w =
          (sum != 0 ? exact[static_cast<size_t>(k)] / sum : exact[static_cast<size_t>(k)]) * (1 << kPrecision);
      fixed[k] = static_cast<int32_t>(w < 0 ? w - 0.5 : w + 0.5);
    }
    kernel.taps[static_cast<size_t>(i)] = {first, count, fixed};
  }
  return kernel;
}

uint8_t to_pixel(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kPrecision, 0, 255)); }

Image resize_rows(const Image& in, int width, Filter filter) {
  const Kernel kernel = make_kernel(in.width, width, filter);
  Image out(width, in.height);
  for (int y = 0; y < in.height; ++y) {
    const uint8_t* const source = in.row(y);
    uint8_t* target = out.row(y);
    for (const Taps& taps : kernel.taps) {
      int32_t r = kHalf, g = kHalf, b = kHalf;
      const uint8_t* pixel = source + static_cast<ptrdiff_t>(taps.first) * 3;
      for (int k = 0; k < taps.count; ++k, pixel += 3) {
        r += pixel[0] * taps.weights[k];
        g += pixel[1] * taps.weights[k];
        b += pixel[2] * taps.weights[k];
      }
      *target++ = to_pixel(r);
      *target++ = to_pixel(g);
      *target++ = to_pixel(b);
    }
  }
  return out;
}

Image resize_columns(const Image& in, int height, Filter filter) {
  const Kernel kernel = make_kernel(in.height, height, filter);
  Image out(in.width, height);
  const auto bytes = static_cast<size_t>(in.width) * 3;
  std::vector<int32_t> sums(bytes);
  for (int y = 0; y < height; ++y) {
    const Taps& taps = kernel.taps[static_cast<size_t>(y)];
    std::fill(sums.begin(), sums.end(), kHalf);
    for (int k = 0; k < taps.count; ++k) {
      const uint8_t* const source = in.row(taps.first + k);
      const int32_t w = taps.weights[k];
      for (size_t i = 0; i < bytes; ++i) sums[i] += source[i] * w;
    }
    uint8_t* const target = out.row(y);
    for (size_t i = 0; i < bytes; ++i) target[i] = to_pixel(sums[i]);
  }
  return out;
}

}  // namespace

Image resize(const Image& image, int width, int height, Filter filter) {
  SSL4RL_CHECK(width > 0 && height > 0 && image.width > 0 && image.height > 0, "resize {}x{} to {}x{}", image.width,
               image.height, width, height);
  if (width == image.width && height == image.height) return image;
  if (width == image.width) return resize_columns(image, height, filter);
  if (height == image.height) return resize_rows(image, width, filter);
  const bool columns_first = height < image.height && image.height - height > 2 * (image.width - width);
  return columns_first ? resize_rows(resize_columns(image, height, filter), width, filter)
                       : resize_columns(resize_rows(image, width, filter), height, filter);
}

}  // namespace ssl4rl::image
