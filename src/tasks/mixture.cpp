#include "ssl4rl/tasks/mixture.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "ssl4rl/base/error.h"

namespace ssl4rl::tasks {
namespace {

constexpr int kSubstitutes = 200;

}  // namespace

void resolve_tasks(std::vector<TaskConfig>& tasks, bool curriculum) {
  if (tasks.empty()) fail("tasks: no task is configured");
  double total = 0;
  for (TaskConfig& task : tasks) {
    if (curriculum) task.level = task.level.value_or(0);
    task.resolve();
    total += task.weight;
  }
  if (total <= 0) fail("tasks: all weights are 0");
}

Mixture::Mixture(std::vector<TaskConfig> tasks, Wording wording, std::shared_ptr<const ImagePool> pool, uint64_t seed,
                 bool balance_answers, std::shared_ptr<Curriculum> curriculum)
    : tasks_(std::move(tasks)),
      wording_(std::move(wording)),
      pool_(std::move(pool)),
      seed_(seed),
      balance_(balance_answers),
      curriculum_(std::move(curriculum)) {
  SSL4RL_CHECK(pool_->size() > 0, "an empty pool");
  for (const TaskConfig& task : tasks_) {
    weights_.push_back(task.weight);
    if (!curriculum_) continue;
    auto& levels = levels_.emplace_back();
    for (int64_t level = 0; level <= task.highest_level(); ++level) levels.push_back(task.at_level(level));
  }
}

const TaskConfig& Mixture::choose_level(size_t entry, uint64_t index, uint64_t attempt) const {
  if (!curriculum_) return tasks_[entry];
  const double level = curriculum_->level(entry, curriculum_->step_of(static_cast<int64_t>(index))),
               whole = std::floor(level);
  const bool upper = Rng(seed_, Stream::kLevel, {index, attempt}).chance(level - whole);
  return levels_[entry][static_cast<size_t>(whole) + (upper ? 1 : 0)];
}

const TaskConfig& Mixture::task_of(const Puzzle& puzzle) const {
  return curriculum_ ? levels_.at(puzzle.entry).at(static_cast<size_t>(puzzle.level.value())) : tasks_.at(puzzle.entry);
}

Mixture::Permutation Mixture::permutation(int64_t epoch) const {
  const std::lock_guard lock(mutex_);
  Permutation& found = permutations_[epoch];
  if (!found) {
    std::vector<int64_t> order(static_cast<size_t>(pool_->size()));
    std::iota(order.begin(), order.end(), 0);
    Rng(seed_, Stream::kEpoch, {static_cast<uint64_t>(epoch)}).shuffle(order);
    found = std::make_shared<const std::vector<int64_t>>(std::move(order));
  }
  const Permutation result = found;
  while (permutations_.size() > 2)
    permutations_.erase(permutations_.begin()->first == epoch ? std::next(permutations_.begin())
                                                              : permutations_.begin());
  return result;
}

std::optional<int64_t> Mixture::balanced_answer(const TaskConfig& task, size_t number, int64_t index) const {
  const int64_t answers = task.task->answers();
  if (!balance_ || answers == 0) return {};
  // Every block of `answers` puzzles holds each answer once, in an order of its own.
  std::vector<int64_t> order(static_cast<size_t>(answers));
  std::iota(order.begin(), order.end(), 0);
  Rng(seed_, Stream::kBalance, {number, static_cast<uint64_t>(index / answers)}).shuffle(order);
  return order[static_cast<size_t>(index % answers)];
}

Puzzle Mixture::draw(int64_t index, int64_t attempt) const {
  const auto i = static_cast<uint64_t>(index), a = static_cast<uint64_t>(attempt);
  const size_t number = Rng(seed_, Stream::kTask, {i}).weighted(weights_);
  const TaskConfig& config = choose_level(number, i, a);
  const std::string& task = config.task->name();
  Rng substitutes(seed_, Stream::kReplacement, {i, a});
  std::string last_reason = "none was tried";
  for (int substitute = 0; substitute <= kSubstitutes; ++substitute) {
    const bool first = substitute == 0 && attempt == 0;
    const int64_t which = first ? (*permutation(index / pool_->size()))[static_cast<size_t>(index % pool_->size())]
                                : substitutes.below(pool_->size());
    const auto picture = pool_->load(which, task);
    if (!picture) continue;
    Rng rng(seed_, Stream::kPuzzle, {i, a, static_cast<uint64_t>(which)});
    Material material{*picture, pool_->name(which), rng, balanced_answer(config, number, index), {}};
    material.other = [&]() -> Material::Other {
      for (int attempts = 0; attempts < kSubstitutes && pool_->size() > 1; ++attempts) {
        const int64_t other = (which + 1 + rng.below(pool_->size() - 1)) % pool_->size();
        if (auto loaded = pool_->load(other, task)) return {std::move(loaded), pool_->name(other)};
      }
      throw Unusable{"there is no other usable image"};
    };
    material.sequence = [&] { return pool_->sequence(which, task); };
    try {
      Draft draft = config.task->draw(material, config.preset);
      Puzzle puzzle{.index = index,
                    .attempt = attempt,
                    .id = fmt::format("{}/{:06}", task, index),
                    .task = task,
                    .preset = config.preset,
                    .entry = number,
                    .level = config.level,
                    .source = pool_->name(which),
                    .label = pool_->label(which)};
      puzzle.question = wording_.question(task, draft);
      puzzle.images = std::move(draft.images);
      puzzle.answer = std::move(draft.answer);
      puzzle.meta = std::move(draft.meta);
      puzzle.seed = seed_;
      return puzzle;
    } catch (const Unusable& unusable) {
      pool_->skip(which, task, unusable.reason);
    }
  }
  const auto skipped = pool_->skipped();
  const auto found = skipped.find(task);
  SSL4RL_CHECK(found != skipped.end() && !found->second.empty(), "no image could be drawn, yet none was skipped");
  const auto& [name, reason] = *found->second.begin();
  fail("tasks: {}: none of {} images drawn for puzzle {} can be used; for example {}: {}", task, kSubstitutes + 1,
       index, name, reason);
}

std::vector<text::Message> messages_of(const Puzzle& puzzle) {
  text::Message message{"user", {}};
  for (size_t k = 0; k < puzzle.images.size(); ++k)
    message.content.push_back({text::ContentPart::Kind::kImage, image_name(puzzle, k)});
  message.content.push_back({text::ContentPart::Kind::kText, puzzle.question});
  return {message};
}

std::string image_name(const Puzzle& puzzle, size_t k) { return fmt::format("images/{:06}_{}.png", puzzle.index, k); }

nlohmann::ordered_json to_json(const Puzzle& puzzle) {
  using Json = nlohmann::ordered_json;
  Json images = Json::array(), content = Json::array();
  for (size_t k = 0; k < puzzle.images.size(); ++k) {
    images.push_back(image_name(puzzle, k));
    content.push_back({{"type", "image"}, {"image", image_name(puzzle, k)}});
  }
  content.push_back({{"type", "text"}, {"text", puzzle.question}});
  Json json{{"id", puzzle.id},
            {"task", puzzle.task},
            {"preset", preset_name(puzzle.preset)},
            {"source", puzzle.source},
            {"images", images},
            {"messages", Json::array({{{"role", "user"}, {"content", content}}})},
            {"answer", puzzle.answer},
            {"meta", *puzzle.meta},
            {"seed", puzzle.seed}};
  if (puzzle.level) json["level"] = *puzzle.level;
  if (!puzzle.label.empty()) json["label"] = puzzle.label;
  return json;
}

}  // namespace ssl4rl::tasks
