// MME-RealWorld's rating: task, subtask and second-level category, all weighted by their questions.
#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "score_tables.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/text/unicode.h"

namespace ssl4rl::eval {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array kTasks{"Reasoning", "Perception"};
constexpr std::array kSubtasks{"Monitoring", "Autonomous_Driving", "OCR with Complex Context", "Diagram and Table",
                               "Remote Sensing"};

struct Count {
  int64_t hits = 0, count = 0;
  [[nodiscard]] Json accuracy() const {
    return count == 0 ? Json(0) : Json(static_cast<double>(hits) / static_cast<double>(count));
  }
  void add(const Count& other) {
    hits += other.hits;
    count += other.count;
  }
};

struct Place {
  std::string task, subtask, category;
};

Place place_of(const Dataset& dataset, size_t row) {
  const std::string category = dataset.cell("category", row).value_or("");
  const size_t slash = category.find('/');
  Place place{category.substr(0, slash), slash == std::string::npos ? "" : category.substr(slash + 1),
              text::lower(dataset.cell("l2-category", row).value_or("nan"))};
  place.subtask = place.subtask.substr(0, place.subtask.find('/'));
  if (std::find(kTasks.begin(), kTasks.end(), place.task) == kTasks.end() ||
      std::find(kSubtasks.begin(), kSubtasks.end(), place.subtask) == kSubtasks.end())
    fail("{}: category: expected TASK/SUBTASK with the tasks {} and the subtasks {}, found \"{}\"", dataset.place(row),
         fmt::join(kTasks, ", "), fmt::join(kSubtasks, ", "), category);
  if (place.category.find("attribute") != std::string::npos)
    place.category = place.category.substr(0, place.category.find('/')) + "/attribute";
  return place;
}

}  // namespace

void tabulate_mme_realworld(const Dataset& dataset, Scores& scores) {
  scores.units = row_units(scores);
  struct Subtask {
    std::vector<std::string> order;  // of appearance
    std::map<std::string, Count> categories;
  };
  std::map<std::pair<std::string, std::string>, Subtask> subtasks;
  for (size_t row = 0; row < dataset.rows(); ++row) {
    const Place place = place_of(dataset, row);
    Subtask& subtask = subtasks[{place.task, place.subtask}];
    if (!subtask.categories.contains(place.category)) subtask.order.push_back(place.category);
    subtask.categories[place.category].add({scores.answers[row].hit, 1});
  }
  Json rating = Json::object();
  Count all;
  for (const char* task : kTasks) {
    Json of_task = Json::object();
    Count task_count;
    for (const char* name : kSubtasks) {
      Json of_subtask = Json::object();
      Count subtask_count;
      const Subtask& subtask = subtasks[{task, name}];
      for (const std::string& category : subtask.order) {
        of_subtask[category] = subtask.categories.at(category).accuracy();
        subtask_count.add(subtask.categories.at(category));
      }
      of_subtask["Avg"] = subtask_count.accuracy();
      of_task[name] = std::move(of_subtask);
      task_count.add(subtask_count);
    }
    of_task["Avg"] = task_count.accuracy();
    rating[task] = std::move(of_task);
    all.add(task_count);
  }
  rating["Overall"] = all.accuracy();
  scores.nested = std::make_shared<const Json>(std::move(rating));
  scores.overall = 100 * static_cast<double>(all.hits) / static_cast<double>(all.count);
  scores.standard_error = accuracy_error(all.hits, all.count);
}

}  // namespace ssl4rl::eval
