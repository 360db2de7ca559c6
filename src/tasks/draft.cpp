#include "draft.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "ssl4rl/base/error.h"

namespace ssl4rl::tasks {

std::vector<int> box_json(const image::Box& box) { return {box.x, box.y, box.width, box.height}; }

std::shared_ptr<Json> make_meta(Json own, const image::Image& picture, const image::Box& crop) {
  own["source_size"] = {picture.width, picture.height};
  own["crop"] = box_json(crop);
  return std::make_shared<Json>(std::move(own));
}

std::string list_text(const std::vector<int>& items) { return fmt::format("{}", fmt::join(items, ",")); }

std::vector<int> random_order(int64_t n, Rng& rng) {
  std::vector<int> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 1);
  rng.shuffle(order);
  return order;
}

std::vector<int> nth_order(int64_t count, int64_t n) {
  std::vector<int> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 1);
  for (int64_t i = 0; i < n; ++i) std::next_permutation(order.begin(), order.end());
  return order;
}

std::vector<int> inverse(const std::vector<int>& order) {
  std::vector<int> result(order.size());
  for (size_t i = 0; i < order.size(); ++i) result[static_cast<size_t>(order[i] - 1)] = static_cast<int>(i) + 1;
  return result;
}

int64_t factorial(int64_t n) { return n < 2 ? 1 : n * factorial(n - 1); }

double permutation_chance(const std::string& reward, int64_t n, int64_t columns, bool identity_allowed) {
  double orders = 1;
  for (int64_t i = 2; i <= n; ++i) orders *= static_cast<double>(i);
  const double count = static_cast<double>(n), exact = 1 / orders, fraction = 1 / count;
  double mean = 0;  // of the reward of one order where all are equally likely
  if (reward == "exact") {
    mean = exact;
  } else if (reward == "fraction" || reward == "permutation_fraction") {
    mean = fraction;
  } else if (reward == "discounted_fraction") {
    mean = exact + 0.2 * (fraction - exact);
  } else if (reward == "displacement") {
    mean =
        1 - (count * count - 1) / 3 / static_cast<double>(n * n / 2);  // Diaconis and Graham: E Σ|shift| = (n² − 1)/3
  } else {
    SSL4RL_CHECK(reward == "adjacency", "reward function {}", reward);
    const int64_t width = columns > 0 ? columns : n, rows = n / width;
    const double across = static_cast<double>(rows * (width - 1)), down = static_cast<double>((rows - 1) * width);
    mean = (across * across + down * down) / (count * (count - 1)) / (across + down);
  }
  return identity_allowed ? mean : mean * orders / (orders - 1);
}

std::pair<image::Box, image::Box> off_the_grid(const image::Box& box, Rng& rng) {
  constexpr int kGrid = 8, kSmallest = 128;
  if (std::min(box.width, box.height) < kSmallest) return {box, box};
  const auto piece = [&] {
    const int x = static_cast<int>(rng.below(kGrid)), y = static_cast<int>(rng.below(kGrid));
    return image::Box{box.x + x, box.y + y, box.width - (kGrid - 1), box.height - (kGrid - 1)};
  };
  const image::Box first = piece();
  return {first, piece()};
}

void check_shown(int width, int height, const char* what) {
  if (std::min(width, height) < kMinShownSide) throw Unusable{fmt::format("{} of {}x{} pixels", what, width, height)};
}

}  // namespace ssl4rl::tasks
