#include "ssl4rl/tasks/task.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "ssl4rl/base/error.h"

namespace ssl4rl::tasks {
namespace {

using Factory = std::shared_ptr<Task> (*)();

const std::vector<std::pair<std::string, Factory>>& registry() {
  static const std::vector<std::pair<std::string, Factory>> all{{"rotation", make_rotation},
                                                                {"jigsaw", make_jigsaw},
                                                                {"position", make_position},
                                                                {"contrastive", make_contrastive},
                                                                {"masked_patch", make_masked_patch},
                                                                {"flip", make_flip},
                                                                {"odd_tile", make_odd_tile},
                                                                {"swap", make_swap},
                                                                {"jigsaw_pair", make_jigsaw_pair},
                                                                {"similarity", make_similarity},
                                                                {"correspondence", make_correspondence},
                                                                {"box", make_box},
                                                                {"zoom", make_zoom},
                                                                {"degrade", make_degrade},
                                                                {"count", make_count},
                                                                {"frames", make_frames}};
  return all;
}

// The task's own keys with their values, as texts.
std::map<std::string, std::string> values_of(Task& task) {
  config::Section section;
  task.describe(section);
  std::map<std::string, std::string> values;
  std::istringstream lines(config::to_yaml(section));
  for (std::string line; std::getline(lines, line);)
    if (const size_t colon = line.find(": "); colon != std::string::npos)
      values[line.substr(0, colon)] = line.substr(colon + 2);
  return values;
}

// A level, and a key that levels set, given with a value that no level has, contradict each other. (A value that
// another level has may stem from a resolved configuration whose level is overridden.)
void check_level_alone(const std::string& name, Task& configured, int64_t level) {
  const auto untouched = values_of(*make_task(name)), given = values_of(configured);
  std::map<std::string, std::set<std::string>> of_levels;
  for (size_t l = 0; l < configured.levels().size(); ++l) {
    const auto task = make_task(name);
    task->set_level(static_cast<int64_t>(l));
    for (const auto& [key, value] : values_of(*task)) of_levels[key].insert(value);
  }
  for (const auto& [key, values] : of_levels) {
    const bool levelled = values.size() > 1 || !values.contains(untouched.at(key));
    if (levelled && given.at(key) != untouched.at(key) && !values.contains(given.at(key)))
      fail("tasks: {}: level: {} sets {}, but {}: {} is given; leave one of the two away", name, level, key, key,
           given.at(key));
  }
}

}  // namespace

const char* preset_name(Preset preset) { return preset == Preset::kPaper ? "paper" : "hardened"; }

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const auto& [name, make] : registry()) names.push_back(name);
  return names;
}

std::shared_ptr<Task> make_task(const std::string& name) {
  for (const auto& [known, make] : registry())
    if (known == name) return make();
  fail("unknown task \"{}\": expected one of {}", name, fmt::join(task_names(), ", "));
}

std::vector<std::string> rewards_of(AnswerKind kind) {
  switch (kind) {
    case AnswerKind::kText:
      return {"exact"};
    case AnswerKind::kDegrees:
      return {"exact", "angular"};
    case AnswerKind::kTuple:
      return {"exact", "fraction"};
    case AnswerKind::kPermutation:
      return {"exact", "fraction", "permutation_fraction", "discounted_fraction", "displacement", "adjacency"};
    case AnswerKind::kNumber:
      return {"exact", "relative_error"};
    case AnswerKind::kBox:
      return {"iou"};
  }
  return {};
}

void TaskConfig::describe(config::Section& section) {
  section.add("name", name).one_of({name}).help("the task");
  section.add("weight", weight).at_least(0).help("how often it is drawn, relative to the other tasks");
  section.add("preset", preset, {{"hardened", Preset::kHardened}, {"paper", Preset::kPaper}})
      .help("hardened: no known shortcut; paper: the reference's settings, shortcuts included");
  std::string meaning;
  const auto levels = task->levels();
  for (size_t l = 0; l < levels.size(); ++l) meaning += fmt::format("{}{} = {}", l ? "; " : "", l, levels[l]);
  section.add("level", level)
      .at_least(0)
      .at_most(static_cast<double>(highest_level()))
      .unset_means("the keys below")
      .help("difficulty: " + meaning);
  section.add("reward", reward)
      .one_of(rewards_of(task->answer_kind()))
      .unset_means("the task's own")
      .help("the reward function");
  task->describe(section);
}

void TaskConfig::resolve() {
  if (preset == Preset::kPaper && !task->in_paper())
    fail("tasks: {}: preset: paper: the reference has no such task; leave the key away, or use hardened", name);
  if (level) {
    check_level_alone(name, *task, *level);
    task->set_level(*level);
  }
  task->resolve(preset);
}

TaskConfig TaskConfig::at_level(int64_t other) const {
  TaskConfig config = *this;
  config.task = task->clone();
  config.task->set_level(other);
  config.task->resolve(preset);
  config.level = other;
  return config;
}

TaskConfig make_task_config(const std::string& name) { return {.name = name, .task = make_task(name)}; }

config::SectionList task_list(std::vector<TaskConfig>& tasks) {
  return {.names = task_names(),
          .clear = [&tasks] { tasks.clear(); },
          .append = [&tasks](const std::string& name) { tasks.push_back(make_task_config(name)); },
          .size = [&tasks] { return tasks.size(); },
          .describe = [&tasks](size_t i, config::Section& section) { tasks.at(i).describe(section); },
          .describe_example =
              [](const std::string& name, config::Section& section) {
                // The reference's examples live as long as the program: sections refer to what they describe.
                static std::map<std::string, TaskConfig> examples;
                examples[name] = make_task_config(name);
                examples[name].describe(section);
              }};
}

}  // namespace ssl4rl::tasks
