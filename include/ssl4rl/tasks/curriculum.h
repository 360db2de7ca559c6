// Difficulty over a run: by a schedule, or so as to hold each task's success rate near a target.
//
// A task's level may lie between two whole ones; a puzzle then takes the upper one with the fractional part's
// probability, drawn from a stream of its own. What a step measures counts from the third step after it on: by then no
// puzzle of that step has been made ahead, so puzzle i depends on the seed, i and the levels so far alone, whatever the
// threads, and a resumed run, which gets the levels from its checkpoint, repeats what an uninterrupted one does.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "ssl4rl/base/config.h"
#include "ssl4rl/tasks/task.h"

namespace ssl4rl::tasks {

struct CurriculumConfig {
  enum class Mode { kNone, kSchedule, kAuto };
  Mode mode = Mode::kNone;
  double target = 0.5;                ///< success rate to hold
  double band = 0.1;                  ///< a level begins to move where the rate is farther from the target than this
  double rate = 0.25;                 ///< levels a step, at most
  int64_t window = 64;                ///< puzzles of a task whose mean is its success rate
  std::vector<std::string> schedule;  ///< "LEVEL@STEP" or "TASK:LEVEL@STEP"

  void describe(config::Section& section);
};

class Curriculum {
 public:
  /// Puzzles that are made ahead of a step belong to the next two steps at most.
  static constexpr int64_t kLag = 3;

  /// The tasks must be resolved; they begin at their `level`, or 0. Throws Error on a bad schedule.
  Curriculum(CurriculumConfig config, std::span<const TaskConfig> tasks, int64_t prompts_per_step);

  /// The step, from 1, that a puzzle belongs to.
  [[nodiscard]] int64_t step_of(int64_t index) const { return index / prompts_per_step_ + 1; }
  /// The level of an entry of the mixture in a step. Safe from several threads.
  [[nodiscard]] double level(size_t entry, int64_t step) const;

  /// A puzzle drawn for the first time, and the mean accuracy of its samples.
  struct Outcome {
    size_t entry = 0;
    double success = 0;
  };
  /// Takes note of all fresh puzzles of a step, in order. Steps must follow one another.
  void record(int64_t step, std::span<const Outcome> outcomes);
  /// "rotation" → its level in a step.
  [[nodiscard]] std::map<std::string, double> levels(int64_t step) const;

  /// What a resume needs, as JSON text.
  [[nodiscard]] std::string state() const;
  /// Throws Error where the text does not fit the configured tasks.
  void restore(const std::string& state);

 private:
  struct Scheduled {
    int64_t step = 1;
    double level = 0;
  };
  struct Entry {
    std::string name;
    double highest = 0;
    std::vector<Scheduled> schedule;  // by step
    std::deque<double> window;        // the last successes
    bool moving = false;
    std::map<int64_t, double> levels;  // step → level, of the steps that may still be drawn
  };
  void read_schedule();
  void control(Entry& entry, std::span<const Outcome> outcomes, size_t number, double& next) const;

  CurriculumConfig config_;
  int64_t prompts_per_step_;
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
  int64_t recorded_ = 0;  // the last step
};

}  // namespace ssl4rl::tasks
