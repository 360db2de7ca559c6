// Looks for shortcuts: can an answer be guessed without seeing what the puzzle is about?
//
// Blind predictors see one property of the images each (their sizes, which are identical, …). Each is fitted on the
// even puzzles of a task and tested on the odd ones; its figure is its mean reward there. A sound task keeps it at
// chance, the best constant answer's reward. Some properties may be content, not a leak: sky is above ground, so mean
// colour may tell where a piece lies.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "ssl4rl/tasks/mixture.h"

namespace ssl4rl::tasks {

/// The reward of a guess where the truth is another answer of the same task.
using AnswerReward = std::function<double(const TaskConfig& task, const std::string& guess, const std::string& truth)>;

struct TaskAudit {
  std::string name;  ///< the task's; a second entry of the same task is "rotation#2"
  std::string task;
  int64_t count = 0;
  std::map<std::string, int64_t> histogram;    ///< answer → how often
  double chance = 0;                           ///< the best constant answer's expected reward
  double constant = 0, constant_error = 0;     ///< its mean reward on the test half, and the standard error of that
  std::map<std::string, double> blind;         ///< predictor → mean reward on the test half
  int64_t duplicates = 0;                      ///< puzzles equal to an earlier one in images and answer
  std::map<std::string, std::string> skipped;  ///< image → reason
  double chi_square = 0,
         chi_square_p = 1;  ///< of the answers against equal frequencies; p: of a larger value by chance

  /// Whether a predictor's figure lies within four standard errors of the constant answer's.
  [[nodiscard]] bool at_chance(const std::string& predictor) const;
  /// Whether a figure above chance is a shortcut for this task, not content.
  [[nodiscard]] bool is_shortcut(const std::string& predictor) const;
};

class Audit {
 public:
  /// What the predictors see of a puzzle.
  struct Observation {
    size_t entry = 0;
    std::string answer, digest;
    std::map<std::string, std::string> keys;  // predictor → what it sees, as one symbol
    std::map<std::string, std::vector<std::vector<double>>>
        features;  // predictor → what it sees of each image, as numbers
  };
  /// Looks at one puzzle; png_bytes are the sizes of its images as PNG files. Safe from several threads.
  [[nodiscard]] static Observation observe(const Puzzle& puzzle, const std::vector<size_t>& png_bytes);
  /// Takes note of the puzzles, in order.
  void add(Observation observation);
  /// One report an entry of the mixture that had puzzles, in the mixture's order.
  [[nodiscard]] std::vector<TaskAudit> finish(const Mixture& mixture, const AnswerReward& reward) const;

 private:
  struct Seen {
    std::vector<Observation> observations;
    std::set<std::string> digests;
    int64_t duplicates = 0;
  };
  std::map<size_t, Seen> entries_;
};

/// {"tasks": {NAME: {"count", "histogram", "chance", "blind", "shortcuts", "duplicates", "skipped", …}}}
[[nodiscard]] nlohmann::ordered_json to_json(const std::vector<TaskAudit>& audits);

}  // namespace ssl4rl::tasks
