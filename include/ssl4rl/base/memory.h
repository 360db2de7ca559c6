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
/// Whether memory that is freed is kept for the next time, so that its pages need not be made anew, or goes back to the
/// system in pieces of 1 MiB and more.
void keep_freed_memory(bool keep);

}  // namespace ssl4rl
