#include "ssl4rl/tasks/task.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "ssl4rl/base/error.h"

namespace ssl4rl::tasks {
namespace {

using Factory = std::shared_ptr<Task> (*)();

const std::vector<std::pair<std::string, Factory>>& registry() {
  static const std::vector<std::pair<std::string, Factory>> all{{"rotation", make_rotation},
                                                                {"jigsaw", make_jigsaw},
                                                                {"position", make_position},
                                                                {"contrastive", make_contrastive},
                                                                {"masked_patch", make_masked_patch}};
  return all;
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

void TaskConfig::describe(config::Section& section) {
  section.add("name", name).one_of({name}).help("the task");
  section.add("weight", weight).at_least(0).help("how often it is drawn, relative to the other tasks");
  section.add("preset", preset, {{"hardened", Preset::kHardened}, {"paper", Preset::kPaper}})
      .help("hardened: no known shortcut; paper: the reference's settings, shortcuts included");
  section.add("reward", reward).one_of(task->rewards()).unset_means("the task's own").help("the reward function");
  task->describe(section);
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

std::vector<int> box_json(const image::Box& box) { return {box.x, box.y, box.width, box.height}; }

}  // namespace ssl4rl::tasks
