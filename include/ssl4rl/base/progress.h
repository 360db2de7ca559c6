// How far a long piece of work has come: a bar on a terminal, a plain line now and then elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "ssl4rl/base/log.h"

namespace ssl4rl {

/// "850 ms", "12 s", "3 min 05 s", "2 h 10 min".
[[nodiscard]] std::string duration_text(double seconds);

/// "12.3k", "4.56M": at most four characters and a unit.
[[nodiscard]] std::string count_text(double count);

class Progress {
 public:
  /// Shown as "label  12/200 [####----] detail, ETA". Plain lines come at most every `interval` seconds; 0 = none.
  Progress(const Log& log, std::string label, int64_t total, int64_t start = 0, double interval = 10);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(int64_t done, std::string_view detail = {});
  [[nodiscard]] double seconds_left() const;

 private:
  using Clock = std::chrono::steady_clock;

  const Log& log_;
  std::string label_;
  int64_t total_, start_, done_;
  double interval_;
  Clock::time_point begun_ = Clock::now(), drawn_{}, printed_ = Clock::now();
};

}  // namespace ssl4rl
