// What each task shows, asks and answers, from the puzzles' own ground truth.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "fixture.h"
#include "ssl4rl/image/augment.h"
#include "ssl4rl/image/geometry.h"
#include "support/errors.h"

namespace ssl4rl::tasks {
namespace {

TEST_F(Tasks, PuzzlesDependOnSeedAndIndexAlone) {
  for (const std::string& name : task_names()) {
    if (name == "frames") continue;  // needs numbered frames: see more_tasks_test
    const Mixture one = mixture(name), two = mixture(name), other = mixture(name, "", 2);
    int same = 0;
    for (const int64_t i : {5, 0, 40}) {
      const Puzzle a = one.draw(i), b = two.draw(i);
      EXPECT_EQ(to_json(a), to_json(b)) << name;
      EXPECT_TRUE(a.images == b.images) << name;
      same += to_json(other.draw(i))["meta"] == to_json(a)["meta"];
      EXPECT_NE(to_json(one.draw(i, 1))["meta"].dump() + one.draw(i, 1).source, to_json(a)["meta"].dump() + a.source)
          << name << ": another attempt is another puzzle";
    }
    EXPECT_LT(same, 3) << name;
  }
}

TEST_F(Tasks, EachImageOccursOnceAnEpoch) {
  const Mixture rotation = mixture("rotation");
  for (int epoch = 0; epoch < 2; ++epoch) {
    std::set<std::string> sources;
    for (int i = 0; i < 24; ++i) sources.insert(rotation.draw(epoch * 24 + i).source);
    EXPECT_EQ(sources.size(), 24u);
  }
}

TEST_F(Tasks, IdsImagesAndMessagesAreNumberedThroughTheRun) {
  const Puzzle puzzle = mixture("rotation").draw(3);
  EXPECT_EQ(puzzle.id, "rotation/000003");
  const Json json = to_json(puzzle);
  EXPECT_EQ(json["images"], Json({"images/000003_0.png", "images/000003_1.png"}));
  EXPECT_EQ(json["messages"].size(), 1u);
  EXPECT_EQ(json["messages"][0]["content"].size(), 3u);
  EXPECT_EQ(json["messages"][0]["content"][2]["type"], "text");
  EXPECT_EQ(json["preset"], "hardened");
  EXPECT_EQ(json["seed"], 1);
}

TEST_F(Tasks, HardenedRotationTurnsASquareAndJittersTheCopy) {
  const Mixture tasks = mixture("rotation");
  for (int i = 0; i < 16; ++i) {
    const Puzzle puzzle = tasks.draw(i);
    ASSERT_EQ(puzzle.images.size(), 2u);
    const image::Image square = image::crop(source(puzzle), box((*puzzle.meta)["crop"]));
    EXPECT_EQ(puzzle.images[0], square);
    EXPECT_EQ(puzzle.images[1].width, square.width);
    EXPECT_EQ(puzzle.images[1].height, square.width);
    const int angle = (*puzzle.meta)["angle"];
    EXPECT_EQ(puzzle.answer, std::to_string(angle));
    EXPECT_NE(puzzle.images[1], image::rotate_quarters(square, angle / 90));
    // Up to its colours the copy is the square turned counter-clockwise: it fits better than the other turns.
    std::vector<double> distance;
    for (int turns = 0; turns < 4; ++turns) {
      image::Image grey = image::rotate_quarters(square, turns), copy = puzzle.images[1];
      image::to_grey(grey);
      image::to_grey(copy);
      distance.push_back(image::mean_difference(grey, copy));
    }
    EXPECT_EQ(std::min_element(distance.begin(), distance.end()) - distance.begin(), angle / 90);
  }
}

TEST_F(Tasks, PaperRotationTurnsTheWholePictureAsTheReference) {
  const Mixture tasks = mixture("rotation", "preset: paper");
  for (int i = 0; i < 12; ++i) {
    const Puzzle puzzle = tasks.draw(i);
    const image::Image picture = source(puzzle);
    EXPECT_EQ(puzzle.images[0], picture);
    const int angle = (*puzzle.meta)["angle"];
    if (angle == 0) {
      EXPECT_EQ(puzzle.images[1], picture);
    }
    const image::Image turned = image::rotate_quarters(picture, angle / 90);
    EXPECT_LE(turned.width - puzzle.images[1].width, 1);
    EXPECT_LE(turned.height - puzzle.images[1].height, 1);
  }
}

TEST_F(Tasks, RotationByOtherAnglesHasOneSizeAndNoFill) {
  const Mixture tasks = mixture("rotation", "{granularity: 45, show: single, jitter: 0}");
  std::set<std::string> answers;
  for (int i = 0; i < 60; ++i) {
    const Puzzle puzzle = tasks.draw(i);
    ASSERT_EQ(puzzle.images.size(), 1u);
    const image::Image picture = source(puzzle);
    const int side = static_cast<int>(std::min(picture.width, picture.height) / std::sqrt(2.0));
    EXPECT_EQ(puzzle.images[0].width, side);
    EXPECT_EQ(puzzle.images[0].height, side);
    answers.insert(puzzle.answer);
  }
  EXPECT_EQ(answers.size(), 8u);
  EXPECT_EQ(error_of([&] { mixture("rotation", "granularity: 70"); }),
            "tasks: rotation: granularity must divide 360, found 70");
}

TEST_F(Tasks, JigsawsAnswerPutsTheTilesBack) {
  for (const char* yaml : {"", "preset: paper", "{rows: 2, cols: 3, show: composite}", "trim: 0.1"}) {
    const Mixture tasks = mixture("jigsaw", yaml);
    for (int i = 0; i < 10; ++i) {
      const Puzzle puzzle = tasks.draw(i);
      const Json& meta = *puzzle.meta;
      const int rows = meta["rows"], cols = meta["cols"], n = rows * cols;
      const image::Image picture = source(puzzle);
      std::vector<image::Image> tiles = puzzle.images;
      if (tiles.size() == 1) {
        const image::Image composite = tiles[0];
        tiles.clear();
        const int w = composite.width / cols, h = composite.height / rows;
        for (int t = 0; t < n; ++t) tiles.push_back(image::crop(composite, {t % cols * w, t / cols * h, w, h}));
      }
      ASSERT_EQ(static_cast<int>(tiles.size()), n);
      const auto order = meta["order"].get<std::vector<int>>(), shown = meta["shown"].get<std::vector<int>>();
      std::string answer;
      for (int place = 0; place < n; ++place) {
        const int tile = order[static_cast<size_t>(place)];  // belongs at this place
        answer += (place ? "," : "") + std::to_string(tile);
        EXPECT_EQ(shown[static_cast<size_t>(tile - 1)], place + 1);
        const image::Box b = box(meta["boxes"][static_cast<size_t>(tile - 1)]);
        EXPECT_EQ(tiles[static_cast<size_t>(tile - 1)], image::crop(picture, b));
        const int w = picture.width / cols, h = picture.height / rows;
        EXPECT_EQ((b.x + b.width / 2) / w, place % cols);
        EXPECT_EQ((b.y + b.height / 2) / h, place / cols);
      }
      EXPECT_EQ(puzzle.answer, answer);
      if (std::string(yaml).find("paper") == std::string::npos) {
        EXPECT_FALSE(std::is_sorted(order.begin(), order.end())) << "hardened excludes the identity";
      }
    }
  }
}

TEST_F(Tasks, JigsawsChanceIsExact) {
  EXPECT_DOUBLE_EQ(make_task_config("jigsaw").task->chance("permutation_fraction"), 6.0 / 23);
  EXPECT_DOUBLE_EQ(make_task_config("jigsaw").task->chance("exact"), 1.0 / 23);
  const Mixture paper = mixture("jigsaw", "preset: paper");
  EXPECT_DOUBLE_EQ(paper.tasks()[0].task->chance("fraction"), 0.25);
  EXPECT_DOUBLE_EQ(mixture("rotation").tasks()[0].task->chance("exact"), 0.25);
}

TEST_F(Tasks, JigsawsExampleIsNotItsOwnInverse) {
  for (const auto& [yaml, example] : {std::pair{"", "4,1,2,3"}, {"{rows: 1, cols: 3}", "3,1,2"}}) {
    const Puzzle puzzle = mixture("jigsaw", yaml).draw(0);
    EXPECT_NE(puzzle.question.find(example), std::string::npos) << puzzle.question;
  }
}

TEST_F(Tasks, PositionsCropLiesInItsQuadrant) {
  for (const char* yaml : {"", "preset: paper", "augment: colour"}) {
    const Mixture tasks = mixture("position", yaml);
    for (int i = 0; i < 20; ++i) {
      const Puzzle puzzle = tasks.draw(i);
      const image::Image picture = source(puzzle);
      EXPECT_EQ(puzzle.images[0], picture);
      const image::Box b = box((*puzzle.meta)["box"]);
      const bool right = puzzle.answer.ends_with("right"), bottom = puzzle.answer.starts_with("bottom");
      EXPECT_TRUE(right ? b.x >= picture.width / 2 : b.right() <= picture.width / 2);
      EXPECT_TRUE(bottom ? b.y >= picture.height / 2 : b.bottom() <= picture.height / 2);
      EXPECT_GE(std::min(b.width, b.height), 28);
      if (std::string(yaml).find("colour") == std::string::npos) {
        EXPECT_EQ(puzzle.images[1], image::crop(picture, b));
      }
      EXPECT_EQ(puzzle.images[1].width, b.width);
    }
  }
}

TEST_F(Tasks, ContrastiveViewsHaveOneSizeAndNameTheirSources) {
  for (const char* yaml : {"", "augment: strong", "preset: paper"}) {
    const Mixture tasks = mixture("contrastive", yaml);
    int positives = 0;
    for (int i = 0; i < 24; ++i) {
      const Puzzle puzzle = tasks.draw(i);
      const Json& meta = *puzzle.meta;
      for (const image::Image& view : puzzle.images) EXPECT_TRUE(view.width == 224 && view.height == 224);
      EXPECT_EQ(meta["positive"].get<bool>(), puzzle.answer == "positive");
      EXPECT_EQ(meta["sources"][0] == meta["sources"][1], meta["positive"].get<bool>());
      EXPECT_EQ(meta["sources"][0], puzzle.source);
      positives += meta["positive"].get<bool>();
      const image::Box b = box(meta["boxes"][0]);
      EXPECT_TRUE(b.x >= 0 && b.right() <= meta["source_size"][0].get<int>() &&
                  b.bottom() <= meta["source_size"][1].get<int>());
    }
    EXPECT_TRUE(positives > 3 && positives < 21) << positives;
  }
}

TEST_F(Tasks, MaskedPatchHidesTheTruthAndNothingElse) {
  for (const char* yaml : {"", "decoys: other_image", "{decoys: transform, candidates: 4}", "{candidates: 6}",
                           "{preset: paper, candidates: 6}", "preset: paper"}) {
    const Mixture tasks = mixture("masked_patch", yaml);
    for (int i = 0; i < 12; ++i) {
      const Puzzle puzzle = tasks.draw(i);
      const Json& meta = *puzzle.meta;
      image::Image picture = source(puzzle);
      if (meta.value("mirrored", false)) picture = image::mirror_horizontally(picture);
      picture = image::rotate_quarters(picture, meta.value("turned", 0) / 90);
      if (meta.contains("hue")) image::shift_hue(picture, meta["hue"]);
      const image::Box mask = box(meta["box"]);
      const int shorter = std::min(picture.width, picture.height);
      EXPECT_TRUE(mask.width == mask.height && mask.width >= (shorter + 3) / 4 && mask.width <= shorter / 2);
      image::Image expected = picture;
      for (int y = mask.y; y < mask.bottom(); ++y)
        for (int x = mask.x; x < mask.right(); ++x) std::fill_n(expected.at(x, y), 3, uint8_t{128});
      EXPECT_EQ(puzzle.images[0], expected);
      const auto truth = meta["truth"].get<size_t>();
      EXPECT_EQ(puzzle.answer, std::to_string(truth));
      EXPECT_EQ(meta["candidates"][truth - 1]["kind"], "truth");
      EXPECT_EQ(puzzle.images[truth], image::crop(picture, mask));
      int truths = 0;
      for (size_t a = 1; a < puzzle.images.size(); ++a) {
        const Json& candidate = meta["candidates"][a - 1];
        truths += candidate["kind"] == "truth";
        if (candidate["kind"] == "elsewhere") {
          EXPECT_FALSE(box(candidate["box"]).overlaps(mask));
          EXPECT_EQ(puzzle.images[a], image::crop(picture, box(candidate["box"])));
        }
        for (size_t b = 1; b < a; ++b) EXPECT_GE(image::mean_difference(puzzle.images[a], puzzle.images[b]), 3);
      }
      EXPECT_EQ(truths, 1);
    }
  }
  EXPECT_NE(error_of([&] { mixture("masked_patch", "decoys: mixed"); }).find("gives the truth away"),
            std::string::npos);
}

TEST_F(Tasks, PatchesOfOnePictureNeverOverlap) {
  for (const char* yaml : {"", "{candidates: 6}", "decoys: mirrored"}) {
    const Mixture tasks = mixture("masked_patch", yaml);
    for (int i = 0; i < 12; ++i) {
      const Puzzle puzzle = tasks.draw(i);
      const Json& candidates = (*puzzle.meta)["candidates"];
      for (size_t a = 0; a < candidates.size(); ++a)
        for (size_t b = 0; b < a; ++b) {
          const image::Box first = box(candidates[a]["box"]), second = box(candidates[b]["box"]);
          EXPECT_TRUE(first == second || !first.overlaps(second))
              << "decoys that overlap each other would leave the truth as the one that overlaps none";
        }
    }
  }
}

TEST_F(Tasks, HardenedPicturesOfSomeSizeAreCutOffTheJpegGrid) {
  draw_pictures(folder_.path() / "large", 12, 200);
  pool_ = pool_of("large");
  const Mixture tasks = mixture("rotation");
  std::set<int> columns;
  for (int i = 0; i < 12; ++i) {
    const Puzzle puzzle = tasks.draw(i);
    const image::Box crop = box((*puzzle.meta)["crop"]);
    EXPECT_EQ(crop.width, crop.height);
    EXPECT_EQ(crop.width,
              std::min((*puzzle.meta)["source_size"][0].get<int>(), (*puzzle.meta)["source_size"][1].get<int>()) - 7);
    columns.insert(crop.x - box((*puzzle.meta)["copy_crop"]).x);
  }
  EXPECT_GT(columns.size(), 3u);
}

TEST_F(Tasks, TransformsComeInPairs) {
  const Mixture tasks = mixture("masked_patch", "{decoys: transform, candidates: 4}");
  for (int i = 0; i < 10; ++i) {
    std::map<std::string, int> kinds;
    const Puzzle puzzle = tasks.draw(i);
    for (const Json& candidate : (*puzzle.meta)["candidates"]) ++kinds[candidate["kind"].get<std::string>()];
    EXPECT_EQ(kinds["truth"], 1);
    EXPECT_EQ(kinds["elsewhere"], 1);
    EXPECT_EQ(kinds["mirrored"] + kinds["rotated"] + kinds["colour"], 2);
    EXPECT_EQ(kinds.size() - 2 - (kinds["mirrored"] == 0) - (kinds["rotated"] == 0) - (kinds["colour"] == 0), 1u)
        << "one transform for both";
  }
}

TEST_F(Tasks, AnswersAreUniformByChiSquare) {
  const std::map<std::string, std::pair<int, double>> tasks{
      {"rotation", {4, 16.3}}, {"position", {4, 16.3}}, {"contrastive", {2, 10.8}}, {"masked_patch", {4, 16.3}}};
  for (const auto& [name, expected] : tasks) {
    const Mixture tasks_of_one = mixture(name, "", 11);
    std::map<std::string, int> histogram;
    constexpr int kDraws = 240;
    for (int i = 0; i < kDraws; ++i) ++histogram[tasks_of_one.draw(i).answer];
    double chi = 0;
    const double mean = kDraws / static_cast<double>(expected.first);
    for (const auto& [answer, count] : histogram) chi += (count - mean) * (count - mean) / mean;
    EXPECT_EQ(static_cast<int>(histogram.size()), expected.first) << name;
    EXPECT_LT(chi, expected.second) << name;  // p = 0.001
  }
}

TEST_F(Tasks, BalancedAnswersOccurOnceABlock) {
  for (const auto& [name, answers] : {std::pair<std::string, int>{"rotation", 4},
                                      {"position", 4},
                                      {"contrastive", 2},
                                      {"masked_patch", 4},
                                      {"jigsaw", 23}}) {
    const Mixture tasks = mixture(name, "", 3, true);
    for (int block = 0; block < 3; ++block) {
      std::set<std::string> seen;
      for (int i = 0; i < answers; ++i) seen.insert(tasks.draw(block * answers + i).answer);
      EXPECT_EQ(static_cast<int>(seen.size()), answers) << name;
    }
  }
}

TEST_F(Tasks, AMixtureDrawsByWeight) {
  std::vector<TaskConfig> tasks{make_task_config("rotation"), make_task_config("position"),
                                make_task_config("contrastive")};
  tasks[0].weight = 3;
  tasks[1].weight = 1;
  tasks[2].weight = 0;
  resolve_tasks(tasks);
  const Mixture both(tasks, Wording({}, tasks), pool_, 5, false);
  std::map<std::string, int> count;
  for (int i = 0; i < 400; ++i) ++count[both.draw(i).task];
  EXPECT_NEAR(count["rotation"], 300, 35);
  EXPECT_EQ(count["contrastive"], 0);
}

TEST_F(Tasks, BrokenAndSmallImagesAreSkippedCountedAndNamed) {
  io::write_file(folder_.path() / "images/broken.jpg", "not an image");
  image::Image tiny(40, 40);
  io::write_file(folder_.path() / "images/tiny.png", image::encode_png(tiny));
  pool_ = pool_of("images");
  const Mixture tasks = mixture("rotation");
  for (int i = 0; i < 40; ++i) {
    const Puzzle puzzle = tasks.draw(i);
    EXPECT_TRUE(puzzle.source != "broken.jpg" && puzzle.source != "tiny.png");
  }
  const auto skipped = pool_->skipped().at("rotation");
  EXPECT_EQ(skipped.size(), 2u);
  EXPECT_NE(skipped.at("broken.jpg").find("cannot be decoded"), std::string::npos);
  EXPECT_NE(skipped.at("tiny.png").find("below data.min_side 56"), std::string::npos);
}

TEST_F(Tasks, WhenNoImageCanBeUsedTheErrorSaysWhy) {
  const Mixture tasks = mixture("jigsaw", "{rows: 6, cols: 6}");
  EXPECT_NE(error_of([&] { (void)tasks.draw(0); })
                .find("tasks: jigsaw: none of 201 images drawn for puzzle 0 can be used; for example 000.png: tiles of "
                      "20x20 pixels"),
            std::string::npos);
}

TEST(WordingTest, OwnTemplatesAreCheckedForTheirPlaceholders) {
  std::vector<TaskConfig> tasks{make_task_config("rotation")};
  resolve_tasks(tasks);
  const auto with = [&](const std::string& text) {
    return error_of([&] { const Wording wording({.wording = text}, tasks); });
  };
  EXPECT_EQ(with("How far? {angles}"), "no error");
  EXPECT_EQ(with("How far?"), "prompt.template: the wording of rotation.pair lacks the placeholder {angles}");
  EXPECT_EQ(
      with("{angles} {angel}"),
      "prompt.template: the wording of rotation.pair has the unknown placeholder {angel}; known: angles, answers, "
      "candidates, cols, count, example, example_first, example_second, granularity, most, rows, shapes, tiles");
  const TemporaryFolder folder;
  io::write_file(folder.path() / "own.yaml", "rotation:\n  single: 'Turned by? ({angles})'\nformats: {think: ''}\n");
  const Wording own({.wording = (folder.path() / "own.yaml").string()}, tasks);
  Draft draft{.variant = "single", .fields = {{"angles", "0, 90"}}};
  EXPECT_EQ(own.question("rotation", draft), "Turned by? (0, 90)");
  const PromptConfig boxed{.style = PromptConfig::Style::kBoxed};
  EXPECT_TRUE(Wording(boxed, tasks)
                  .question("rotation", {.variant = "single", .fields = {{"angles", "0, 90"}}})
                  .ends_with("\\boxed{your answer}"));
  EXPECT_EQ(answer_text(PromptConfig::Style::kBoxed, "90"), "<think>\n</think> \\boxed{90}");
  const std::string odd = (folder.path() / "odd.yaml").string();
  io::write_file(odd, "rotation: x\n[a, b]: y\n");
  EXPECT_TRUE(with(odd).starts_with(odd + ":2: not a map from tasks to texts")) << with(odd);
  EXPECT_EQ(with("/no/such.yaml"), "/no/such.yaml: cannot be read: No such file or directory");
}

}  // namespace
}  // namespace ssl4rl::tasks
