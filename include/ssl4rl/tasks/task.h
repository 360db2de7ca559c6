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
  /// The frames of the picture's numbered sequence: how many there are, which one the picture is, and a frame decoded.
  struct Sequence {
    int64_t count = 0, position = 0;
    std::function<std::shared_ptr<const image::Image>(int64_t)> load;  ///< null where it cannot be decoded
    std::function<std::string(int64_t)> name;
  };
  std::function<Sequence()> sequence;
};

/// What a task draws.
struct Draft {
  std::vector<image::Image> images;
  std::string variant;                        ///< which wording of the question, "" if there is one
  std::map<std::string, std::string> fields;  ///< values of the template's placeholders
  std::string answer;
  std::shared_ptr<nlohmann::ordered_json> meta;
};

/// What an answer is, which decides how it is read and which reward functions make sense.
enum class AnswerKind {
  kText,         ///< one of some words or numbers; compared as a whole
  kDegrees,      ///< an angle in whole degrees; a trailing ° is let pass
  kTuple,        ///< words separated by commas
  kPermutation,  ///< the numbers from 1 to n in some order, separated by commas
  kNumber,       ///< a positive number
  kBox           ///< [x, y, w, h] in thousandths of the picture's sides
};

class Task {
 public:
  virtual ~Task() = default;

  [[nodiscard]] virtual std::string name() const = 0;
  [[nodiscard]] virtual std::shared_ptr<Task> clone() const = 0;
  /// Whether the reference knows the task, so that `preset: paper` has a meaning.
  [[nodiscard]] virtual bool in_paper() const { return false; }
  /// The levels of difficulty from 0 on, easy ones first, each in a few words.
  [[nodiscard]] virtual std::vector<std::string> levels() const = 0;
  /// Sets the keys that make up a level; the others stay as they are.
  virtual void set_level(int64_t level) = 0;
  /// Binds the task's own keys.
  virtual void describe(config::Section& section) = 0;
  /// Sets what the configuration leaves to the preset.
  virtual void resolve(Preset preset) = 0;
  /// The number of different answers, for balancing; 0 if there are too many.
  [[nodiscard]] virtual int64_t answers() const = 0;
  [[nodiscard]] virtual AnswerKind answer_kind() const { return AnswerKind::kText; }
  /// Columns of the grid in which the entries of a permutation stand; 0: they are a row.
  [[nodiscard]] virtual int64_t columns() const { return 0; }
  /// The reward function that the preset uses.
  [[nodiscard]] virtual std::string default_reward(Preset) const { return "exact"; }
  /// The best constant answer's expected reward under a reward function of rewards_of(answer_kind()).
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
  std::optional<int64_t> level;
  std::optional<std::string> reward;

  void describe(config::Section& section);
  /// Sets the level's keys and what the preset leaves open, and checks. Throws Error where keys contradict each other.
  void resolve();
  /// The same entry at another level.
  [[nodiscard]] TaskConfig at_level(int64_t other) const;
  [[nodiscard]] int64_t highest_level() const { return static_cast<int64_t>(task->levels().size()) - 1; }
  [[nodiscard]] std::string reward_function() const { return reward.value_or(task->default_reward(preset)); }
};

/// The reward functions that make sense for a kind of answer.
[[nodiscard]] std::vector<std::string> rewards_of(AnswerKind kind);

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
[[nodiscard]] std::shared_ptr<Task> make_flip();
[[nodiscard]] std::shared_ptr<Task> make_odd_tile();
[[nodiscard]] std::shared_ptr<Task> make_swap();
[[nodiscard]] std::shared_ptr<Task> make_jigsaw_pair();
[[nodiscard]] std::shared_ptr<Task> make_similarity();
[[nodiscard]] std::shared_ptr<Task> make_correspondence();
[[nodiscard]] std::shared_ptr<Task> make_box();
[[nodiscard]] std::shared_ptr<Task> make_zoom();
[[nodiscard]] std::shared_ptr<Task> make_degrade();
[[nodiscard]] std::shared_ptr<Task> make_count();
[[nodiscard]] std::shared_ptr<Task> make_frames();

}  // namespace ssl4rl::tasks
