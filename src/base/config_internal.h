// Shared by the reader and the writer of the configuration table; not for others.
#pragma once

#include <string>
#include <string_view>

namespace ssl4rl::config {

template <typename... F>
struct Overloaded : F... {
  using F::operator()...;
};

/// "a number above 0 and at most 1".
[[nodiscard]] std::string range_text(std::string_view kind, double min, bool min_excluded, double max,
                                     bool max_excluded);
/// "prefix.name", or the name alone.
[[nodiscard]] std::string join_path(std::string_view prefix, std::string_view name);

}  // namespace ssl4rl::config
