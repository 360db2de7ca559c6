// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).
//
// A stream is named by a list of integers (seed, puzzle, attempt, purpose, …); equal names give equal numbers on every
// machine, thread and rank, and after a resume. Nothing here uses <random>, whose distributions differ between
// libraries.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

namespace ssl4rl {

/// What a stream is for; part of its name, so that streams of one puzzle are independent.
enum class Stream : uint64_t {
  kTask,         ///< which task of the mixture
  kPuzzle,       ///< the puzzle's own draws
  kEpoch,        ///< the order of images in an epoch
  kReplacement,  ///< substitutes of unusable images
  kBalance,      ///< the order of answers when they are balanced
  kSample,       ///< tokens of a rollout
  kLabel,        ///< random labels of a supervised start
  kScene,        ///< drawn images
  kWeights,      ///< random weights
  kMiniBatch,    ///< the order of PPO's mini-batches
  kDropout,      ///< dropped inputs of LoRA adapters
  kLevel,        ///< a puzzle's level, between two whole ones
  kBenchmark,    ///< options of a benchmark made from a folder of classes
};

class Rng {
 public:
  /// The stream named by (seed, stream, parts…).
  Rng(uint64_t seed, Stream stream, std::initializer_list<uint64_t> parts = {});

  [[nodiscard]] uint32_t next32();
  [[nodiscard]] uint64_t next64();
  /// Uniform on [0, 1), 53 bits.
  [[nodiscard]] double uniform();
  /// Uniform on [low, high).
  [[nodiscard]] double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// Uniform integer on [0, n), n > 0, without bias.
  [[nodiscard]] int64_t below(int64_t n);
  /// Uniform integer on [low, high], both included.
  [[nodiscard]] int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
  /// True with probability p.
  [[nodiscard]] bool chance(double p) { return uniform() < p; }
  /// Standard normal (Box-Muller).
  [[nodiscard]] double normal();
  /// Index drawn by weight; weights are not negative and not all 0.
  [[nodiscard]] size_t weighted(std::span<const double> weights);

  template <typename T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i)
      std::swap(items[i - 1], items[static_cast<size_t>(below(static_cast<int64_t>(i)))]);
  }
  template <typename T>
  [[nodiscard]] const T& pick(const std::vector<T>& items) {
    return items[static_cast<size_t>(below(static_cast<int64_t>(items.size())))];
  }

 private:
  void refill();

  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_{};
  int used_ = 4;
  double spare_normal_ = 0;
  bool has_spare_normal_ = false;
};

}  // namespace ssl4rl
