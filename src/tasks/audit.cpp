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

using PerImage = std::vector<std::vector<double>>;

PerImage mean_colours(const Puzzle& puzzle) {
  PerImage means;
  for (const image::Image& picture : puzzle.images) {
    std::vector<double> sum(3);
    for (size_t i = 0; i < picture.pixels.size(); ++i) sum[i % 3] += picture.pixels[i];
    for (double& s : sum) s /= static_cast<double>(picture.pixels.size()) / 3;
    means.push_back(std::move(sum));
  }
  return means;
}

// Mean squared Laplacian of the green channel, in the logarithm.
PerImage sharpness(const Puzzle& puzzle) {
  PerImage values;
  for (const image::Image& p : puzzle.images) {
    double sum = 0;
    for (int y = 1; y + 1 < p.height; ++y)
      for (int x = 1; x + 1 < p.width; ++x) {
        const double l =
            4.0 * p.at(x, y)[1] - p.at(x - 1, y)[1] - p.at(x + 1, y)[1] - p.at(x, y - 1)[1] - p.at(x, y + 1)[1];
        sum += l * l;
      }
    values.push_back({std::log(1 + sum / std::max(1, (p.width - 2) * (p.height - 2)))});
  }
  return values;
}

// Where the steps between neighbouring pixels are largest, by column and by row modulo 8: JPEG's blocks.
PerImage jpeg_grid(const Puzzle& puzzle) {
  PerImage values;
  for (const image::Image& p : puzzle.images) {
    std::vector<double> steps(16), counts(16);
    for (int y = 0; y + 1 < p.height; ++y)
      for (int x = 0; x + 1 < p.width; ++x) {
        const int v = p.at(x, y)[1];
        steps[static_cast<size_t>(x % 8)] += std::abs(v - p.at(x + 1, y)[1]);
        steps[static_cast<size_t>(8 + y % 8)] += std::abs(v - p.at(x, y + 1)[1]);
        ++counts[static_cast<size_t>(x % 8)];
        ++counts[static_cast<size_t>(8 + y % 8)];
      }
    for (size_t axis = 0; axis < 16; axis += 8) {
      double mean = 0;
      for (size_t k = axis; k < axis + 8; ++k) mean += (steps[k] /= std::max(1.0, counts[k])) / 8;
      for (size_t k = axis; k < axis + 8; ++k) steps[k] = mean > 0 ? steps[k] / mean : 1;
    }
    values.push_back(std::move(steps));
  }
  return values;
}

// How near to an image's colours those of another one come, whatever its orientation and hue: a transform of an image
// among the candidates gives its original away.
PerImage twins(const Puzzle& puzzle) {
  constexpr size_t kBins = 32;
  PerImage histograms;
  for (const image::Image& p : puzzle.images) {
    std::vector<double> histogram(2 * kBins);  // of the largest and of the smallest channel, which a shift of hue keeps
    const double share = 3.0 / static_cast<double>(p.pixels.size());
    for (size_t i = 0; i < p.pixels.size(); i += 3) {
      const auto [low, high] = std::minmax({p.pixels[i], p.pixels[i + 1], p.pixels[i + 2]});
      histogram[high * kBins / 256] += share;
      histogram[kBins + low * kBins / 256] += share;
    }
    histograms.push_back(std::move(histogram));
  }
  // The first image is left out: a patch looks like the picture that it was cut from, and that is what the task asks
  // for.
  PerImage values;
  for (size_t i = 0; i < histograms.size(); ++i) {
    double nearest = 4, near = 0;
    for (size_t j = 1; j < histograms.size(); ++j) {
      if (i == j || i == 0) continue;
      double difference = 0;
      for (size_t k = 0; k < 2 * kBins; ++k) difference += std::abs(histograms[i][k] - histograms[j][k]);
      nearest = std::min(nearest, difference);
      near += difference < 0.1;
    }
    values.push_back({near, nearest});
  }
  return values;
}

PerImage sides(const Puzzle& puzzle) {
  PerImage values;
  for (const image::Image& p : puzzle.images) values.push_back({std::log(p.width), std::log(p.height)});
  return values;
}

// The images in the order of their values, and which coordinate of an image is largest.
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

// The best answer to the nearest training examples.
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

