// How much memory this process may still take.
#pragma once

#include <cstdint>
#include <optional>

namespace ssl4rl {

/// Bytes: what the system calls available, or what the process's control group has left where that is less. Unknown
/// where the system does not say.
[[nodiscard]] std::optional<int64_t> available_memory();

}  // namespace ssl4rl
