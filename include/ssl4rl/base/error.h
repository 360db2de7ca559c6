// Errors: what the user did or met is an Error with one clear message; what we did wrong is a failed SSL4RL_CHECK.
// Both are caught once, in cli. The exit status (1 or 2) is decided there, by whether work had begun.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace ssl4rl {

/// A failure that is the user's to read: the message names the file, key or line, what was expected and what was found.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A violated invariant: a bug in this program.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// fail("{}: not found", path) throws an Error.
template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// "No space left on device" and the like, for the current errno or the one given.
[[nodiscard]] std::string errno_text();
[[nodiscard]] std::string errno_text(int error);

namespace detail {
[[noreturn]] void check_failed(const char* condition, const char* file, int line, const std::string& message);
}

}  // namespace ssl4rl

/// SSL4RL_CHECK(condition, "format", args…): throws InternalError when an invariant does not hold.
#define SSL4RL_CHECK(condition, ...)                                                                            \
  do {                                                                                                          \
    if (!(condition)) ::ssl4rl::detail::check_failed(#condition, __FILE__, __LINE__, fmt::format(__VA_ARGS__)); \
  } while (false)
