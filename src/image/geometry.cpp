#include "ssl4rl/image/geometry.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>

#include "ssl4rl/base/error.h"

namespace ssl4rl::image {
namespace {

void copy_pixel(const uint8_t* from, uint8_t* to) { std::memcpy(to, from, 3); }

double radians(double degrees) { return degrees * std::numbers::pi / 180; }

double lanczos(double x) {
  if (x == 0) return 1;
  if (x <= -3 || x >= 3) return 0;
  const double p = x * std::numbers::pi;
  return 3 * std::sin(p) * std::sin(p / 3) / (p * p);
}

// Python's round(x, 15), as far as sines and cosines need it.
double round15(double x) { return std::nearbyint(x * 1e15) / 1e15; }

}  // namespace

Image crop(const Image& image, const Box& box) {
  SSL4RL_CHECK(box.x >= 0 && box.y >= 0 && box.width > 0 && box.height > 0 && box.right() <= image.width &&
                   box.bottom() <= image.height,
               "crop [{}, {}, {}, {}] of {}x{}", box.x, box.y, box.width, box.height, image.width, image.height);
  Image out(box.width, box.height);
  for (int y = 0; y < box.height; ++y)
    std::memcpy(out.row(y), image.at(box.x, box.y + y), static_cast<size_t>(box.width) * 3);
  return out;
}

Box centre_square(const Image& image) {
  const int side = std::min(image.width, image.height);
  return {(image.width - side) / 2, (image.height - side) / 2, side, side};
}

Image rotate_quarters(const Image& image, int quarter_turns) {
  const int turns = ((quarter_turns % 4) + 4) % 4;
  if (turns == 0) return image;
  const int w = image.width, h = image.height;
  Image out(turns == 2 ? w : h, turns == 2 ? h : w);
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x) {
      const uint8_t* const source = turns == 1   ? image.at(w - 1 - y, x)
                                    : turns == 2 ? image.at(w - 1 - x, h - 1 - y)
                                                 : image.at(y, h - 1 - x);
      copy_pixel(source, out.at(x, y));
    }
  return out;
}

Image mirror_horizontally(const Image& image) {
  Image out(image.width, image.height);
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) copy_pixel(image.at(image.width - 1 - x, y), out.at(x, y));
  return out;
}

Image mirror_vertically(const Image& image) {
  Image out(image.width, image.height);
  for (int y = 0; y < image.height; ++y)
    std::memcpy(out.row(y), image.row(image.height - 1 - y), static_cast<size_t>(image.width) * 3);
  return out;
}

Image rotate_expand(const Image& image, int degrees) {
  degrees = ((degrees % 360) + 360) % 360;
  if (degrees % 90 == 0) return rotate_quarters(image, degrees / 90);
  // The map from output to input coordinates, built as Pillow builds it.
  const double angle = -radians(degrees), cosine = round15(std::cos(angle)), sine = round15(std::sin(angle));
  const double w = image.width, h = image.height;
  std::array<double, 6> m{cosine, sine, 0, -sine, cosine, 0};
  const auto transform = [&m](double x, double y) {
    return std::pair{m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]};
  };
  std::tie(m[2], m[5]) = transform(-w / 2, -h / 2);
  m[2] += w / 2;
  m[5] += h / 2;
  double low_x = INFINITY, high_x = -INFINITY, low_y = INFINITY, high_y = -INFINITY;
  for (const auto& [cx, cy] : {std::pair{0.0, 0.0}, {w, 0.0}, {w, h}, {0.0, h}}) {
    const auto [x, y] = transform(cx, cy);
    low_x = std::min(low_x, x), high_x = std::max(high_x, x);
    low_y = std::min(low_y, y), high_y = std::max(high_y, y);
  }
  Image out(static_cast<int>(std::ceil(high_x) - std::floor(low_x)),
            static_cast<int>(std::ceil(high_y) - std::floor(low_y)));
  std::tie(m[2], m[5]) = transform(-(out.width - w) / 2, -(out.height - h) / 2);
  // Nearest neighbours, in Pillow's fixed point with 16 bits behind the point: its steps add up their rounding.
  const auto fixed = [](double v) { return static_cast<int64_t>(std::floor(v * 65536 + 0.5)); };
  const auto [start_x, start_y] = transform(0.5, 0.5);
  for (int y = 0; y < out.height; ++y) {
    int64_t sx = fixed(start_x) + y * fixed(m[1]), sy = fixed(start_y) + y * fixed(m[4]);
    for (int x = 0; x < out.width; ++x, sx += fixed(m[0]), sy += fixed(m[3])) {
      const int64_t ix = sx >> 16, iy = sy >> 16;
      if (ix >= 0 && ix < image.width && iy >= 0 && iy < image.height)
        copy_pixel(image.at(static_cast<int>(ix), static_cast<int>(iy)), out.at(x, y));
    }
  }
  return out;
}

