// Which of a run's processes (ranks) this one is, and where the others find each other: from the environment that
// SLURM, torchrun or --nproc gives. Reads nothing else and connects to nobody.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace ssl4rl::train {

struct Place {
  int rank = 0, ranks = 1;
  int local_rank = 0, local_ranks = 1;  ///< among those on this machine
  std::string host;                     ///< where rank 0 runs
  int port = 0;                         ///< at which it listens
  std::optional<int> listener;          ///< rank 0 of --nproc: an open socket that listens there already
  bool served = false;                  ///< torchrun itself answers there, for all ranks
  std::string attempt;                  ///< names the start of the ranks where one address serves several
};

/// The value of an environment variable; empty where it is not set.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
[[nodiscard]] Environment process_environment();

/// torchrun's RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT (--nproc sets the same); else SLURM's, of a
/// step that srun started; else one process. Throws Error naming a variable that is missing or no number.
[[nodiscard]] Place find_place(const Environment& environment);

/// The first host of SLURM's list: "node[01-04,07],login" → "node01".
[[nodiscard]] std::string first_host(const std::string& node_list);

/// The number of tasks on node `node` of SLURM's list: "2(x3),1" → 2, 2, 2, 1.
[[nodiscard]] int tasks_on_node(const std::string& tasks_per_node, int node);

}  // namespace ssl4rl::train
