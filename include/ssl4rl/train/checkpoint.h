// Checkpoints: a Hugging Face model directory with what a resume needs beside it.
//
//     step-000050/
//       config.json model.safetensors tokenizer.json …    loads in transformers as it is
//       trainer/optimizer.safetensors trainer/state.json
//       manifest.json                                      size and SHA-256 of every file, written last
//
// The folder is filled under another name and renamed when whole, so a checkpoint under its own name is never half.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ssl4rl/base/log.h"
#include "ssl4rl/models/model.h"
#include "ssl4rl/train/optimizer.h"

namespace ssl4rl::train {

struct TrainerState {
  int64_t step = 0;             ///< finished steps
  int64_t skipped_in_row = 0;   ///< updates skipped since the last good one
  int64_t skipped_updates = 0;  ///< altogether
  std::optional<double> beta;   ///< the KL divergence's weight where it is adapted
  std::string curriculum = {};  ///< levels of the tasks, as JSON text; empty without a curriculum
  std::string unlogged = {};    ///< metrics of the last step, as JSON text, where its evaluation is still to be done
};

/// "step-000050".
[[nodiscard]] std::string checkpoint_name(int64_t step);

/// Files of the folder trainer/ and the tensors in them.
using TensorFiles = std::vector<std::pair<std::string, io::NamedTensors>>;

/// What a checkpoint is written from: the run's own tensors, which must not change meanwhile, or copies of them.
struct Snapshot {
  models::Model* model = nullptr;
  TensorFiles tensors;  ///< the optimiser's and whatever else a trainer has
  TrainerState state;
  std::unique_ptr<models::Model> copy;  ///< what `model` is, after make_copies() or where there was one from the start

  Snapshot(models::Model& of_model, const AdamW& optimizer, TrainerState at, TensorFiles more = {});
  /// Of weights that were collected (ShardedWeights::collect).
  Snapshot(std::unique_ptr<models::Model> collected, const AdamW& optimizer, TrainerState at, TensorFiles more = {});
  /// Copies everything that training changes to the host's memory. What is trained afterwards changes no copy.
  void make_copies();
  /// How much that takes.
  [[nodiscard]] int64_t bytes_of_copies() const;
};

/// Writes the folder, taking the place of a damaged one.
void write_checkpoint(const std::filesystem::path& folder, const Snapshot& snapshot);

[[nodiscard]] TrainerState read_state(const std::filesystem::path& folder);
/// Reads the state and fills the optimiser. The weights are read by models::Model.
[[nodiscard]] TrainerState load_checkpoint(const std::filesystem::path& folder, AdamW& optimizer);

/// What is wrong with a checkpoint's files, or nothing: a missing manifest, a missing, changed or truncated file.
[[nodiscard]] std::optional<std::string> damage_of(const std::filesystem::path& folder);

struct FoundCheckpoint {
  std::filesystem::path folder;
  int64_t step = 0;
};
/// The checkpoints below a run's folder, oldest first; whole or not.
[[nodiscard]] std::vector<FoundCheckpoint> find_checkpoints(const std::filesystem::path& run_folder);
/// The newest whole one; says on the log what was passed over and why.
[[nodiscard]] std::optional<FoundCheckpoint> newest_whole_checkpoint(const std::filesystem::path& run_folder,
                                                                     const Log& log);

/// Removes old checkpoints: the last `keep_last` stay, those whose step is a multiple of keep_every, and those of the
/// `best` steps.
void remove_old_checkpoints(const std::filesystem::path& run_folder, const TrainConfig& config,
                            const std::vector<int64_t>& best, const Log& log);

}  // namespace ssl4rl::train
