// How much memory there is. Bytes.
#pragma once

#include <cstdint>
#include <optional>

namespace ssl4rl {

/// What this process could still take: the machine's available memory, or what its control groups leave it (as in a
/// SLURM job), whichever is less. Unknown where the system does not say.
[[nodiscard]] std::optional<int64_t> available_memory();
/// The most that this process has held at once, since it began or since the last reset.
[[nodiscard]] int64_t peak_memory();
/// What it holds now.
[[nodiscard]] int64_t current_memory();
/// Does nothing where the system does not allow it.
void reset_peak_memory();
/// Whether memory that is freed is kept for the next time, or goes back to the system; but for pieces of more, or less,
/// than largest_kept(keep).
void keep_freed_memory(bool keep);
[[nodiscard]] constexpr int64_t largest_kept(bool keep) { return keep ? 32 << 20 : 1 << 20; }

}  // namespace ssl4rl
