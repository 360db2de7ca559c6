// The tasks beyond the reference's: what they show follows from the ground truth they report. And what holds for every
// task.
#include <cmath>
#include <set>

#include "fixture.h"
#include "ssl4rl/base/pipeline.h"
#include "ssl4rl/image/augment.h"
#include "ssl4rl/image/geometry.h"
#include "ssl4rl/image/resize.h"
#include "ssl4rl/io/hash.h"
#include "ssl4rl/rewards/reward.h"
#include "support/errors.h"

namespace ssl4rl::tasks {
namespace {

class MoreTasks : public Tasks {
 protected:
  MoreTasks() {
    std::filesystem::remove_all(folder_.path() / "images");
    draw_pictures(folder_.path() / "images", 16, 240);
    // A film: a window that moves over a wide picture.
    const std::filesystem::path film = folder_.path() / "images/film";
    std::filesystem::create_directories(film);
    Rng rng(5, Stream::kScene);
    const image::Image wide = image::draw_scene(300, rng);
    for (int i = 0; i < 20; ++i)
      io::write_file(film / fmt::format("f{}.png", i), image::encode_png(image::crop(wide, {i * 7, 20, 160, 120})));
    pool_ = pool_of("images");
  }

  // The mixture of one task that can be drawn from these pictures (frames: from the film).
  Mixture any(const std::string& name, const std::string& yaml = "", uint64_t seed = 1, bool balance = false) {
    pool_ = pool_of(name == "frames" ? "images/film" : "images");
    return mixture(name, yaml, seed, balance);
  }
};

double distance(const image::Image& a, const image::Image& b) {
  image::Image x = a, y = b;
  image::to_grey(x);
  image::to_grey(y);
  return image::mean_difference(x, y);
}

TEST_F(MoreTasks, FlipMirrorsTheCopyAndRecoloursIt) {
  for (const char* yaml : {"", "level: 0", "level: 2"}) {
    const Mixture tasks = any("flip", yaml);
    for (int i = 0; i < 12; ++i) {
      const Puzzle puzzle = tasks.draw(i);
      const image::Image original = image::crop(source(puzzle), box((*puzzle.meta)["crop"]));
      EXPECT_EQ(puzzle.images[0], original);
      const image::Image plain = image::crop(source(puzzle), box((*puzzle.meta)["copy_crop"]));
      const std::map<std::string, image::Image> copies{{"none", plain},
                                                       {"vertical", image::mirror_vertically(plain)},
                                                       {"horizontal", image::mirror_horizontally(plain)}};
      EXPECT_NE(puzzle.images[1], copies.at(puzzle.answer));
      for (const auto& [way, copy] : copies)
        EXPECT_LE(distance(puzzle.images[1], copies.at(puzzle.answer)), distance(puzzle.images[1], copy))
            << puzzle.answer << way;
      if (std::string(yaml) == "level: 0") {
        EXPECT_NE(puzzle.answer, "horizontal");
      }
    }
  }
}

TEST_F(MoreTasks, OddTileChangesThatTileAlone) {
  const Mixture tasks = any("odd_tile", "level: 3");
  for (int i = 0; i < 10; ++i) {
    const Puzzle puzzle = tasks.draw(i);
    const Json& meta = *puzzle.meta;
    const image::Image picture = source(puzzle);
    const int cols = meta["cols"];
    for (size_t t = 0; t < meta["boxes"].size(); ++t) {
      const image::Image tile = image::crop(picture, box(meta["boxes"][t]));
      const int x = static_cast<int>(t) % cols * tile.width, y = static_cast<int>(t) / cols * tile.height;
      const image::Image shown = image::crop(puzzle.images[0], {x, y, tile.width, tile.height});
      if (meta["tile"] != t + 1) {
        EXPECT_EQ(shown, tile);
        continue;
      }
      const std::string way = meta["change"];
      EXPECT_EQ(shown, way == "turned"       ? image::rotate_quarters(tile, 2)
                       : way == "left-right" ? image::mirror_horizontally(tile)
                                             : image::mirror_vertically(tile));
      EXPECT_EQ(puzzle.answer, fmt::format("{},{}", t + 1, way));
    }
  }
}

TEST_F(MoreTasks, SwapExchangesTwoTilesAndTheSmallerNumberComesFirst) {
  for (const char* yaml : {"", "level: 3"}) {
    const Mixture tasks = any("swap", yaml);
    for (int i = 0; i < 10; ++i) {
      const Puzzle puzzle = tasks.draw(i);
      const Json& meta = *puzzle.meta;
      const image::Image picture = source(puzzle);
      const size_t a = meta["swapped"][0], b = meta["swapped"][1];
      EXPECT_LT(a, b);
      EXPECT_EQ(puzzle.answer, fmt::format("{},{}", a, b));
      const int cols = meta["cols"];
      for (size_t place = 1; place <= meta["boxes"].size(); ++place) {
        const image::Image tile = image::crop(picture, box(meta["boxes"][(place == a   ? b
                                                                          : place == b ? a
                                                                                       : place) -
                                                                         1]));
        const int x = static_cast<int>(place - 1) % cols * tile.width,
                  y = static_cast<int>(place - 1) / cols * tile.height;
        EXPECT_EQ(image::crop(puzzle.images[0], {x, y, tile.width, tile.height}), tile);
      }
    }
  }
}

TEST_F(MoreTasks, JigsawPairNamesWhereTheSecondTileLies) {
  std::set<std::string> answers;
  const Mixture tasks = any("jigsaw_pair");
  for (int i = 0; i < 60; ++i) {
    const Puzzle puzzle = tasks.draw(i);
    const image::Box first = box((*puzzle.meta)["boxes"][0]), second = box((*puzzle.meta)["boxes"][1]);
    const std::string down = second.y < first.y   ? "above"
                             : second.y > first.y ? "below"
                                                  : "",
                      right = second.x < first.x   ? "left"
                              : second.x > first.x ? "right"
                                                   : "";
    EXPECT_EQ(puzzle.answer, down.empty() || right.empty() ? down + right : down + "-" + right);
    EXPECT_EQ(puzzle.images[1], image::crop(source(puzzle), second));
    answers.insert(puzzle.answer);
  }
  EXPECT_EQ(answers.size(), 8u);
}

TEST_F(MoreTasks, SimilarityShowsItsPictureTwiceAndOthersOnce) {
  for (const char* yaml : {"", "level: 4"}) {
    const Mixture tasks = any("similarity", yaml);
    for (int i = 0; i < 6; ++i) {
      const Puzzle puzzle = tasks.draw(i);
      const auto sources = (*puzzle.meta)["sources"].get<std::vector<std::string>>();
      EXPECT_EQ(sources.size(), puzzle.images.size());
      const size_t truth = (*puzzle.meta)["truth"];
      EXPECT_EQ(sources[truth], sources[0]);
      EXPECT_EQ(std::set<std::string>(sources.begin(), sources.end()).size(), sources.size() - 1);
      EXPECT_EQ(puzzle.answer, std::to_string(truth));
    }
  }
}

TEST_F(MoreTasks, CorrespondingPointsLieOnTheSameContent) {
  for (const char* yaml : {"level: 0", "level: 1", "level: 4"}) {
    const Mixture tasks = any("correspondence", yaml);
    for (int i = 0; i < 8; ++i) {
      const Puzzle puzzle = tasks.draw(i);
      const Json& meta = *puzzle.meta;
      const image::Box first = box(meta["box"]);
      const size_t truth = meta["truth"];
      const Json& source_point = meta["source_points"][truth - 1];
      EXPECT_NEAR(meta["marked"][0].get<double>(), source_point[0].get<double>() - first.x, 0.11);
      EXPECT_NEAR(meta["marked"][1].get<double>(), source_point[1].get<double>() - first.y, 0.11);
      // All points are seen in both views, and the second view is a similarity map of the picture: distances keep their
      // ratio.
      const Json& points = meta["points"];
      double low = INFINITY, high = 0;
      for (size_t a = 0; a < points.size(); ++a) {
        EXPECT_TRUE(points[a][0] > 0 && points[a][1] > 0 && points[a][0] < puzzle.images[1].width &&
                    points[a][1] < puzzle.images[1].height);
        for (size_t b = 0; b < a; ++b) {
          const auto length = [](const Json& p, const Json& q) {
            return std::hypot(p[0].get<double>() - q[0].get<double>(), p[1].get<double>() - q[1].get<double>());
          };
          const double ratio =
              length(points[a], points[b]) / length(meta["source_points"][a], meta["source_points"][b]);
          low = std::min(low, ratio);
          high = std::max(high, ratio);
        }
      }
      EXPECT_LT(high / low, 1.03);
      EXPECT_NEAR(high, meta["scale"].get<double>(), 0.03);
    }
  }
}

TEST_F(MoreTasks, BoxGivesTheCutInThousandths) {
  const Mixture tasks = any("box");
  std::set<std::pair<int, int>> sizes;
  for (int i = 0; i < 10; ++i) {
    const Puzzle puzzle = tasks.draw(i);
    const image::Image picture = source(puzzle);
    const image::Box cut = box((*puzzle.meta)["box"]);
    const Json answer = Json::parse(puzzle.answer);
    EXPECT_NEAR(answer[0].get<double>() / 1000 * picture.width, cut.x, 0.5);
    EXPECT_NEAR(answer[1].get<double>() / 1000 * picture.height, cut.y, 0.5);
    EXPECT_NEAR(answer[2].get<double>() / 1000 * picture.width, cut.width, 0.5);
    EXPECT_NEAR(answer[3].get<double>() / 1000 * picture.height, cut.height, 0.5);
    EXPECT_EQ(puzzle.images[0], picture);
    EXPECT_EQ(puzzle.images[1], image::resize(image::crop(picture, cut), puzzle.images[1].width,
                                              puzzle.images[1].height, image::Filter::kLanczos));
    EXPECT_EQ(puzzle.images[1].width, static_cast<int>(picture.width * 0.35)) << "every piece is shown at one size";
  }
}

TEST_F(MoreTasks, ZoomEnlargesAPieceByTheFactor) {
  const Mixture tasks = any("zoom", "level: 3");
  std::set<std::string> answers;
  for (int i = 0; i < 40; ++i) {
    const Puzzle puzzle = tasks.draw(i);
    const double factor = (*puzzle.meta)["factor"];
    EXPECT_EQ(puzzle.answer, fmt::format("{}", factor));
    EXPECT_EQ(box((*puzzle.meta)["box"]).width, static_cast<int>((*puzzle.meta)["source_size"][0].get<int>() / factor));
    EXPECT_EQ(puzzle.images[0].width, puzzle.images[1].width);
    EXPECT_EQ(puzzle.images[0].height, puzzle.images[1].height);
    answers.insert(puzzle.answer);
  }
  EXPECT_EQ(answers.size(), 7u);
}

TEST_F(MoreTasks, DegradedCopiesAreOrderedByWhatTheyLost) {
  for (const char* kind : {"blur", "noise", "jpeg"}) {
    const Mixture tasks = any("degrade", fmt::format("kind: {}", kind));
    for (int i = 0; i < 5; ++i) {
      const Puzzle puzzle = tasks.draw(i);
      const auto order = (*puzzle.meta)["order"].get<std::vector<size_t>>();
      double before = -1;  // the least degraded copy may be the picture itself
      for (const size_t image : order) {
        const double now = image::mean_difference(puzzle.images[image - 1], source(puzzle));
        EXPECT_GT(now, before) << kind;
        before = now;
      }
    }
  }
}

TEST_F(MoreTasks, CountAsksForTheShapesThatWereDrawn) {
  for (const char* yaml : {"", "level: 0", "level: 3"}) {
    const Mixture tasks = any("count", yaml);
    for (int i = 0; i < 10; ++i) {
      const Puzzle puzzle = tasks.draw(i);
      const Json& meta = *puzzle.meta;
      const std::string asked = meta["asked"];
      std::map<std::string, int> drawn;
      for (const Json& shape : meta["shapes"]) ++drawn[shape["shape"].get<std::string>()];
      EXPECT_EQ(puzzle.answer, std::to_string(drawn[asked]));
      EXPECT_EQ(meta["counts"][asked], drawn[asked]);
      EXPECT_NE(puzzle.question.find("How many " + asked), std::string::npos);
      EXPECT_NE(puzzle.images[0], source(puzzle));
    }
  }
}

TEST_F(MoreTasks, FramesAreShownShuffledAndOrderedByTheirNumbers) {
  const Mixture tasks = any("frames");
  for (int i = 0; i < 10; ++i) {
    const Puzzle puzzle = tasks.draw(i);
    const auto names = (*puzzle.meta)["frames"].get<std::vector<std::string>>();
    const auto order = (*puzzle.meta)["order"].get<std::vector<size_t>>();
    int before = -1;
    for (const size_t image : order) {
      const int number = std::stoi(names[image - 1].substr(1));
      if (before >= 0) {
        EXPECT_EQ(number, before + 4);
      }
      before = number;
    }
  }
  std::filesystem::remove_all(folder_.path() / "images/film");
  pool_ = pool_of("images");
  EXPECT_NE(error_of([&] { (void)mixture("frames").draw(0); }).find("the frames of its sequence differ in size"),
            std::string::npos);
}

TEST_F(MoreTasks, EveryTaskIsTheSameOnAnyNumberOfThreads) {
  for (const std::string& name : task_names()) {
    std::set<std::string> digests;
    for (const int threads : {1, 2, 7}) {
      const Mixture tasks = any(name, "", 9);
      Pipeline<std::string> pipeline(0, threads, 16, [&](int64_t i) {
        const Puzzle puzzle = tasks.draw(i);
        std::string bytes = to_json(puzzle).dump();
        for (const image::Image& image : puzzle.images)
          bytes.append(reinterpret_cast<const char*>(image.pixels.data()), image.pixels.size());
        return io::sha256_hex(bytes);
      });
      std::string all;
      for (int i = 0; i < 12; ++i) all += pipeline.next();
      digests.insert(io::sha256_hex(all));
    }
    EXPECT_EQ(digests.size(), 1u) << name;
  }
}

TEST_F(MoreTasks, TheRightAnswerEarnsEverythingUnderEveryReward) {
  for (const std::string& name : task_names()) {
    const Mixture tasks = any(name);
    for (const std::string& function : rewards_of(tasks.tasks()[0].task->answer_kind()))
      for (int i = 0; i < 4; ++i) {
        const Puzzle puzzle = tasks.draw(i);
        const rewards::Expected expected{name, puzzle.preset, function, puzzle.answer,
                                         tasks.tasks()[0].task->columns()};
        EXPECT_EQ(rewards::answer_reward(expected, puzzle.answer), 1) << name << " " << function;
        EXPECT_EQ(rewards::answer_reward(expected, "banana").value_or(0), 0) << name << " " << function;
      }
  }
}

// The mean reward of each constant answer over balanced puzzles is what chance() says of the best one.
TEST_F(MoreTasks, ChanceIsTheBestConstantAnswersReward) {
  for (const std::string& name : task_names()) {
    const Mixture tasks = any(name, name == "jigsaw" ? "{rows: 1, cols: 3}" : "", 4, /*balance=*/true);
    const TaskConfig& task = tasks.tasks()[0];
    const int64_t answers = task.task->answers();
    if (answers == 0) continue;
    std::vector<std::string> truths;
    for (int64_t i = 0; i < answers; ++i) truths.push_back(tasks.draw(i).answer);
    for (const std::string& function : rewards_of(task.task->answer_kind())) {
      double best = 0;
      for (const std::string& guess : truths) {
        double sum = 0;
        for (const std::string& truth : truths)
          sum += rewards::answer_reward({name, Preset::kHardened, function, truth, task.task->columns()}, guess)
                     .value_or(0);
        best = std::max(best, sum / static_cast<double>(answers));
      }
      const double chance = task.task->chance(function);
      if (function == "relative_error" || function == "angular") {
        EXPECT_GE(chance, best - 1e-9) << name << " " << function << ": a constant between the answers may earn more";
        EXPECT_LE(chance, best + 0.15);
      } else if (name == "swap" && function == "fraction") {
        EXPECT_NEAR(chance, best, 1e-9);
      } else {
        EXPECT_NEAR(chance, best, 1e-9) << name << " " << function;
      }
    }
  }
}

TEST_F(MoreTasks, EveryLevelOfEveryTaskCanBeDrawnAndIsReported) {
  draw_pictures(folder_.path() / "images", 6, 420);
  for (const std::string& name : task_names()) {
    const auto levels = static_cast<int>(make_task(name)->levels().size());
    EXPECT_GE(levels, 3) << name;
    for (int level = 0; level < levels; ++level) {
      const Mixture tasks = any(name, fmt::format("level: {}", level));
      const Puzzle puzzle = tasks.draw(0);
      EXPECT_EQ(puzzle.level, level);
      EXPECT_EQ(to_json(puzzle)["level"], level);
      EXPECT_EQ(&tasks.task_of(puzzle), &tasks.tasks()[0]);
    }
  }
}

TEST_F(MoreTasks, ALevelAndItsKeysContradictEachOther) {
  EXPECT_EQ(error_of([&] { mixture("rotation", "{level: 2, granularity: 60}"); }),
            "tasks: rotation: level: 2 sets granularity, but granularity: 60 is given; leave one of the two away");
  EXPECT_EQ(error_of([&] { mixture("rotation", "{level: 2, granularity: 45, jitter: 0.5}"); }), "no error");
  EXPECT_EQ(error_of([&] { mixture("rotation", "level: 5"); }),
            "test:1: level: expected an integer of at least 0 and at most 4, found \"5\"");
  EXPECT_EQ(error_of([&] { mixture("flip", "preset: paper"); }),
            "tasks: flip: preset: paper: the reference has no such task; leave the key away, or use hardened");
}

TEST_F(MoreTasks, ResolvedTasksReadBackTheSame) {
  for (const std::string& name : task_names()) {
    auto tasks = configured(name, "level: 2");
    resolve_tasks(tasks);
    config::Section section;
    tasks[0].describe(section);
    auto again = configured(name, config::to_yaml(section));
    EXPECT_EQ(error_of([&] { resolve_tasks(again); }), "no error");
    config::Section section_again;
    again[0].describe(section_again);
    EXPECT_EQ(config::to_yaml(section_again), config::to_yaml(section));
  }
}

}  // namespace
}  // namespace ssl4rl::tasks
