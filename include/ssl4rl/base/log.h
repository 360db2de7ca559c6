// Messages to standard error. On a terminal one status line (a progress bar) may stand below the messages.
// A Log is passed to whoever reports; there is no global one.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace ssl4rl {

class Log {
 public:
  enum class Level { kDebug, kInfo, kWarn, kError, kOff };

  explicit Log(Level level = Level::kInfo);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  template <typename... Args>
  void debug(fmt::format_string<Args...> format, Args&&... args) const {
    if (enabled(Level::kDebug)) write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) const {
    if (enabled(Level::kInfo)) write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void warn(fmt::format_string<Args...> format, Args&&... args) const {
    if (enabled(Level::kWarn)) write(Level::kWarn, fmt::format(format, std::forward<Args>(args)...));
  }

  void set_level(Level level);
  /// For a run of several processes: messages are kept, until open_file() says where to write them, and
  /// shown on standard error only where `show` is set.
  void keep(bool show);
  void open_file(const std::filesystem::path& file);
  [[nodiscard]] bool enabled(Level level) const;
  /// Whether standard error is a terminal.
  [[nodiscard]] bool terminal() const;
  /// Replaces the status line; an empty text removes it. Does nothing where there is no terminal.
  void status(std::string_view text) const;

  /// "debug", "info", "warn", "error", "off"; throws Error on another name.
  [[nodiscard]] static Level level_from_name(std::string_view name);

 private:
  void write(Level level, const std::string& message) const;

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ssl4rl
