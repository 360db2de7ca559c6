#include "blind_predictors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace ssl4rl::tasks {

std::string ranking(const PerImage& features) {
  std::vector<std::pair<double, size_t>> sums;
  std::string key;
  for (size_t i = 0; i < features.size(); ++i) {
    sums.emplace_back(std::accumulate(features[i].begin(), features[i].end(), 0.0), i);
    if (features.size() <= 2 && features[i].size() > 3) {
      for (size_t axis = 0; axis < features[i].size(); axis += 8) {
        const auto begin = features[i].begin() + static_cast<ptrdiff_t>(axis);
        key += fmt::format("{}/", std::max_element(begin, begin + 8) - begin);
      }
    }
  }
  std::sort(sums.begin(), sums.end());
  constexpr size_t kAll = 4;
  for (size_t i = 0; i < sums.size(); ++i)
    if (sums.size() <= kAll || i == 0 || i + 1 == sums.size()) key += fmt::format("{} ", sums[i].second);
  return key;
}

std::string best_answer(const std::vector<std::string>& truths, const std::vector<std::string>& candidates,
                        const TaskConfig& task, const AnswerReward& reward) {
  std::string best;
  double highest = -1;
  std::map<std::string, int> counts;
  for (const std::string& truth : truths) ++counts[truth];
  for (const std::string& candidate : candidates) {
    double sum = 0;
    for (const auto& [truth, count] : counts) sum += count * reward(task, candidate, truth);
    if (sum > highest) {
      highest = sum;
      best = candidate;
    }
  }
  return best;
}

std::vector<std::string> distinct(std::vector<std::string> answers) {
  std::sort(answers.begin(), answers.end());
  answers.erase(std::unique(answers.begin(), answers.end()), answers.end());
  constexpr size_t kMost = 64;  // a long jigsaw has too many answers to weigh them all
  if (answers.size() > kMost) answers.resize(kMost);
  return answers;
}

double keyed_reward(const Examples& train, const Examples& test, const std::string& constant, const TaskConfig& task,
                    const AnswerReward& reward) {
  std::map<std::string, std::vector<std::string>> by_key;
  for (size_t i = 0; i < train.answers.size(); ++i) by_key[train.keys[i]].push_back(train.answers[i]);
  std::map<std::string, std::string> choice;
  for (const auto& [key, answers] : by_key) choice[key] = best_answer(answers, distinct(answers), task, reward);
  double sum = 0;
  for (size_t i = 0; i < test.answers.size(); ++i) {
    const auto found = choice.find(test.keys[i]);
    sum += reward(task, found == choice.end() ? constant : found->second, test.answers[i]);
  }
  return sum / static_cast<double>(test.answers.size());
}

namespace {

std::vector<double> scales(const std::vector<std::vector<double>>& rows) {
  const size_t dims = rows.front().size();
  const auto n = static_cast<double>(rows.size());
  std::vector<double> scale(dims);
  for (size_t d = 0; d < dims; ++d) {
    double sum = 0, squares = 0;
    for (const auto& row : rows) sum += row[d], squares += row[d] * row[d];
    const double mean = sum / n, variance = squares / n - mean * mean;
    scale[d] = variance > 1e-12 ? 1 / std::sqrt(variance) : 0;
  }
  return scale;
}

// The training rows nearest to a row, in units of each feature's spread.
std::vector<size_t> nearest(const std::vector<std::vector<double>>& rows, const std::vector<double>& scale,
                            const std::vector<double>& row, size_t count) {
  std::vector<std::pair<double, size_t>> distances(rows.size());
  for (size_t j = 0; j < rows.size(); ++j) {
    double sum = 0;
    for (size_t d = 0; d < row.size(); ++d) {
      const double delta = (row[d] - rows[j][d]) * scale[d];
      sum += delta * delta;
    }
    distances[j] = {sum, j};
  }
  count = std::min(count, rows.size());
  std::nth_element(distances.begin(), distances.begin() + static_cast<ptrdiff_t>(count - 1), distances.end());
  std::vector<size_t> found;
  for (size_t j = 0; j < count; ++j) found.push_back(distances[j].second);
  return found;
}

}  // namespace

double nearest_reward(const Examples& train, const Examples& test, const TaskConfig& task, const AnswerReward& reward) {
  constexpr size_t kNeighbours = 15;
  const auto scale = scales(train.features);
  double total = 0;
  for (size_t i = 0; i < test.answers.size(); ++i) {
    std::vector<std::string> truths;
    for (const size_t j : nearest(train.features, scale, test.features[i], kNeighbours))
      truths.push_back(train.answers[j]);
    total += reward(task, best_answer(truths, distinct(truths), task, reward), test.answers[i]);
  }
  return total / static_cast<double>(test.answers.size());
}

double candidate_reward(const std::vector<const Audit::Observation*>& train,
                        const std::vector<const Audit::Observation*>& test, const std::string& predictor,
                        size_t candidates, const TaskConfig& task, const AnswerReward& reward) {
  constexpr size_t kNeighbours = 40;
  const auto rows_of = [&](const Audit::Observation& o) {
    const PerImage& images = o.features.at(predictor);
    const size_t first = images.size() - candidates, dims = images[first].size();
    std::vector<double> mean(dims);
    for (size_t c = 0; c < candidates; ++c)
      for (size_t d = 0; d < dims; ++d) mean[d] += images[first + c][d] / static_cast<double>(candidates);
    PerImage rows;
    for (size_t c = 0; c < candidates; ++c) {
      rows.push_back(images[first + c]);
      for (size_t d = 0; d < dims; ++d) rows.back().push_back(images[first + c][d] - mean[d]);
    }
    return rows;
  };
  PerImage rows;
  std::vector<bool> right;
  for (const Audit::Observation* o : train) {
    size_t number = 0;
    for (auto& row : rows_of(*o)) {
      rows.push_back(std::move(row));
      right.push_back(std::to_string(++number) == o->answer);
    }
  }
  const auto scale = scales(rows);
  double total = 0;
  for (const Audit::Observation* o : test) {
    size_t best = 0;
    int64_t most = -1;
    const auto candidates_rows = rows_of(*o);
    for (size_t c = 0; c < candidates; ++c) {
      int64_t count = 0;
      for (const size_t j : nearest(rows, scale, candidates_rows[c], kNeighbours)) count += right[j];
      if (count > most) most = count, best = c;
    }
    total += reward(task, std::to_string(best + 1), o->answer);
  }
  return total / static_cast<double>(test.size());
}

}  // namespace ssl4rl::tasks
