#include "ssl4rl/tasks/audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "blind_predictors.h"

namespace ssl4rl::tasks {
namespace {

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
