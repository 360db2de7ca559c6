// Which checkpoints of a run evaluated best: RUN/eval/best.json, for train.keep_best.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace ssl4rl::train {

/// Notes the score of an evaluation after a step (higher is better); scores of this and later steps, left by a run that
/// was resumed before them, are forgotten. Returns the `count` best steps so far, the best first; of equal ones the
/// earlier.
std::vector<int64_t> note_score(const std::filesystem::path& run_folder, int64_t step, double score, int64_t count);
/// The best steps that are noted.
[[nodiscard]] std::vector<int64_t> best_steps(const std::filesystem::path& run_folder, int64_t count);

}  // namespace ssl4rl::train
