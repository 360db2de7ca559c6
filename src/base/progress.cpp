#include "ssl4rl/base/progress.h"

#include <algorithm>
#include <cmath>

namespace ssl4rl {

std::string duration_text(double seconds) {
  if (seconds < 1) return fmt::format("{:.0f} ms", seconds * 1000);
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

std::string count_text(double count) {
  if (count < 1000) return fmt::format("{:.4g}", count);
  if (count < 1e6) return fmt::format("{:.3g}k", count / 1e3);
  if (count < 1e9) return fmt::format("{:.3g}M", count / 1e6);
  return fmt::format("{:.3g}G", count / 1e9);
}

Progress::Progress(const Log& log, std::string label, int64_t total, int64_t start, double interval)
    : log_(log), label_(std::move(label)), total_(total), start_(start), done_(start), interval_(interval) {}

Progress::~Progress() { log_.status(""); }

double Progress::seconds_left() const {
  const double spent = std::chrono::duration<double>(Clock::now() - begun_).count();
  return done_ > start_ ? spent / static_cast<double>(done_ - start_) * static_cast<double>(total_ - done_) : 0;
}

void Progress::update(int64_t done, std::string_view detail) {
  done_ = done;
  const auto now = Clock::now();
  if (log_.terminal()) {
    if (done < total_ && now - drawn_ < std::chrono::milliseconds(50)) return;
    drawn_ = now;
    constexpr int64_t kWidth = 24;
    const auto filled = static_cast<size_t>(total_ > 0 ? std::min(kWidth, kWidth * done / total_) : 0);
    const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, '-');
    log_.status(fmt::format("{} {}/{} [{}] {}{}ETA {}", label_, done, total_, bar, detail, detail.empty() ? "" : ", ",
                            duration_text(seconds_left())));
  } else if (interval_ > 0 && (now - printed_ > std::chrono::duration<double>(interval_))) {
    printed_ = now;
    log_.info("{} {}/{}{}{}, {} left", label_, done, total_, detail.empty() ? "" : ", ", detail,
              duration_text(seconds_left()));
  }
}

}  // namespace ssl4rl