// Where the answer is the number of one of the last images: of all candidates of the training half, what does the right
// one look like, by itself and beside the others?
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

// The probability that a chi-square variable exceeds a value (Wilson and Hilferty's cube-root approximation).
double chi_square_tail(double value, double freedom) {
  const double spread = 2 / (9 * freedom), z = (std::cbrt(value / freedom) - (1 - spread)) / std::sqrt(spread);
  return 0.5 * std::erfc(z / std::sqrt(2.0));
}

TaskAudit audit_of(const std::vector<Audit::Observation>& observations, const TaskConfig& task,
                   const AnswerReward& reward) {
  TaskAudit audit{.task = task.name,
                  .count = static_cast<int64_t>(observations.size()),
                  .chance = task.task->chance(task.reward_function())};
  for (const Audit::Observation& o : observations) ++audit.histogram[o.answer];
  if (const int64_t answers = task.task->answers(); answers > 1 && audit.count >= 5 * answers) {
    const double mean = static_cast<double>(audit.count) / static_cast<double>(answers);
    for (const auto& [answer, count] : audit.histogram)
      audit.chi_square += (static_cast<double>(count) - mean) * (static_cast<double>(count) - mean) / mean;
    audit.chi_square += static_cast<double>(answers - static_cast<int64_t>(audit.histogram.size())) * mean;
    audit.chi_square_p = chi_square_tail(audit.chi_square, static_cast<double>(answers - 1));
  }
  if (observations.size() < 4) return audit;
  std::vector<const Audit::Observation*> train, test;
  for (size_t i = 0; i < observations.size(); ++i) (i % 2 == 0 ? train : test).push_back(&observations[i]);
  const auto examples = [](const std::vector<const Audit::Observation*>& half, const auto& key, const auto& features) {
    Examples result;
    for (const Audit::Observation* o : half) {
      result.answers.push_back(o->answer);
      result.keys.push_back(key(*o));
      result.features.push_back(features(*o));
    }
    return result;
  };
  const auto no_key = [](const Audit::Observation&) { return std::string(); };
  const auto no_features = [](const Audit::Observation&) { return std::vector<double>(); };

  // The best constant answer of the training half is what a predictor falls back on; the best one of the test half is
  // what it is measured by.
  const auto answers = examples(train, no_key, no_features).answers,
             tested = examples(test, no_key, no_features).answers;
  const std::string constant = best_answer(answers, distinct(answers), task, reward);
  const std::string best = best_answer(tested, distinct(tested), task, reward);
  double sum = 0, squares = 0;
  for (const std::string& truth : tested) {
    const double r = reward(task, best, truth);
    sum += r;
    squares += r * r;
  }
  const double n = static_cast<double>(test.size());
  audit.constant = sum / n;
  audit.constant_error = std::sqrt(std::max(0.0, squares / n - audit.constant * audit.constant) / n);

  const auto keyed = [&](const auto& key) {
    return keyed_reward(examples(train, key, no_features), examples(test, key, no_features), constant, task, reward);
  };
  const auto note = [&](const std::string& predictor, double figure) {
    const auto [place, added] = audit.blind.emplace(predictor, figure);
    if (!added) place->second = std::max(place->second, figure);
  };
  for (const auto& [predictor, first] : observations.front().keys)
    note(predictor, keyed([&](const Audit::Observation& o) { return o.keys.at(predictor); }));
  const auto candidates = static_cast<size_t>(task.task->answers());
  for (const auto& [predictor, first] : observations.front().features) {
    const size_t images = first.size();
    if (std::any_of(observations.begin(), observations.end(),
                    [&](const auto& o) { return o.features.at(predictor).size() != images; }))
      continue;
    // Where the answer is the number of one of the images behind the first: likeness to the first is what the task asks
    // for.
    const bool choice = candidates > 1 && images == candidates + 1;
    const auto seen = [&](const Audit::Observation& o) {
      const PerImage& all = o.features.at(predictor);
      return PerImage(all.begin() + (choice ? 1 : 0), all.end());
    };
    note(predictor, keyed([&](const Audit::Observation& o) { return ranking(seen(o)); }));
    const auto joined = [&](const Audit::Observation& o) {
      std::vector<double> all;
      for (const auto& of_image : seen(o)) all.insert(all.end(), of_image.begin(), of_image.end());
      return all;
    };
    note(predictor, nearest_reward(examples(train, no_key, joined), examples(test, no_key, joined), task, reward));
    if (choice) note(predictor, candidate_reward(train, test, predictor, candidates, task, reward));
  }
  return audit;
}

}  // namespace

