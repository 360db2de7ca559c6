// What the processes of a run (its ranks) say to each other. A process alone is a communicator of size one, for which
// every call does nothing or gives back what it was given, so nobody needs to ask how many there are.
//
// Collectives must be called by all ranks in the same order. Each group of them stands behind an agree(): a rank that
// gives up a step because a stop was asked for takes part in exactly one more agree(), at which all others stop as
// well. Nobody waits for ever: each rank has a thread that beats, listens for another's failure and ends the process
// with it.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ssl4rl/base/interrupt.h"
#include "ssl4rl/base/log.h"
#include "ssl4rl/train/place.h"

namespace ssl4rl::train {

class Rendezvous;

class Communicator {
 public:
  /// A process alone.
  Communicator();
  /// Meets the other ranks; throws Error naming those that have not come within `patience`. `log` is told when another
  /// rank's failure ends this one.
  Communicator(const Place& place, std::chrono::seconds patience, const Log& log);
  ~Communicator();  ///< waits for the others to come here
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  /// Makes the connections for tensors on `device`: Gloo's on the CPU, NCCL's on CUDA. A collective that takes longer
  /// than `timeout` fails.
  void connect(at::Device device, std::chrono::seconds timeout);

  [[nodiscard]] int rank() const { return place_.rank; }
  [[nodiscard]] int ranks() const { return place_.ranks; }
  [[nodiscard]] const Place& place() const { return place_; }
  [[nodiscard]] at::Device device() const;  ///< of connect()
  /// Whether this is rank 0, which alone writes the run's files.
  [[nodiscard]] bool first() const { return place_.rank == 0; }

  /// The items of a step are dealt out in turn. Whether this rank has item `number`, how many of `count` it has, and
  /// the number, over all steps, of the i-th item that it has.
  [[nodiscard]] bool has(int64_t number) const { return number % ranks() == rank(); }
  [[nodiscard]] int64_t share(int64_t count) const { return (count - rank() + ranks() - 1) / ranks(); }
  [[nodiscard]] int64_t item(int64_t i, int64_t count) const {
    return i / share(count) * count + rank() + i % share(count) * ranks();
  }

  /// Throws Interrupted on all ranks if a stop was asked for on one.
  void agree(const InterruptGuard& interrupt);
  /// For a rank that caught Interrupted: lets the others' next agree() stop them too.
  void stop_together();

  /// Sums and largest values over the ranks, in place.
  void sum(std::span<double> values) const;
  void max(std::span<double> values) const;
  [[nodiscard]] double sum(double value) const;
  /// √Σ value² over the ranks.
  [[nodiscard]] double norm(double value) const;
  /// Every rank's bytes, by rank.
  [[nodiscard]] std::vector<std::string> gather(const std::string& bytes) const;
  /// Rows of [ranks, n], float32 or float64, summed over the ranks: → the own row, [n].
  [[nodiscard]] at::Tensor reduce_scatter(const at::Tensor& rows_Rn) const;
  /// Every rank's [n]: → [ranks, n].
  [[nodiscard]] at::Tensor all_gather(const at::Tensor& own_n) const;

  /// Ends this process, one of several, because of a failure, and with it the others. The first to fail prints its
  /// message.
  [[noreturn]] void end(int status, const std::string& message) const;

 private:
  struct Connections;
  void reduce(std::span<double> values, bool largest) const;
  template <typename Start>
  void complete(Start start) const;

  Place place_;
  std::unique_ptr<Rendezvous> rendezvous_;  // none in a process alone
  std::unique_ptr<Connections> connections_;
  bool stopped_ = false;  // by agreement
};

/// A process alone.
[[nodiscard]] const Communicator& one_process();

}  // namespace ssl4rl::train
