// Where the ranks meet and learn of each other's end: a small key-value store that rank 0 serves (c10d's TCPStore;
// under torchrun its agent does), and a thread on each rank that beats there twice a second. It passes on signals, and
// ends the process when another rank has failed or gone silent.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "ssl4rl/base/log.h"
#include "ssl4rl/train/place.h"

namespace c10d {
class Store;
}

namespace ssl4rl::train {

class Rendezvous {
 public:
  /// Waits for all ranks; throws Error naming those that have not come within `patience`.
  Rendezvous(const Place& place, std::chrono::seconds patience, const Log& log);
  /// Waits until all ranks have come here, so that rank 0's store outlives them.
  ~Rendezvous();
  Rendezvous(const Rendezvous&) = delete;
  Rendezvous& operator=(const Rendezvous&) = delete;

  [[nodiscard]] const c10::intrusive_ptr<c10d::Store>& store() const { return store_; }

  /// Ends this process and the others; the first rank to fail prints its message.
  [[noreturn]] void end(int status, const std::string& message);
  /// A connection broke: gives the thread time to find out whose end it was and to end this process with it. Comes back
  /// where nobody has failed.
  void await_news() const;

 private:
  struct Failure {
    int status = 1;
    std::string message;
  };
  [[nodiscard]] c10::intrusive_ptr<c10d::Store> connect(bool serve, std::chrono::seconds patience) const;
  void meet(std::chrono::seconds patience);
  void watch(const std::stop_token& stop);
  void look_for_failure();
  void look_for_silence();
  void pass_on_signals();
  [[nodiscard]] bool claim(c10d::Store& store, const Failure& failure) const;
  [[nodiscard]] static Failure first_failure(c10d::Store& store);
  [[noreturn]] void leave(const Failure& failure) const;

  const Place place_;
  const Log& log_;
  c10::intrusive_ptr<c10d::Store> store_, watched_;  // a connection each for the process and its thread
  std::vector<std::string> beats_;                   // the last one of each rank that this one looks after,
  std::vector<int> silent_;                          // and how often it has stayed the same
  bool signal_told_ = false;
  std::atomic<bool> ending_ = false, leaving_ = false;
  std::jthread watcher_;  // last: joined before the rest is destroyed
};

}  // namespace ssl4rl::train
