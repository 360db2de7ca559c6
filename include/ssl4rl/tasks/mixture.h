// Puzzles of a mixture of tasks over a pool of images.
//
// Puzzle i depends on the seed, i and the attempt only, so any number of threads draws the same puzzles, and a resumed
// run goes on with the right one. Its image is entry i mod n of the epoch's permutation, itself a function of (seed,
// ⌊i/n⌋); where that image cannot be used, substitutes are drawn from a stream of the puzzle's own.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "ssl4rl/tasks/curriculum.h"
#include "ssl4rl/tasks/image_source.h"
#include "ssl4rl/tasks/task.h"
#include "ssl4rl/tasks/wording.h"

namespace ssl4rl::tasks {

class Mixture {
 public:
  /// The tasks must be resolved. Throws Error if there are none or all weights are 0.
  /// With a curriculum the level of each puzzle follows it.
  Mixture(std::vector<TaskConfig> tasks, Wording wording, std::shared_ptr<const ImagePool> pool, uint64_t seed,
          bool balance_answers, std::shared_ptr<Curriculum> curriculum = nullptr);

  /// Safe from several threads. Throws Error if no image of the pool can be used.
  [[nodiscard]] Puzzle draw(int64_t index, int64_t attempt = 0) const;
  /// The entry that a puzzle was drawn from, at the puzzle's level.
  [[nodiscard]] const TaskConfig& task_of(const Puzzle& puzzle) const;
  [[nodiscard]] const std::vector<TaskConfig>& tasks() const { return tasks_; }
  [[nodiscard]] const ImagePool& pool() const { return *pool_; }
  /// May be null.
  [[nodiscard]] Curriculum* curriculum() const { return curriculum_.get(); }

 private:
  using Permutation = std::shared_ptr<const std::vector<int64_t>>;
  [[nodiscard]] Permutation permutation(int64_t epoch) const;
  [[nodiscard]] const TaskConfig& choose_level(size_t entry, uint64_t index, uint64_t attempt) const;
  [[nodiscard]] std::optional<int64_t> balanced_answer(const TaskConfig& task, size_t number, int64_t index) const;

  std::vector<TaskConfig> tasks_;
  std::vector<std::vector<TaskConfig>> levels_;  // with a curriculum: of each entry, by level
  std::vector<double> weights_;
  Wording wording_;
  std::shared_ptr<const ImagePool> pool_;
  uint64_t seed_;
  bool balance_;
  std::shared_ptr<Curriculum> curriculum_;
  mutable std::mutex mutex_;
  mutable std::map<int64_t, Permutation> permutations_;  // of the last two epochs
};

/// Checks and resolves the configured tasks; under a curriculum those without a level begin at 0. Throws Error if the
/// list is empty.
void resolve_tasks(std::vector<TaskConfig>& tasks, bool curriculum = false);

}  // namespace ssl4rl::tasks