Size largest_inscribed_rectangle(int width, int height, int degrees) {
  if (width <= 0 || height <= 0) return {};
  const bool wide = width >= height;
  const double w = width, h = height, longer = wide ? w : h, shorter = wide ? h : w;
  const double sine = std::abs(std::sin(radians(degrees))), cosine = std::abs(std::cos(radians(degrees)));
  double wr, hr;
  if (shorter <= 2 * sine * cosine * longer || std::abs(sine - cosine) < 1e-10) {
    const double half = 0.5 * shorter;  // two corners touch the longer side
    wr = wide ? half / sine : half / cosine;
    hr = wide ? half / cosine : half / sine;
  } else {  // all four sides touched
    const double cosine2 = cosine * cosine - sine * sine;
    wr = (w * cosine - h * sine) / cosine2;
    hr = (h * cosine - w * sine) / cosine2;
  }
  return {static_cast<int>(wr), static_cast<int>(hr)};
}

Affine Affine::turn(double degrees, double from_x, double from_y, double to_x, double to_y, double zoom) {
  const double angle = radians(degrees), cosine = std::cos(angle) / zoom, sine = std::sin(angle) / zoom;
  return {cosine, -sine, from_x - cosine * to_x + sine * to_y, sine, cosine, from_y - sine * to_x - cosine * to_y};
}

Image warp(const Image& image, const Affine& map, int width, int height) {
  constexpr int kTaps = 6, kPhases = 1024;
  using Weights = std::array<float, kTaps>;
  static const std::vector<Weights> kTable = [] {  // weights of the taps at −2 … 3 for a point at phase/1024
    std::vector<Weights> table(kPhases);
    for (int phase = 0; phase < kPhases; ++phase) {
      std::array<double, kTaps> exact;
      double sum = 0;
      for (int k = 0; k < kTaps; ++k) sum += exact[static_cast<size_t>(k)] = lanczos((phase + 0.5) / kPhases - (k - 2));
      for (size_t k = 0; k < kTaps; ++k) table[static_cast<size_t>(phase)][k] = static_cast<float>(exact[k] / sum);
    }
    return table;
  }();
  Image out(width, height);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const auto [px, py] = map(x + 0.5, y + 0.5);
      const double sx = px - 0.5, sy = py - 0.5, fx = std::floor(sx), fy = std::floor(sy);
      const int ix = static_cast<int>(fx), iy = static_cast<int>(fy);
      const Weights& wx = kTable[static_cast<size_t>((sx - fx) * kPhases)];
      const Weights& wy = kTable[static_cast<size_t>((sy - fy) * kPhases)];
      std::array<ptrdiff_t, kTaps> columns;
      for (int i = 0; i < kTaps; ++i)
        columns[static_cast<size_t>(i)] = static_cast<ptrdiff_t>(std::clamp(ix + i - 2, 0, image.width - 1)) * 3;
      float sum[3] = {0, 0, 0};
      for (int j = 0; j < kTaps; ++j) {
        const uint8_t* const row = image.row(std::clamp(iy + j - 2, 0, image.height - 1));
        float part[3] = {0, 0, 0};
        for (size_t i = 0; i < kTaps; ++i)
          for (int c = 0; c < 3; ++c) part[c] += wx[i] * static_cast<float>(row[columns[i] + c]);
        for (int c = 0; c < 3; ++c) sum[c] += wy[static_cast<size_t>(j)] * part[c];
      }
      for (int c = 0; c < 3; ++c) out.at(x, y)[c] = static_cast<uint8_t>(std::clamp(std::lround(sum[c]), 0L, 255L));
    }
  return out;
}

}  // namespace ssl4rl::image
