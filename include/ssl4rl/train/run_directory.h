// A run's folder: what stands there already, and where everything goes (docs/files.md).
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "ssl4rl/base/log.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/tensorboard.h"
#include "ssl4rl/train/checkpoint.h"

namespace ssl4rl::train {

/// --resume: never, auto, or the path of a checkpoint or a run.
struct Resume {
  enum class Mode { kNever, kAuto, kFrom };
  Mode mode = Mode::kNever;
  std::filesystem::path from;

  [[nodiscard]] static Resume parse(const std::string& text);
};

class RunDirectory {
 public:
  /// kLook: for a dry run, which takes no lock.
  enum class Purpose { kRun, kLook };
  /// Locks the folder, if it holds a lock, and looks at it, changing nothing. Throws Error where another process writes
  /// into it, it holds a run and none is to be resumed, a checkpoint to resume from is not whole, or the folder cannot
  /// be written.
  RunDirectory(std::filesystem::path folder, const Resume& resume, const Log& log, Purpose purpose = Purpose::kRun);

  /// For a rank that writes nothing: what rank 0 found.
  RunDirectory(std::filesystem::path folder, std::optional<FoundCheckpoint> checkpoint, int64_t logged_step)
      : folder_(std::move(folder)), checkpoint_(std::move(checkpoint)), logged_step_(logged_step) {}

  /// The checkpoint to go on from, if any.
  [[nodiscard]] const std::optional<FoundCheckpoint>& checkpoint() const { return checkpoint_; }
  /// The last step whose line of metrics stands, or will stand after open(): the checkpoint's, but for one that was
  /// saved before its step was evaluated.
  [[nodiscard]] int64_t logged_step() const { return logged_step_; }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

  /// Makes the folder, locks it, writes config.yaml, and cuts metrics and completions back to the checkpoint's step.
  void open(const std::string& config_yaml, bool tensorboard);

  /// One line of metrics.jsonl, and the same for TensorBoard.
  void log_metrics(int64_t step, const nlohmann::ordered_json& metrics);
  /// Metrics of evaluations, for TensorBoard only.
  void log_scalar(const std::string& tag, int64_t step, double value);
  /// completions/step-000010.jsonl.
  void write_completions(int64_t step, const std::string& lines);
  [[nodiscard]] std::filesystem::path checkpoint_folder(int64_t step) const {
    return folder_ / "checkpoints" / checkpoint_name(step);
  }

 private:
  std::filesystem::path folder_;
  std::optional<FoundCheckpoint> checkpoint_;
  int64_t logged_step_ = 0;
  std::unique_ptr<io::FileLock> lock_;
  std::unique_ptr<io::OutputFile> metrics_;
  std::unique_ptr<io::EventWriter> events_;
};

}  // namespace ssl4rl::train
