// What every command shares: common options, the log, and how failures become exit statuses.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ssl4rl/base/log.h"
#include "ssl4rl/train/communicator.h"

namespace ssl4rl::cli {

/// Exit statuses (docs/files.md).
enum Status : int { kDone = 0, kFailed = 1, kUsage = 2, kTemporary = 75, kInterrupted = 130 };

/// Options that all commands take.
struct CommonOptions {
  std::optional<std::string> device;  ///< auto, cpu, cuda or cuda:N
  std::optional<std::string> dtype;   ///< auto, float32 or bfloat16
  std::optional<int64_t> threads;
  std::string log_level;
  bool quiet = false;
};

/// The surroundings of a command.
class App {
 public:
  explicit App(CommonOptions options);

  [[nodiscard]] const CommonOptions& options() const { return options_; }
  [[nodiscard]] Log& log() { return log_; }
  /// Meets the other processes of the run, if there are any; throws Error naming those that have not come within
  /// `patience`. From here on a failure ends them all.
  void join(const train::Place& place, std::chrono::seconds patience);
  [[nodiscard]] train::Communicator& communicator() { return *communicator_; }
  [[nodiscard]] const train::Communicator& communicator() const { return *communicator_; }

  /// From here on a failure is one of the work (status 1), no longer of usage, configuration or input (2).
  void begin_work() { working_ = true; }
  [[nodiscard]] bool working() const { return working_; }

 private:
  CommonOptions options_;
  Log log_;
  std::unique_ptr<train::Communicator> communicator_ = std::make_unique<train::Communicator>();
  bool working_ = false;
};

/// Parses the command line, runs the command, and returns the exit status. Every failure is one message on standard
/// error.
[[nodiscard]] int run(int argc, char** argv);

}  // namespace ssl4rl::cli
