#include "ssl4rl/base/rng.h"

#include <cmath>
#include <numbers>

namespace ssl4rl {
namespace {

// The finaliser of SplitMix64 (Steele et al., OOPSLA 2014): names of streams are hashed with it, part after part.
uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

}  // namespace

Rng::Rng(uint64_t seed, Stream stream, std::initializer_list<uint64_t> parts) {
  const uint64_t key = mix(mix(seed) ^ static_cast<uint64_t>(stream));
  uint64_t name = mix(key);
  for (const uint64_t part : parts) name = mix(name ^ mix(part));
  key_ = {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
  counter_ = {0, 0, static_cast<uint32_t>(name), static_cast<uint32_t>(name >> 32)};
}

void Rng::refill() {
  std::array<uint32_t, 4> x = counter_;
  std::array<uint32_t, 2> k = key_;
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * x[0], b = uint64_t{0xCD9E8D57u} * x[2];
    x = {static_cast<uint32_t>(b >> 32) ^ x[1] ^ k[0], static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ x[3] ^ k[1], static_cast<uint32_t>(a)};
    k = {k[0] + 0x9E3779B9u, k[1] + 0xBB67AE85u};
  }
  block_ = x;
  used_ = 0;
  if (++counter_[0] == 0) ++counter_[1];
}

uint32_t Rng::next32() {
  if (used_ == 4) refill();
  return block_[static_cast<size_t>(used_++)];
}

uint64_t Rng::next64() {
  const uint64_t high = next32();
  return high << 32 | next32();
}

double Rng::uniform() { return static_cast<double>(next64() >> 11) * 0x1p-53; }

int64_t Rng::below(int64_t n) {
  // Lemire, "Fast Random Integer Generation in an Interval" (TOMACS 2019), with 64-bit draws.
  const uint64_t range = static_cast<uint64_t>(n);
  unsigned __int128 product = static_cast<unsigned __int128>(next64()) * range;
  if (static_cast<uint64_t>(product) < range) {
    const uint64_t threshold = -range % range;
    while (static_cast<uint64_t>(product) < threshold) product = static_cast<unsigned __int128>(next64()) * range;
  }
  return static_cast<int64_t>(product >> 64);
}

double Rng::normal() {
  if (has_spare_normal_) {
    has_spare_normal_ = false;
    return spare_normal_;
  }
  const double radius = std::sqrt(-2 * std::log(1 - uniform())), angle = 2 * std::numbers::pi * uniform();
  spare_normal_ = radius * std::sin(angle);
  has_spare_normal_ = true;
  return radius * std::cos(angle);
}

size_t Rng::weighted(std::span<const double> weights) {
  double total = 0;
  for (const double weight : weights) total += weight;
  double left = uniform() * total;
  size_t last = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] <= 0) continue;
    last = i;
    if (left < weights[i]) return i;
    left -= weights[i];
  }
  return last;  // rounding only
}

}  // namespace ssl4rl
