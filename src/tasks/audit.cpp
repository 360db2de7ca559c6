#include "ssl4rl/tasks/audit.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/hash.h"

namespace ssl4rl::tasks {
namespace {

// The relations between the images' sides: which are equal, smaller, larger.
std::string size_key(const Puzzle& puzzle) {
  const auto relation = [](int a, int b) { return a < b ? '<' : a > b ? '>' : '='; };
  std::string key;
  for (size_t i = 0; i < puzzle.images.size(); ++i) {
    const image::Image& a = puzzle.images[i];
    key += relation(a.width, a.height);
    for (size_t j = 0; j < i; ++j) {
      const image::Image& b = puzzle.images[j];
      key += {relation(a.width, b.width), relation(a.height, b.height), relation(a.width, b.height),
              relation(a.height, b.width)};
    }
    key += ' ';
  }
  return key;
}

std::string identical_key(const Puzzle& puzzle) {
  std::string key;
  for (size_t i = 0; i < puzzle.images.size(); ++i)
    for (size_t j = 0; j < i; ++j) key += puzzle.images[i] == puzzle.images[j] ? '=' : '.';
  return key;
}

// Which edges of the images are of one colour.
std::string border_key(const Puzzle& puzzle) {
  std::string key;
  for (const image::Image& picture : puzzle.images) {
    const auto flat = [&](int x, int y, int dx, int dy, int length) {
      int low[3] = {255, 255, 255}, high[3] = {0, 0, 0};
      for (int i = 0; i < length; ++i)
        for (int c = 0; c < 3; ++c) {
          const int v = picture.at(x + i * dx, y + i * dy)[c];
          low[c] = std::min(low[c], v);
          high[c] = std::max(high[c], v);
        }
      return high[0] - low[0] <= 2 && high[1] - low[1] <= 2 && high[2] - low[2] <= 2;
    };
    key += flat(0, 0, 1, 0, picture.width) ? 'T' : '.';
    key += flat(0, picture.height - 1, 1, 0, picture.width) ? 'B' : '.';
    key += flat(0, 0, 0, 1, picture.height) ? 'L' : '.';
    key += flat(picture.width - 1, 0, 0, 1, picture.height) ? 'R' : '.';
  }
  return key;
}

std::vector<double> mean_colours(const Puzzle& puzzle) {
  std::vector<double> means;
  for (const image::Image& picture : puzzle.images) {
    double sum[3] = {0, 0, 0};
    for (size_t i = 0; i < picture.pixels.size(); ++i) sum[i % 3] += picture.pixels[i];
    for (const double s : sum) means.push_back(s / (static_cast<double>(picture.pixels.size()) / 3));
  }
  return means;
}

// Mean squared Laplacian of the green channel, in the logarithm.
std::vector<double> sharpness(const Puzzle& puzzle) {
  std::vector<double> values;
  for (const image::Image& p : puzzle.images) {
    double sum = 0;
    for (int y = 1; y + 1 < p.height; ++y)
      for (int x = 1; x + 1 < p.width; ++x) {
        const double l =
            4.0 * p.at(x, y)[1] - p.at(x - 1, y)[1] - p.at(x + 1, y)[1] - p.at(x, y - 1)[1] - p.at(x, y + 1)[1];
        sum += l * l;
      }
    values.push_back(std::log(1 + sum / std::max(1, (p.width - 2) * (p.height - 2))));
  }
  return values;
}

// The answer with the largest summed reward against the given truths.
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

struct Examples {
  std::vector<std::string> answers;
  std::vector<std::string> keys;
  std::vector<std::vector<double>> features;
};

// For each symbol that the training half shows, the best answer to it.
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

// The best answer to the nearest training examples, in units of each feature's spread.
double nearest_reward(const Examples& train, const Examples& test, const TaskConfig& task, const AnswerReward& reward) {
  constexpr size_t kNeighbours = 15;
  const size_t dims = train.features.front().size(), n = train.features.size();
  std::vector<double> scale(dims);
  for (size_t d = 0; d < dims; ++d) {
    double sum = 0, squares = 0;
    for (const auto& f : train.features) sum += f[d], squares += f[d] * f[d];
    const double mean = sum / static_cast<double>(n), variance = squares / static_cast<double>(n) - mean * mean;
    scale[d] = variance > 1e-12 ? 1 / std::sqrt(variance) : 0;
  }
  double total = 0;
  std::vector<std::pair<double, size_t>> distances(n);
  for (size_t i = 0; i < test.answers.size(); ++i) {
    for (size_t j = 0; j < n; ++j) {
      double sum = 0;
      for (size_t d = 0; d < dims; ++d) {
        const double delta = (test.features[i][d] - train.features[j][d]) * scale[d];
        sum += delta * delta;
      }
      distances[j] = {sum, j};
    }
    const size_t k = std::min(kNeighbours, n);
    std::partial_sort(distances.begin(), distances.begin() + static_cast<ptrdiff_t>(k), distances.end());
    std::vector<std::string> truths;
    for (size_t j = 0; j < k; ++j) truths.push_back(train.answers[distances[j].second]);
    total += reward(task, best_answer(truths, distinct(truths), task, reward), test.answers[i]);
  }
  return total / static_cast<double>(test.answers.size());
}

}  // namespace

bool TaskAudit::at_chance(const std::string& predictor) const {
  return blind.at(predictor) <= constant + 4 * constant_error;
}

void Audit::add(const Puzzle& puzzle, const std::vector<size_t>& png_bytes) {
  Seen& seen = tasks_[puzzle.task];
  io::Sha256 digest;
  for (const image::Image& picture : puzzle.images) {
    digest.update(fmt::format("{}x{}:", picture.width, picture.height));
    digest.update({reinterpret_cast<const char*>(picture.pixels.data()), picture.pixels.size()});
  }
  digest.update(puzzle.answer);
  if (!seen.digests.insert(io::hex(digest.digest())).second) ++seen.duplicates;

  Observation o{.answer = puzzle.answer};
  o.keys["size"] = size_key(puzzle);
  o.keys["identical"] = identical_key(puzzle);
  o.keys["borders"] = border_key(puzzle);
  // The place in the sequence, and the answer before.
  o.keys["order"] =
      fmt::format("{} {}", puzzle.index % 2, seen.observations.empty() ? "" : seen.observations.back().answer);
  o.features["mean_colour"] = mean_colours(puzzle);
  o.features["sharpness"] = sharpness(puzzle);
  for (const size_t bytes : png_bytes) o.features["png_size"].push_back(static_cast<double>(bytes));
  seen.observations.push_back(std::move(o));
}

std::vector<TaskAudit> Audit::finish(const Mixture& mixture, const AnswerReward& reward) const {
  std::vector<TaskAudit> audits;
  const auto skipped = mixture.pool().skipped();
  for (const TaskConfig& task : mixture.tasks()) {
    const auto found = tasks_.find(task.task->name());
    if (found == tasks_.end()) continue;
    const auto& observations = found->second.observations;
    TaskAudit audit{.task = found->first,
                    .count = static_cast<int64_t>(observations.size()),
                    .chance = task.task->chance(task.reward_function()),
                    .duplicates = found->second.duplicates};
    if (const auto reasons = skipped.find(found->first); reasons != skipped.end()) audit.skipped = reasons->second;
    for (const Observation& o : observations) ++audit.histogram[o.answer];
    if (observations.size() >= 4) {
      const auto split = [&](const std::string& predictor) {
        std::pair<Examples, Examples> halves;
        for (size_t i = 0; i < observations.size(); ++i) {
          Examples& half = i % 2 == 0 ? halves.first : halves.second;
          half.answers.push_back(observations[i].answer);
          if (const auto key = observations[i].keys.find(predictor); key != observations[i].keys.end())
            half.keys.push_back(key->second);
          if (const auto f = observations[i].features.find(predictor); f != observations[i].features.end())
            half.features.push_back(f->second);
        }
        return halves;
      };
      const auto [train, test] = split("size");
      const std::string constant = best_answer(train.answers, distinct(train.answers), task, reward);
      double sum = 0, squares = 0;
      for (const std::string& truth : test.answers) {
        const double r = reward(task, constant, truth);
        sum += r;
        squares += r * r;
      }
      const double n = static_cast<double>(test.answers.size());
      audit.constant = sum / n;
      audit.constant_error = std::sqrt(std::max(0.0, squares / n - audit.constant * audit.constant) / n);
      for (const auto& [predictor, key] : observations.front().keys) {
        const auto halves = split(predictor);
        audit.blind[predictor] = keyed_reward(halves.first, halves.second, constant, task, reward);
      }
      for (const auto& [predictor, features] : observations.front().features) {
        const auto halves = split(predictor);
        audit.blind[predictor] = nearest_reward(halves.first, halves.second, task, reward);
      }
    }
    audits.push_back(std::move(audit));
  }
  return audits;
}

nlohmann::ordered_json to_json(const std::vector<TaskAudit>& audits) {
  using Json = nlohmann::ordered_json;
  Json tasks = Json::object();
  for (const TaskAudit& audit : audits) {
    Json skipped = Json::array();
    for (const auto& [source, reason] : audit.skipped) skipped.push_back({{"source", source}, {"reason", reason}});
    tasks[audit.task] = {{"count", audit.count},
                         {"histogram", audit.histogram},
                         {"chance", audit.chance},
                         {"constant", audit.constant},
                         {"constant_error", audit.constant_error},
                         {"blind", audit.blind},
                         {"duplicates", audit.duplicates},
                         {"skipped", skipped}};
  }
  return {{"tasks", tasks}};
}

}  // namespace ssl4rl::tasks
