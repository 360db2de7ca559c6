// Levels over a run: schedules, and the controller that holds the success rate.
#include "ssl4rl/tasks/curriculum.h"

#include <cmath>

#include "fixture.h"
#include "support/errors.h"

namespace ssl4rl::tasks {
namespace {

std::vector<TaskConfig> two_tasks() {
  std::vector<TaskConfig> tasks{make_task_config("rotation"), make_task_config("flip")};
  resolve_tasks(tasks, true);
  return tasks;
}

TEST(CurriculumTest, ASchedulesLevelsBeginAtTheirSteps) {
  const auto tasks = two_tasks();
  const Curriculum curriculum(
      {.mode = CurriculumConfig::Mode::kSchedule, .schedule = {"1@10", "rotation:4@50", "3.5@30"}}, tasks, 8);
  for (const auto& [step, rotation, flip] : {std::tuple{1, 0.0, 0.0},
                                             {9, 0.0, 0.0},
                                             {10, 1.0, 1.0},
                                             {30, 3.5, 3.0},
                                             {49, 3.5, 3.0},
                                             {50, 4.0, 3.0},
                                             {5000, 4.0, 3.0}}) {
    EXPECT_EQ(curriculum.level(0, step), rotation) << step;
    EXPECT_EQ(curriculum.level(1, step), flip) << step << ": the highest level of flip is 3";
  }
  EXPECT_EQ(curriculum.step_of(0), 1);
  EXPECT_EQ(curriculum.step_of(7), 1);
  EXPECT_EQ(curriculum.step_of(8), 2);
}

TEST(CurriculumTest, BrokenSchedulesAreNamed) {
  const auto tasks = two_tasks();
  const auto with = [&](const std::string& entry) {
    return error_of(
        [&] { const Curriculum c({.mode = CurriculumConfig::Mode::kSchedule, .schedule = {entry}}, tasks, 8); });
  };
  for (const char* bad : {"1", "@5", "x@5", "1@0", "-1@5", "1@5x", ""})
    EXPECT_EQ(with(bad),
              fmt::format("curriculum.schedule: expected LEVEL@STEP or TASK:LEVEL@STEP, like 1@50, found \"{}\"", bad));
  EXPECT_EQ(with("jigsaw:1@5"), "curriculum.schedule: \"jigsaw:1@5\": jigsaw is not among the configured tasks");
  EXPECT_EQ(with("flip:4@5"), "curriculum.schedule: \"flip:4@5\": the highest level of flip is 3");
}

// A learner whose success at a level grows with its skill; the skill grows with every step.
double success(double skill, double level) { return 1 / (1 + std::exp(3 * (level - skill))); }

TEST(CurriculumTest, AutoHoldsTheSuccessRateWhileDifficultyRises) {
  const auto tasks = two_tasks();
  Curriculum curriculum({.mode = CurriculumConfig::Mode::kAuto}, tasks, 32);
  Rng rng(1, Stream::kPuzzle);
  double rate = 0;
  constexpr int kSteps = 300, kMeasured = 100;
  for (int step = 1; step <= kSteps; ++step) {
    std::vector<Curriculum::Outcome> outcomes;
    const double level = curriculum.level(0, step), p = success(0.5 + 2.5 * step / kSteps, level);
    for (int i = 0; i < 32; ++i) outcomes.push_back({0, static_cast<double>(rng.chance(p))});
    if (step > kSteps - kMeasured) rate += p / kMeasured;
    curriculum.record(step, outcomes);
  }
  EXPECT_NEAR(rate, 0.5, 0.1);
  EXPECT_GT(curriculum.level(0, kSteps), 2);
  EXPECT_EQ(curriculum.level(1, kSteps), 0) << "a task that was not drawn stays where it is";
}

TEST(CurriculumTest, NearTheTargetALevelRests) {
  const auto tasks = two_tasks();
  Curriculum curriculum({.mode = CurriculumConfig::Mode::kAuto}, tasks, 32);
  std::vector<Curriculum::Outcome> right(64, {0, 1}), mixed(64, {0, 0.58});
  curriculum.record(1, right);
  EXPECT_EQ(curriculum.level(0, 3), 0) << "what a step measures counts from the third step after it on";
  EXPECT_EQ(curriculum.level(0, 4), 0.25);
  curriculum.record(2, mixed);  // 0.58: it moves on until it is within half the band
  EXPECT_NEAR(curriculum.level(0, 5), 0.29, 1e-9);
  mixed.assign(64, {0, 0.54});
  curriculum.record(3, mixed);
  const double level = curriculum.level(0, 6);
  mixed.assign(64, {0, 0.58});
  curriculum.record(4, mixed);
  EXPECT_EQ(curriculum.level(0, 7), level) << "at rest, 0.58 is within the band";
}

TEST(CurriculumTest, AResumedRunGoesOnWithTheSameLevels) {
  const auto tasks = two_tasks();
  const CurriculumConfig config{.mode = CurriculumConfig::Mode::kAuto};
  Curriculum whole(config, tasks, 16), first(config, tasks, 16), second(config, tasks, 16);
  const auto outcomes = [](int step) {
    std::vector<Curriculum::Outcome> all;
    for (int i = 0; i < 16; ++i) all.push_back({static_cast<size_t>(i % 2), (i * 7 + step * 3) % 10 / 10.0 + 0.1});
    return all;
  };
  for (int step = 1; step <= 40; ++step) {
    whole.record(step, outcomes(step));
    if (step <= 17) first.record(step, outcomes(step));
    if (step == 17) second.restore(first.state());
    if (step > 17) second.record(step, outcomes(step));
  }
  EXPECT_EQ(second.state(), whole.state());
  EXPECT_EQ(error_of([&] { second.restore(""); }),
            "the checkpoint holds no state of curriculum.mode: auto; it was written by a run with another mode");
  std::string cut = whole.state();
  cut.replace(cut.find("[43,"), 4, "[99,");
  EXPECT_EQ(error_of([&] { second.restore(cut); }), "the checkpoint's curriculum has no level of rotation for step 43");
  std::vector<TaskConfig> other{make_task_config("flip"), make_task_config("rotation")};
  resolve_tasks(other, true);
  Curriculum reversed(config, other, 16);
  EXPECT_EQ(error_of([&] { reversed.restore(whole.state()); }),
            "the checkpoint's curriculum has rotation where the configuration has flip");
}

TEST_F(Tasks, PuzzlesFollowTheCurriculumsLevels) {
  auto tasks = two_tasks();
  const auto curriculum = std::make_shared<Curriculum>(
      CurriculumConfig{.mode = CurriculumConfig::Mode::kSchedule, .schedule = {"1.5@2"}}, tasks, 40);
  const Mixture mixture(tasks, Wording({}, tasks), pool_, 3, false, curriculum);
  std::map<int64_t, int> levels;
  for (int i = 0; i < 120; ++i) {
    const Puzzle puzzle = mixture.draw(i);
    ++levels[puzzle.level.value()];
    if (i < 40) {
      EXPECT_EQ(puzzle.level, 0);
    }
    EXPECT_EQ(mixture.task_of(puzzle).level, puzzle.level);
    EXPECT_EQ(mixture.task_of(puzzle).name, puzzle.task);
    if (puzzle.task == "rotation" && puzzle.level == 2) {
      EXPECT_NE(puzzle.question.find("45"), std::string::npos) << "the question names the level's answers";
    }
  }
  EXPECT_EQ(levels[0], 40);
  EXPECT_NEAR(levels[1], 40, 16);
  EXPECT_EQ(levels[1] + levels[2], 80);
}

}  // namespace
}  // namespace ssl4rl::tasks
