#include "ssl4rl/train/checkpoint_writer.h"

#include <chrono>
#include <utility>

#include "ssl4rl/base/error.h"
#include "ssl4rl/base/memory.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/base/stopwatch.h"
#include "ssl4rl/train/best.h"

namespace ssl4rl::train {
CheckpointWriter::CheckpointWriter(const RunDirectory& directory, const TrainConfig& config, const Log& log)
    : directory_(directory), config_(config), log_(log) {
  const auto& resumed = directory.checkpoint();
  if (resumed && resumed->folder == directory.checkpoint_folder(resumed->step) &&
      directory.logged_step() == resumed->step)
    saved_ = resumed->step;
}

CheckpointWriter::~CheckpointWriter() {
  try {
    wait();
  } catch (const std::exception& e) {
    log_.warn("the last checkpoint was not saved: {}", e.what());
  }
}

void CheckpointWriter::save(Snapshot snapshot, When when) {
  const Stopwatch watch;
  if (when == When::kInBackground) {
    wait();
  } else {
    try {
      wait();
    } catch (const Error& e) {  // what is saved now takes its place
      log_.warn("{}", e.what());
    }
  }
  const int64_t step = snapshot.state.step;
  if (step == saved_) return;
  std::vector<int64_t> best;
  if (config_.keep_best) best = best_steps(directory_.folder(), *config_.keep_best);
  if (when == When::kInBackground && has_room_for(snapshot)) {
    snapshot.make_copies();
    const double waited = watch.seconds();
    writing_ = std::async(
        std::launch::async,
        [this, best, waited, held = std::make_shared<Snapshot>(std::move(snapshot))] { write(*held, best, waited); });
  } else {
    write(snapshot, best, {});
  }
  saved_ = step;
}

// Whether copies of the state fit into the memory that is left.
bool CheckpointWriter::has_room_for(const Snapshot& snapshot) {
  if (!config_.save_in_background) return false;
  constexpr double kShare = 0.8;
  const auto needed = static_cast<double>(snapshot.bytes_of_copies());
  const auto left = available_memory();
  if (!left || needed <= kShare * static_cast<double>(*left)) return true;
  if (!std::exchange(told_of_memory_, true))
    log_.warn("checkpoints are not written in the background: a copy takes {:.1f} GiB, {:.1f} GiB are left",
              needed / (1 << 30), static_cast<double>(*left) / (1 << 30));
  return false;
}

void CheckpointWriter::check() {
  if (writing_.valid() && writing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready) wait();
}

void CheckpointWriter::wait() {
  if (!writing_.valid()) return;
  try {
    writing_.get();
  } catch (...) {
    saved_ = -1;
    throw;
  }
}

void CheckpointWriter::write(const Snapshot& snapshot, const std::vector<int64_t>& best,
                             std::optional<double> waited) const {
  const Stopwatch watch;
  const auto folder = directory_.checkpoint_folder(snapshot.state.step);
  write_checkpoint(folder, snapshot);
  const double seconds = watch.seconds();
  log_.info("saved {} in {}; the run waited {}", folder.string(), duration_text(seconds),
            duration_text(waited.value_or(seconds)));
  remove_old_checkpoints(directory_.folder(), config_, best, log_);
}

}  // namespace ssl4rl::train
