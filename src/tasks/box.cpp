// box: where was this piece cut out of the picture? The answer is [x, y, w, h] in thousandths of the picture's sides.
//
// All pieces are shown reduced to one size, and have the picture's shape, so that their size tells nothing.
#include <algorithm>
#include <array>
#include <cmath>

#include "draft.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/image/augment.h"
#include "ssl4rl/image/resize.h"

namespace ssl4rl::tasks {
namespace {

class BoxTask final : public Task {
 public:
  std::string name() const override { return "box"; }
  std::shared_ptr<Task> clone() const override { return std::make_shared<BoxTask>(*this); }
  std::vector<std::string> levels() const override {
    return {"pieces of 0.5 to 0.8 of each side", "pieces of 0.35 to 0.65", "pieces of 0.25 to 0.5",
            "pieces of 0.2 to 0.4, recoloured"};
  }
  void set_level(int64_t level) override {
    min_part_ = std::array{0.5, 0.35, 0.25, 0.2}.at(static_cast<size_t>(level));
    max_part_ = std::array{0.8, 0.65, 0.5, 0.4}.at(static_cast<size_t>(level));
    jitter_ = level == 3 ? 0.4 : 0;
  }

  void describe(config::Section& section) override {
    section.add("min_part", min_part_)
        .at_least(0.1)
        .at_most(0.95)
        .help("smallest piece, as a share of the picture's sides");
    section.add("max_part", max_part_)
        .at_least(0.1)
        .at_most(0.95)
        .help("largest piece, as a share of the picture's sides");
    section.add("jitter", jitter_).at_least(0).at_most(1).help("strength of the colour changes of the piece");
  }
  void resolve(Preset) override {
    if (min_part_ > max_part_) fail("tasks: box: min_part {} exceeds max_part {}", min_part_, max_part_);
  }
  int64_t answers() const override { return 0; }
  AnswerKind answer_kind() const override { return AnswerKind::kBox; }
  std::string default_reward(Preset) const override { return "iou"; }
  // By the law of the boxes: the best of the centred boxes, over a fixed sample.
  double chance(const std::string&) const override {
    constexpr int kSample = 4000;
    double best = 0;
    for (double side = min_part_ / 2; side <= 1; side += 0.02) {
      Rng rng(0, Stream::kPuzzle);
      double sum = 0;
      for (int i = 0; i < kSample; ++i) {
        const double part = rng.uniform(min_part_, max_part_), x = rng.uniform(0, 1 - part),
                     y = rng.uniform(0, 1 - part), low = (1 - side) / 2, high = (1 + side) / 2;
        const double shared = std::max(0.0, std::min(high, x + part) - std::max(low, x)) *
                              std::max(0.0, std::min(high, y + part) - std::max(low, y));
        sum += shared / (part * part + side * side - shared);
      }
      best = std::max(best, sum / kSample);
    }
    return best;
  }
  std::map<std::string, std::vector<std::string>> wordings() const override { return {{"", {}}}; }
  std::string random_answer(Rng& rng) const override {
    const auto part = static_cast<int64_t>(1000 * rng.uniform(min_part_, max_part_));
    const int64_t x = rng.between(0, 1000 - part), y = rng.between(0, 1000 - part);
    return fmt::format("[{}, {}, {}, {}]", x, y, part, part);
  }

  Draft draw(const Material& material, Preset) const override {
    const image::Image& picture = material.picture;
    const double part = material.rng.uniform(min_part_, max_part_);
    const int width = static_cast<int>(picture.width * part), height = static_cast<int>(picture.height * part);
    const int shown_width = static_cast<int>(picture.width * min_part_),
              shown_height = static_cast<int>(picture.height * min_part_);
    check_shown(shown_width, shown_height, "a piece");
    const image::Box box{static_cast<int>(material.rng.between(0, picture.width - width)),
                         static_cast<int>(material.rng.between(0, picture.height - height)), width, height};
    image::Image piece = image::resize(image::crop(picture, box), shown_width, shown_height, image::Filter::kLanczos);
    if (jitter_ > 0) image::colour_jitter(piece, {jitter_, jitter_, jitter_, jitter_ / 4}, material.rng);
    const auto thousandths = [](int value, int whole) { return static_cast<int>(std::lround(1000.0 * value / whole)); };
    Draft draft;
    draft.images = {picture, std::move(piece)};
    draft.answer =
        fmt::format("[{}, {}, {}, {}]", thousandths(box.x, picture.width), thousandths(box.y, picture.height),
                    thousandths(box.width, picture.width), thousandths(box.height, picture.height));
    draft.meta = make_meta({{"box", box_json(box)}}, picture, picture.box());
    return draft;
  }

 private:
  double min_part_ = 0.35, max_part_ = 0.65, jitter_ = 0;
};

}  // namespace

std::shared_ptr<Task> make_box() { return std::make_shared<BoxTask>(); }

}  // namespace ssl4rl::tasks
