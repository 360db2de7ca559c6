// Predictors that guess a puzzle's answer from one property of its images, fitted on one half of the puzzles and tested
// on the other. Their figure is the mean reward of their guesses on the test half.
#pragma once

#include <string>
#include <vector>

#include "ssl4rl/tasks/audit.h"

namespace ssl4rl::tasks {

/// A property of each image of a puzzle, as numbers.
using PerImage = std::vector<std::vector<double>>;

/// A half of the puzzles as a predictor sees it.
struct Examples {
  std::vector<std::string> answers;
  std::vector<std::string> keys;
  std::vector<std::vector<double>> features;
};

/// The images in the order of their values, and which coordinate of an image is largest: a symbol.
[[nodiscard]] std::string ranking(const PerImage& features);

/// The answers that occur, each once; at most 64.
[[nodiscard]] std::vector<std::string> distinct(std::vector<std::string> answers);

/// The candidate with the largest summed reward against the given truths.
[[nodiscard]] std::string best_answer(const std::vector<std::string>& truths,
                                      const std::vector<std::string>& candidates, const TaskConfig& task,
                                      const AnswerReward& reward);

/// For each symbol that the training half shows, the best answer to it; `constant` for others.
[[nodiscard]] double keyed_reward(const Examples& train, const Examples& test, const std::string& constant,
                                  const TaskConfig& task, const AnswerReward& reward);

/// The best answer to the nearest training examples.
[[nodiscard]] double nearest_reward(const Examples& train, const Examples& test, const TaskConfig& task,
                                    const AnswerReward& reward);

/// Where the answer is the number of one of the last images: of all candidates of the training half, what does the
/// right one look like, by itself and beside the others?
[[nodiscard]] double candidate_reward(const std::vector<const Audit::Observation*>& train,
                                      const std::vector<const Audit::Observation*>& test, const std::string& predictor,
                                      size_t candidates, const TaskConfig& task, const AnswerReward& reward);

}  // namespace ssl4rl::tasks
