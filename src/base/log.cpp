#include "ssl4rl/base/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <mutex>

#include "ssl4rl/base/error.h"

namespace ssl4rl {
namespace {

// Writes to standard error and keeps the status line at the bottom.
class StderrSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  void set_status(std::string_view text) {
    const std::lock_guard lock(mutex_);
    erase();
    status_ = text;
    draw();
  }

  [[nodiscard]] bool terminal() const { return terminal_; }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t text;
    formatter_->format(message, text);
    erase();
    std::fwrite(text.data(), 1, text.size(), stderr);
    draw();
  }
  void flush_() override { std::fflush(stderr); }

  void erase() {
    if (!status_.empty()) std::fputs("\r\033[K", stderr);
  }
  void draw() {
    if (status_.empty() || !terminal_) return;
    winsize size{};
    const size_t columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col - 1u : 79u;
    std::fwrite(status_.data(), 1, std::min(columns, status_.size()), stderr);
    std::fflush(stderr);
  }

  const bool terminal_ = isatty(STDERR_FILENO) != 0;
  std::string status_;
};

spdlog::level::level_enum to_spdlog(Log::Level level) {
  switch (level) {
    case Log::Level::kDebug:
      return spdlog::level::debug;
    case Log::Level::kInfo:
      return spdlog::level::info;
    case Log::Level::kWarn:
      return spdlog::level::warn;
    case Log::Level::kError:
      return spdlog::level::err;
    case Log::Level::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

}  // namespace

struct Log::State {
  std::shared_ptr<StderrSink> sink = std::make_shared<StderrSink>();
  spdlog::logger logger{"ssl4rl", sink};
};

Log::Log(Level level) : state_(std::make_unique<State>()) {
  state_->logger.set_pattern("%H:%M:%S %l: %v");
  state_->logger.flush_on(spdlog::level::debug);
  set_level(level);
}

Log::~Log() { status(""); }

void Log::set_level(Level level) { state_->logger.set_level(to_spdlog(level)); }

bool Log::enabled(Level level) const { return state_->logger.should_log(to_spdlog(level)); }

bool Log::terminal() const { return state_->sink->terminal(); }

void Log::status(std::string_view text) const {
  if (terminal() && (enabled(Level::kInfo) || text.empty())) state_->sink->set_status(text);
}

void Log::write(Level level, const std::string& message) const { state_->logger.log(to_spdlog(level), message); }

Log::Level Log::level_from_name(std::string_view name) {
  if (name == "debug") return Level::kDebug;
  if (name == "info") return Level::kInfo;
  if (name == "warn") return Level::kWarn;
  if (name == "error") return Level::kError;
  if (name == "off") return Level::kOff;
  fail("unknown log level \"{}\": expected debug, info, warn, error or off", name);
}

}  // namespace ssl4rl