bool TaskAudit::at_chance(const std::string& predictor) const {
  return blind.at(predictor) <= constant + 4 * constant_error;
}

bool TaskAudit::is_shortcut(const std::string& predictor) const {
  if (predictor == "size" || predictor == "order" || predictor == "identical" || predictor == "borders") return true;
  if (predictor == "sharpness" && task == "rotation") return true;
  if (predictor == "jpeg_grid") return task == "rotation" || task == "flip";
  return task == "flip" || task == "masked_patch";
}

Audit::Observation Audit::observe(const Puzzle& puzzle, const std::vector<size_t>& png_bytes) {
  io::Sha256 digest;
  for (const image::Image& picture : puzzle.images) {
    digest.update(fmt::format("{}x{}:", picture.width, picture.height));
    digest.update({reinterpret_cast<const char*>(picture.pixels.data()), picture.pixels.size()});
  }
  digest.update(puzzle.answer);
  Observation o{.entry = puzzle.entry, .answer = puzzle.answer, .digest = io::hex(digest.digest())};
  o.keys["size"] = size_key(puzzle);
  o.keys["identical"] = identical_key(puzzle);
  o.keys["borders"] = border_key(puzzle);
  o.keys["order"] = std::to_string(puzzle.index % 2);
  o.features["size"] = sides(puzzle);
  o.features["mean_colour"] = mean_colours(puzzle);
  o.features["sharpness"] = sharpness(puzzle);
  o.features["jpeg_grid"] = jpeg_grid(puzzle);
  o.features["twins"] = twins(puzzle);
  for (const size_t bytes : png_bytes) o.features["png_size"].push_back({static_cast<double>(bytes)});
  return o;
}

void Audit::add(Observation observation) {
  Seen& seen = entries_[observation.entry];
  if (!seen.digests.insert(observation.digest).second) ++seen.duplicates;
  observation.keys["order"] +=
      seen.observations.empty()
          ? ""
          : " " + seen.observations.back().answer;  // the place in the sequence, and the answer before
  seen.observations.push_back(std::move(observation));
}

std::vector<TaskAudit> Audit::finish(const Mixture& mixture, const AnswerReward& reward) const {
  std::vector<TaskAudit> audits;
  const auto skipped = mixture.pool().skipped();
  std::map<std::string, int> entries;
  for (const auto& [number, seen] : entries_) {
    const TaskConfig& task = mixture.tasks().at(number);
    TaskAudit audit = audit_of(seen.observations, task, reward);
    const int entry = ++entries[task.name];
    audit.name = entry == 1 ? task.name : fmt::format("{}#{}", task.name, entry);
    audit.duplicates = seen.duplicates;
    if (const auto reasons = skipped.find(task.name); reasons != skipped.end()) audit.skipped = reasons->second;
    audits.push_back(std::move(audit));
  }
  return audits;
}

nlohmann::ordered_json to_json(const std::vector<TaskAudit>& audits) {
  using Json = nlohmann::ordered_json;
  Json tasks = Json::object();
  for (const TaskAudit& audit : audits) {
    Json skipped = Json::array(), shortcuts = Json::array();
    for (const auto& [source, reason] : audit.skipped) skipped.push_back({{"source", source}, {"reason", reason}});
    for (const auto& [predictor, value] : audit.blind)
      if (audit.is_shortcut(predictor) && !audit.at_chance(predictor)) shortcuts.push_back(predictor);
    tasks[audit.name] = {{"count", audit.count},
                         {"histogram", audit.histogram},
                         {"chi_square", audit.chi_square},
                         {"chi_square_p", audit.chi_square_p},
                         {"chance", audit.chance},
                         {"constant", audit.constant},
                         {"constant_error", audit.constant_error},
                         {"blind", audit.blind},
                         {"shortcuts", shortcuts},
                         {"duplicates", audit.duplicates},
                         {"skipped", skipped}};
  }
  return {{"tasks", tasks}};
}

}  // namespace ssl4rl::tasks
