// The interface of a self-supervised task, and the list of all tasks.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "ssl4rl/base/config.h"
#include "ssl4rl/base/rng.h"
#include "ssl4rl/image/image.h"
#include "ssl4rl/tasks/puzzle.h"

namespace ssl4rl::tasks {

/// Thrown by a task that cannot use an image; the image is skipped and counted.
struct Unusable {
  std::string reason;
};

/// Sides of what a puzzle shows are at least this long, in pixels.
inline constexpr int kMinShownSide = 28;

/// What a task may use to draw one puzzle.
struct Material {
  const image::Image& picture;
  std::string name;  ///< of the picture
  Rng& rng;
  std::optional<int64_t> wanted_answer;  ///< with balanced answers: which one, below Task::answers()
  /// Another picture of the pool, uniformly, never the same one. Throws Unusable if there is none.
  struct Other {
    std::shared_ptr<const image::Image> picture;
    std::string name;
  };
  std::function<Other()> other;
};

/// What a task draws.
struct Draft {
  std::vector<image::Image> images;
  std::string variant;                        ///< which wording of the question, "" if there is one
  std::map<std::string, std::string> fields;  ///< values of the template's placeholders
  std::string answer;
  std::shared_ptr<nlohmann::ordered_json> meta;
};

class Task {
 public:
  virtual ~Task() = default;

  [[nodiscard]] virtual std::string name() const = 0;
  /// Binds the task's own keys.
  virtual void describe(config::Section& section) = 0;
  /// Sets what the configuration leaves to the preset.
  virtual void resolve(Preset preset) = 0;
  /// The number of different answers, for balancing; 0 if there are too many.
  [[nodiscard]] virtual int64_t answers() const = 0;
  /// The reward function that the preset uses: "exact", "fraction" or "permutation_fraction".
  [[nodiscard]] virtual std::string default_reward(Preset) const { return "exact"; }
  /// Reward functions that make sense for the answers.
  [[nodiscard]] virtual std::vector<std::string> rewards() const { return {"exact"}; }
  /// The best constant answer's expected reward under a reward function.
  [[nodiscard]] virtual double chance(const std::string&) const { return 1.0 / static_cast<double>(answers()); }
  /// The wordings ("" or "pair", …) with the placeholders that each must contain.
  [[nodiscard]] virtual std::map<std::string, std::vector<std::string>> wordings() const = 0;
  /// A uniformly drawn answer, for supervised starts that teach the format alone.
  [[nodiscard]] virtual std::string random_answer(Rng& rng) const = 0;
  /// One puzzle. Throws Unusable.
  [[nodiscard]] virtual Draft draw(const Material& material, Preset preset) const = 0;
};

/// One entry of the configuration's `tasks`.
struct TaskConfig {
  std::string name;
  std::shared_ptr<Task> task;
  double weight = 1;
  Preset preset = Preset::kHardened;
  std::optional<std::string> reward;

  void describe(config::Section& section);
  [[nodiscard]] std::string reward_function() const { return reward.value_or(task->default_reward(preset)); }
};

/// The names of all tasks.
[[nodiscard]] std::vector<std::string> task_names();
/// A task with its defaults. Throws Error on an unknown name.
[[nodiscard]] std::shared_ptr<Task> make_task(const std::string& name);
/// An entry with the task's defaults.
[[nodiscard]] TaskConfig make_task_config(const std::string& name);
/// Binds `tasks` as the list that a configuration holds.
[[nodiscard]] config::SectionList task_list(std::vector<TaskConfig>& tasks);

// The registered tasks, one file each.
[[nodiscard]] std::shared_ptr<Task> make_rotation();
[[nodiscard]] std::shared_ptr<Task> make_jigsaw();
[[nodiscard]] std::shared_ptr<Task> make_position();
[[nodiscard]] std::shared_ptr<Task> make_contrastive();
[[nodiscard]] std::shared_ptr<Task> make_masked_patch();

/// A box as JSON: [x, y, width, height].
[[nodiscard]] std::vector<int> box_json(const image::Box& box);

}  // namespace ssl4rl::tasks
