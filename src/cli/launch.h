// --nproc: the program starts itself as the ranks of a run on this machine.
#pragma once

namespace ssl4rl::cli {

/// Starts `ranks` processes with this one's arguments, each with torchrun's variables in its environment, and waits for
/// them. Signals that this process gets by itself are passed on. Where one rank ends badly the others are ended.
/// Returns the exit status: of the first rank that failed (1 where it was killed), else the one that all have.
[[nodiscard]] int launch_ranks(int ranks);

}  // namespace ssl4rl::cli
