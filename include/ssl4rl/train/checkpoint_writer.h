// Saves the states of a run while it goes on: a snapshot is copied in memory, and a thread writes the files and then
// removes old checkpoints. One snapshot is held at a time: a second one waits for the first to be written.
#pragma once

#include <filesystem>
#include <future>

#include "ssl4rl/base/log.h"
#include "ssl4rl/train/checkpoint.h"
#include "ssl4rl/train/run_directory.h"

namespace ssl4rl::train {

class CheckpointWriter {
 public:
  enum class When { kInBackground, kNow };

  CheckpointWriter(const RunDirectory& directory, const TrainConfig& config, const Log& log);
  /// Waits. An error that nobody has asked for is logged.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// Saves the state, unless that step's is the last that was saved. Waits for the write before. In the background,
  /// where train.save_in_background is set and the memory suffices, and then throws the error of the write before; or
  /// now, where such an error is logged, since this checkpoint takes the place of that one.
  void save(Snapshot snapshot, When when);
  /// Throws the error of a write that has failed in the background.
  void check();
  /// Waits for the write under way; throws its error.
  void wait();

 private:
  [[nodiscard]] bool has_room_for(const Snapshot& snapshot);
  void write(const Snapshot& snapshot, const std::vector<int64_t>& best, std::optional<double> waited) const;

  const RunDirectory& directory_;
  const TrainConfig& config_;
  const Log& log_;
  int64_t saved_ = -1;  // the last step that was given to save()
  bool told_of_memory_ = false;
  std::future<void> writing_;
};

}  // namespace ssl4rl::train
