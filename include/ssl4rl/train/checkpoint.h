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
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
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
};

/// "step-000050".
[[nodiscard]] std::string checkpoint_name(int64_t step);

/// Writes more of a trainer's state into the checkpoint's folder trainer/.
using SaveMore = std::function<void(const std::filesystem::path& trainer_folder)>;

void save_checkpoint(const std::filesystem::path& folder, models::Model& model, const AdamW& optimizer,
                     const TrainerState& state, const SaveMore& more = {});

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

/// Removes old checkpoints: the last `keep_last` stay, those whose step is a multiple of
/// keep_every, and the keep_best best ones.
void remove_old_checkpoints(const std::filesystem::path& run_folder, const TrainConfig& config, const Log& log);

}  // namespace ssl4rl::train
