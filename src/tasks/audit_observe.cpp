// What the audit's blind predictors see of a puzzle: one property of its images each.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "blind_predictors.h"
#include "ssl4rl/io/hash.h"

namespace ssl4rl::tasks {
namespace {

// The relations between the images' sides: which are equal, smaller, larger.
std::string size_key(const Puzzle& puzzle) {
  const auto relation = [](int a, int b) { return a < b ? '<' : a > b ? '>' : '='; };
  std::string key;
  for (size_t i = 0; i < puzzle.images.size(); ++i) {
    const image::Image& a = puzzle.images[i];
    key += relation(a.width, a.height);
    for (size_t j = 0; j < i; ++j) {
      const image::Image& b = puzzle.images[j];
      key += {relation(a.width, b.width), relation(a.height, b.height), relation(a.width, b.height),
              relation(a.height, b.width)};
    }
    key += ' ';
  }
  return key;
}

std::string identical_key(const Puzzle& puzzle) {
  std::string key;
  for (size_t i = 0; i < puzzle.images.size(); ++i)
    for (size_t j = 0; j < i; ++j) key += puzzle.images[i] == puzzle.images[j] ? '=' : '.';
  return key;
}

// Which edges of the images are of one colour.
std::string border_key(const Puzzle& puzzle) {
  std::string key;
  for (const image::Image& picture : puzzle.images) {
    const auto flat = [&](int x, int y, int dx, int dy, int length) {
      int low[3] = {255, 255, 255}, high[3] = {0, 0, 0};
      for (int i = 0; i < length; ++i)
        for (int c = 0; c < 3; ++c) {
          const int v = picture.at(x + i * dx, y + i * dy)[c];
          low[c] = std::min(low[c], v);
          high[c] = std::max(high[c], v);
        }
      return high[0] - low[0] <= 2 && high[1] - low[1] <= 2 && high[2] - low[2] <= 2;
    };
    key += flat(0, 0, 1, 0, picture.width) ? 'T' : '.';
    key += flat(0, picture.height - 1, 1, 0, picture.width) ? 'B' : '.';
    key += flat(0, 0, 0, 1, picture.height) ? 'L' : '.';
    key += flat(picture.width - 1, 0, 0, 1, picture.height) ? 'R' : '.';
  }
  return key;
}

PerImage mean_colours(const Puzzle& puzzle) {
  PerImage means;
  for (const image::Image& picture : puzzle.images) {
    std::vector<double> sum(3);
    for (size_t i = 0; i < picture.pixels.size(); ++i) sum[i % 3] += picture.pixels[i];
    for (double& s : sum) s /= static_cast<double>(picture.pixels.size()) / 3;
    means.push_back(std::move(sum));
  }
  return means;
}

// Mean squared Laplacian of the green channel, in the logarithm.
PerImage sharpness(const Puzzle& puzzle) {
  PerImage values;
  for (const image::Image& p : puzzle.images) {
    double sum = 0;
    for (int y = 1; y + 1 < p.height; ++y)
      for (int x = 1; x + 1 < p.width; ++x) {
        const double l =
            4.0 * p.at(x, y)[1] - p.at(x - 1, y)[1] - p.at(x + 1, y)[1] - p.at(x, y - 1)[1] - p.at(x, y + 1)[1];
        sum += l * l;
      }
    values.push_back({std::log(1 + sum / std::max(1, (p.width - 2) * (p.height - 2)))});
  }
  return values;
}

// Where the steps between neighbouring pixels are largest, by column and by row modulo 8: JPEG's blocks.
PerImage jpeg_grid(const Puzzle& puzzle) {
  PerImage values;
  for (const image::Image& p : puzzle.images) {
    std::vector<double> steps(16), counts(16);
    for (int y = 0; y + 1 < p.height; ++y)
      for (int x = 0; x + 1 < p.width; ++x) {
        const int v = p.at(x, y)[1];
        steps[static_cast<size_t>(x % 8)] += std::abs(v - p.at(x + 1, y)[1]);
        steps[static_cast<size_t>(8 + y % 8)] += std::abs(v - p.at(x, y + 1)[1]);
        ++counts[static_cast<size_t>(x % 8)];
        ++counts[static_cast<size_t>(8 + y % 8)];
      }
    for (size_t axis = 0; axis < 16; axis += 8) {
      double mean = 0;
      for (size_t k = axis; k < axis + 8; ++k) mean += (steps[k] /= std::max(1.0, counts[k])) / 8;
      for (size_t k = axis; k < axis + 8; ++k) steps[k] = mean > 0 ? steps[k] / mean : 1;
    }
    values.push_back(std::move(steps));
  }
  return values;
}

// How near to an image's colours those of another one come, whatever its orientation and hue: a transform of an image
// among the candidates gives its original away.
PerImage twins(const Puzzle& puzzle) {
  constexpr size_t kBins = 32;
  PerImage histograms;
  for (const image::Image& p : puzzle.images) {
    std::vector<double> histogram(2 * kBins);  // of the largest and of the smallest channel, which a shift of hue keeps
    const double share = 3.0 / static_cast<double>(p.pixels.size());
    for (size_t i = 0; i < p.pixels.size(); i += 3) {
      const auto [low, high] = std::minmax({p.pixels[i], p.pixels[i + 1], p.pixels[i + 2]});
      histogram[high * kBins / 256] += share;
      histogram[kBins + low * kBins / 256] += share;
    }
    histograms.push_back(std::move(histogram));
  }
  // The first image is left out: a patch looks like the picture that it was cut from, and that is what the task asks
  // for.
  PerImage values;
  for (size_t i = 0; i < histograms.size(); ++i) {
    double nearest = 4, near = 0;
    for (size_t j = 1; j < histograms.size(); ++j) {
      if (i == j || i == 0) continue;
      double difference = 0;
      for (size_t k = 0; k < 2 * kBins; ++k) difference += std::abs(histograms[i][k] - histograms[j][k]);
      nearest = std::min(nearest, difference);
      near += difference < 0.1;
    }
    values.push_back({near, nearest});
  }
  return values;
}

PerImage sides(const Puzzle& puzzle) {
  PerImage values;
  for (const image::Image& p : puzzle.images) values.push_back({std::log(p.width), std::log(p.height)});
  return values;
}

}  // namespace

Audit::Observation Audit::observe(const Puzzle& puzzle, const std::vector<size_t>& png_bytes) {
  io::Sha256 digest;
  for (const image::Image& picture : puzzle.images) {
    digest.update(fmt::format("{}x{}:", picture.width, picture.height));
    digest.update({reinterpret_cast<const char*>(picture.pixels.data()), picture.pixels.size()});
  }
  digest.update(puzzle.answer);
  Observation o{.entry = puzzle.entry, .answer = puzzle.answer, .digest = io::hex(digest.digest())};
  o.keys["size"] = size_key(puzzle);
  o.keys["identical"] = identical_key(puzzle);
  o.keys["borders"] = border_key(puzzle);
  o.keys["order"] = std::to_string(puzzle.index % 2);
  o.features["size"] = sides(puzzle);
  o.features["mean_colour"] = mean_colours(puzzle);
  o.features["sharpness"] = sharpness(puzzle);
  o.features["jpeg_grid"] = jpeg_grid(puzzle);
  o.features["twins"] = twins(puzzle);
  for (const size_t bytes : png_bytes) o.features["png_size"].push_back({static_cast<double>(bytes)});
  return o;
}

}  // namespace ssl4rl::tasks
