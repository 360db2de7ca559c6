// Drawn pictures, and mixtures of one task over them.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ssl4rl/tasks/mixture.h"
#include "support/images.h"
#include "support/temporary_folder.h"

namespace ssl4rl::tasks {

using Json = nlohmann::ordered_json;

class Tasks : public testing::Test {
 protected:
  Tasks() {
    draw_pictures(folder_.path() / "images", 24);
    pool_ = pool_of("images");
  }

  std::shared_ptr<const ImagePool> pool_of(const std::string& folder) {
    return std::make_shared<const ImagePool>(find_images({folder_.path() / folder}), 56);
  }

  // One task, configured by YAML like "preset: paper".
  static std::vector<TaskConfig> configured(const std::string& name, const std::string& yaml) {
    std::vector<TaskConfig> tasks{make_task_config(name)};
    config::Section section;
    tasks[0].describe(section);
    config::read_text(section, yaml, "test", "/");
    return tasks;
  }
  Mixture mixture(const std::string& name, const std::string& yaml = "", uint64_t seed = 1, bool balance = false) {
    auto tasks = configured(name, yaml);
    resolve_tasks(tasks);
    return {tasks, Wording({}, tasks), pool_, seed, balance};
  }
  image::Image source(const Puzzle& puzzle) { return image::load(folder_.path() / "images" / puzzle.source); }

  static image::Box box(const Json& json) { return {json[0], json[1], json[2], json[3]}; }

  TemporaryFolder folder_;
  std::shared_ptr<const ImagePool> pool_;
};

}  // namespace ssl4rl::tasks
