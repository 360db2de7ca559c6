// How long something took, by the steady clock.
#pragma once

#include <chrono>
#include <utility>

namespace ssl4rl {

class Stopwatch {
 public:
  /// Seconds since the start, or since the last take().
  [[nodiscard]] double seconds() const { return std::chrono::duration<double>(Clock::now() - begun_).count(); }
  /// The same, and starts anew.
  double take() {
    const auto now = Clock::now();
    return std::chrono::duration<double>(now - std::exchange(begun_, now)).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point begun_ = Clock::now();
};

}  // namespace ssl4rl
