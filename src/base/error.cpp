#include "ssl4rl/base/error.h"

#include <cerrno>
#include <cstring>
#include <string_view>

namespace ssl4rl {

std::string errno_text() { return errno_text(errno); }

std::string errno_text(int error) {
  char buffer[256];
  return strerror_r(error, buffer, sizeof buffer);  // GNU's form: returns the text, which may not lie in the buffer
}

namespace detail {

void check_failed(const char* condition, const char* file, int line, const std::string& message) {
  std::string_view name(file);
  if (const size_t slash = name.rfind('/'); slash != std::string_view::npos) name.remove_prefix(slash + 1);
  throw InternalError(fmt::format("{} ({}; {}:{})", message, condition, name, line));
}

}  // namespace detail
}  // namespace ssl4rl
