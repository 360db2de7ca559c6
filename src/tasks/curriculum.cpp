#include "ssl4rl/tasks/curriculum.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "ssl4rl/base/error.h"

namespace ssl4rl::tasks {
namespace {

template <typename T>
bool read_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

void CurriculumConfig::describe(config::Section& section) {
  section.add("mode", mode, {{"none", Mode::kNone}, {"schedule", Mode::kSchedule}, {"auto", Mode::kAuto}})
      .help(
          "none: each task's own level and keys; schedule: levels by step; auto: each task's level is moved so as to "
          "hold its success rate near the target");
  section.add("target", target).above(0).below(1).help("auto: mean accuracy of fresh puzzles that is held");
  section.add("band", band)
      .at_least(0)
      .below(1)
      .help(
          "auto: a level begins to move where the rate is farther from the target than this, and rests within half of "
          "it");
  section.add("rate", rate).above(0).at_most(5).help("auto: levels that a task moves in a step, at most");
  section.add("window", window).at_least(1).help("auto: puzzles of a task over which its success rate is taken");
  section.add("schedule", schedule)
      .help("schedule: LEVEL@STEP for all tasks, or TASK:LEVEL@STEP; a level of 1.5 draws levels 1 and 2 alike");
}

Curriculum::Curriculum(CurriculumConfig config, std::span<const TaskConfig> tasks, int64_t prompts_per_step)
    : config_(std::move(config)), prompts_per_step_(prompts_per_step) {
  for (const TaskConfig& task : tasks) {
    Entry& entry = entries_.emplace_back();
    entry.name = task.name;
    entry.highest = static_cast<double>(task.highest_level());
    for (int64_t step = 1; step <= kLag; ++step) entry.levels[step] = static_cast<double>(task.level.value_or(0));
  }
  if (config_.mode == CurriculumConfig::Mode::kSchedule) read_schedule();
}

void Curriculum::read_schedule() {
  if (config_.schedule.empty()) fail("curriculum.schedule: expected LEVEL@STEP, found nothing");
  for (const std::string& text : config_.schedule) {
    const size_t at = text.find('@'), colon = text.find(':');
    const std::string task = colon == std::string::npos ? "" : text.substr(0, colon);
    const size_t begin = colon == std::string::npos ? 0 : colon + 1;
    Scheduled scheduled;
    if (at == std::string::npos || at < begin ||
        !read_number(std::string_view(text).substr(begin, at - begin), scheduled.level) ||
        !read_number(std::string_view(text).substr(at + 1), scheduled.step) || scheduled.step < 1 ||
        !(scheduled.level >= 0))
      fail("curriculum.schedule: expected LEVEL@STEP or TASK:LEVEL@STEP, like 1@50, found \"{}\"", text);
    bool known = task.empty();
    for (Entry& entry : entries_) {
      if (!task.empty() && entry.name != task) continue;
      known = true;
      if (!task.empty() && scheduled.level > entry.highest)
        fail("curriculum.schedule: \"{}\": the highest level of {} is {}", text, task, entry.highest);
      entry.schedule.push_back({scheduled.step, std::min(scheduled.level, entry.highest)});
    }
    if (!known) fail("curriculum.schedule: \"{}\": {} is not among the configured tasks", text, task);
  }
  for (Entry& entry : entries_)
    std::stable_sort(entry.schedule.begin(), entry.schedule.end(),
                     [](const auto& a, const auto& b) { return a.step < b.step; });
}

double Curriculum::level(size_t entry, int64_t step) const {
  const std::lock_guard lock(mutex_);
  const Entry& e = entries_.at(entry);
  if (config_.mode == CurriculumConfig::Mode::kSchedule) {
    double level = e.levels.begin()->second;  // the task's own, before the first entry
    for (const Scheduled& scheduled : e.schedule)
      if (scheduled.step <= step) level = scheduled.level;
    return level;
  }
  if (step < e.levels.begin()->first) return e.levels.begin()->second;  // long past: only a dry run asks
  if (recorded_ == 0 && step > kLag) return e.levels.rbegin()->second;  // a preview: as a run begins
  const auto found = e.levels.find(step);
  SSL4RL_CHECK(found != e.levels.end(), "the level of step {} is not known after step {}", step, recorded_);
  return found->second;
}

void Curriculum::control(Entry& entry, std::span<const Outcome> outcomes, size_t number, double& next) const {
  double fresh = 0;
  for (const Outcome& outcome : outcomes)
    if (outcome.entry == number) {
      entry.window.push_back(outcome.success);
      if (static_cast<int64_t>(entry.window.size()) > config_.window) entry.window.pop_front();
      ++fresh;
    }
  if (fresh == 0) return;
  const double rate = std::accumulate(entry.window.begin(), entry.window.end(), 0.0) /
                      static_cast<double>(entry.window.size()),
               error = rate - config_.target;
  // Hysteresis: what rests begins to move beyond the band, what moves comes to rest within half of it.
  entry.moving = std::abs(error) > (entry.moving ? config_.band / 2 : config_.band);
  if (!entry.moving) return;
  const double share = error > 0 ? error / (1 - config_.target) : error / config_.target;  // from −1 to 1
  next = std::clamp(next + config_.rate * share * std::min(1.0, fresh / static_cast<double>(config_.window)), 0.0,
                    entry.highest);
}

void Curriculum::record(int64_t step, std::span<const Outcome> outcomes) {
  if (config_.mode != CurriculumConfig::Mode::kAuto) return;
  const std::lock_guard lock(mutex_);
  SSL4RL_CHECK(step == recorded_ + 1, "step {} after step {}", step, recorded_);
  recorded_ = step;
  for (size_t number = 0; number < entries_.size(); ++number) {
    Entry& entry = entries_[number];
    double next = entry.levels.at(step + kLag - 1);
    control(entry, outcomes, number, next);
    entry.levels[step + kLag] = next;
    entry.levels.erase(entry.levels.begin(), entry.levels.lower_bound(step));
  }
}

std::map<std::string, double> Curriculum::levels(int64_t step) const {
  std::map<std::string, double> levels;
  for (size_t number = 0; number < entries_.size(); ++number) levels[entries_[number].name] = level(number, step);
  return levels;
}

std::string Curriculum::state() const {
  using Json = nlohmann::ordered_json;
  const std::lock_guard lock(mutex_);
  Json entries = Json::array();
  for (const Entry& entry : entries_) {
    Json levels = Json::array();
    for (const auto& [step, level] : entry.levels) levels.push_back({step, level});
    entries.push_back({{"task", entry.name}, {"levels", levels}, {"moving", entry.moving}, {"window", entry.window}});
  }
  return Json{{"step", recorded_}, {"entries", entries}}.dump();
}

void Curriculum::restore(const std::string& state) {
  if (config_.mode != CurriculumConfig::Mode::kAuto) return;
  if (state.empty())
    fail("the checkpoint holds no state of curriculum.mode: auto; it was written by a run with another mode");
  const std::lock_guard lock(mutex_);
  try {
    const auto json = nlohmann::ordered_json::parse(state);
    const auto& entries = json.at("entries");
    if (entries.size() != entries_.size())
      fail("the checkpoint's curriculum has {} tasks, the configuration {}", entries.size(), entries_.size());
    for (size_t i = 0; i < entries_.size(); ++i) {
      Entry& entry = entries_[i];
      if (const auto name = entries[i].at("task").get<std::string>(); name != entry.name)
        fail("the checkpoint's curriculum has {} where the configuration has {}", name, entry.name);
      entry.levels.clear();
      for (const auto& level : entries[i].at("levels"))
        entry.levels[level.at(0).get<int64_t>()] = level.at(1).get<double>();
      entry.moving = entries[i].at("moving").get<bool>();
      entry.window = entries[i].at("window").get<std::deque<double>>();
    }
    recorded_ = json.at("step").get<int64_t>();
    constexpr int64_t kMostSteps = int64_t{1} << 50;
    if (recorded_ < 0 || recorded_ > kMostSteps) fail("the checkpoint's curriculum is that of step {}", recorded_);
    for (const Entry& entry : entries_)
      for (int64_t step = recorded_ + 1; step <= recorded_ + kLag; ++step) {
        const auto level = entry.levels.find(step);
        if (level == entry.levels.end() || !(level->second >= 0 && level->second <= entry.highest))
          fail("the checkpoint's curriculum has no level of {} for step {}", entry.name, step);
      }
  } catch (const nlohmann::json::exception& e) {
    fail("the checkpoint's curriculum cannot be read: {}", e.what());
  }
}

}  // namespace ssl4rl::tasks
