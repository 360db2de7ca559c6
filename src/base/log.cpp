#include "ssl4rl/base/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
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

  [[nodiscard]] bool terminal() const { return terminal_ && !hidden_; }
  void hide() { hidden_ = true; }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t text;
    formatter_->format(message, text);
    if (hidden_) return;
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
  bool hidden_ = false;
  std::string status_;
};

// Keeps messages until it is told which file to append them to.
class FileSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  void open(const std::filesystem::path& path) {
    const std::lock_guard lock(mutex_);
    file_.open(path, std::ios::app);
    file_ << std::exchange(kept_, {}) << std::flush;
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t text;
    formatter_->format(message, text);
    if (file_.is_open()) {
      file_ << std::string_view(text.data(), text.size());
    } else {
      kept_.append(text.data(), text.size());
    }
  }
  void flush_() override { file_.flush(); }

  std::ofstream file_;
  std::string kept_;
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

constexpr const char* kPattern = "%H:%M:%S %l: %v";

struct Log::State {
  std::shared_ptr<StderrSink> sink = std::make_shared<StderrSink>();
  std::shared_ptr<FileSink> file;
  spdlog::logger logger{"ssl4rl", sink};
};

Log::Log(Level level) : state_(std::make_unique<State>()) {
  state_->logger.set_pattern(kPattern);
  state_->logger.flush_on(spdlog::level::debug);
  set_level(level);
}

Log::~Log() { status(""); }

void Log::set_level(Level level) { state_->logger.set_level(to_spdlog(level)); }

void Log::keep(bool show) {
  if (!show) state_->sink->hide();
  state_->file = std::make_shared<FileSink>();
  state_->file->set_pattern(kPattern);
  state_->logger.sinks().push_back(state_->file);
}

void Log::open_file(const std::filesystem::path& file) {
  if (state_->file) state_->file->open(file);
}

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
