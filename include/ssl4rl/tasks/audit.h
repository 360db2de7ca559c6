// Looks for shortcuts: can an answer be guessed without seeing what the puzzle is about?
//
// Blind predictors see one property of the images each (their sizes, which are identical, …). Each is fitted on the
// even puzzles of a task and tested on the odd ones; its figure is its mean reward there. A sound task keeps it at
// chance, the best constant answer's reward; mean colour, sharpness and PNG size may be content (sky is above ground).
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
  std::string task;
  int64_t count = 0;
  std::map<std::string, int64_t> histogram;    ///< answer → how often
  double chance = 0;                           ///< the best constant answer's expected reward
  double constant = 0, constant_error = 0;     ///< its mean reward on the test half, and the standard error of that
  std::map<std::string, double> blind;         ///< predictor → mean reward on the test half
  int64_t duplicates = 0;                      ///< puzzles equal to an earlier one in images and answer
  std::map<std::string, std::string> skipped;  ///< image → reason

  /// Whether a predictor's figure lies within four standard errors of the constant answer's.
  [[nodiscard]] bool at_chance(const std::string& predictor) const;
};

class Audit {
 public:
  /// Takes note of one puzzle; png_bytes are the sizes of its images as PNG files.
  void add(const Puzzle& puzzle, const std::vector<size_t>& png_bytes);
  /// One report a task of the mixture that had puzzles, in the mixture's order.
  [[nodiscard]] std::vector<TaskAudit> finish(const Mixture& mixture, const AnswerReward& reward) const;

 private:
  struct Observation {
    std::string answer;
    std::map<std::string, std::string> keys;              // predictor → what it sees, as one symbol
    std::map<std::string, std::vector<double>> features;  // predictor → what it sees, as numbers
  };
  struct Seen {
    std::vector<Observation> observations;
    std::set<std::string> digests;
    int64_t duplicates = 0;
  };
  std::map<std::string, Seen> tasks_;
};

/// {"tasks": {NAME: {"count", "histogram", "chance", "blind", "duplicates", "skipped"}}}
[[nodiscard]] nlohmann::ordered_json to_json(const std::vector<TaskAudit>& audits);

}  // namespace ssl4rl::tasks
