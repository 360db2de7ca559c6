// count: how many circles (squares, triangles) were drawn onto the picture?
//
// The number asked for is uniform and independent of the others'; sizes, places and colours follow one law for all
// shapes.
#include <algorithm>
#include <array>
#include <cmath>

#include "draft.h"
#include "ssl4rl/image/draw.h"

namespace ssl4rl::tasks {
namespace {

constexpr std::array<const char*, 3> kShapes{"circles", "squares", "triangles"};

class Count final : public Task {
 public:
  std::string name() const override { return "count"; }
  std::shared_ptr<Task> clone() const override { return std::make_shared<Count>(*this); }
  std::vector<std::string> levels() const override {
    return {"up to 3 shapes of one kind", "up to 4 shapes, others among them", "up to 6 shapes, others among them",
            "up to 9 small shapes, others among them"};
  }
  void set_level(int64_t level) override {
    most_ = std::array{3, 4, 6, 9}.at(static_cast<size_t>(level));
    others_ = level >= 1;
    size_ = level == 3 ? 0.04 : 0.06;
  }

  void describe(config::Section& section) override {
    section.add("most", most_).at_least(2).at_most(12).help("largest number of a kind");
    section.add("others", others_).help("whether shapes of the other two kinds are drawn too");
    section.add("size", size_)
        .at_least(0.03)
        .at_most(0.08)
        .help("mean radius of a shape, as a share of the picture's shorter side");
  }
  void resolve(Preset) override {}
  int64_t answers() const override { return most_; }
  AnswerKind answer_kind() const override { return AnswerKind::kNumber; }
  double chance(const std::string& reward) const override {
    if (reward == "exact") return 1.0 / static_cast<double>(most_);
    double best = 0;  // relative_error
    for (int64_t guess = 1; guess <= most_; ++guess) {
      double sum = 0;
      for (int64_t truth = 1; truth <= most_; ++truth)
        sum += std::max(0.0, 1 - std::abs(static_cast<double>(guess - truth)) / static_cast<double>(truth));
      best = std::max(best, sum / static_cast<double>(most_));
    }
    return best;
  }
  std::map<std::string, std::vector<std::string>> wordings() const override { return {{"", {"shapes", "most"}}}; }
  std::string random_answer(Rng& rng) const override { return std::to_string(rng.between(1, most_)); }

  Draft draw(const Material& material, Preset) const override {
    Rng& rng = material.rng;
    const image::Image& picture = material.picture;
    const auto asked = static_cast<size_t>(rng.below(3));
    std::array<int64_t, 3> counts{};
    for (size_t kind = 0; kind < 3; ++kind)
      counts[kind] = kind == asked ? material.wanted_answer.value_or(rng.below(most_)) + 1
                     : others_     ? rng.between(0, most_)
                                   : 0;

    struct Placed {
      size_t kind;
      double x, y, radius;
    };
    std::vector<Placed> placed;
    const double mean = size_ * std::min(picture.width, picture.height);
    for (size_t kind = 0; kind < 3; ++kind)
      for (int64_t i = 0; i < counts[kind]; ++i)
        for (int attempt = 0;; ++attempt) {
          if (attempt == 1000) throw Unusable{"it has no room for the shapes"};
          const double radius = mean * rng.uniform(0.75, 1.25);
          const Placed next{kind, rng.uniform(radius + 1, picture.width - radius - 1),
                            rng.uniform(radius + 1, picture.height - radius - 1), radius};
          if (std::any_of(placed.begin(), placed.end(), [&](const Placed& p) {
                return std::hypot(p.x - next.x, p.y - next.y) < p.radius + next.radius + 2;
              }))
            continue;
          placed.push_back(next);
          break;
        }
    Draft draft;
    draft.images.push_back(picture);
    Json shapes = Json::array();
    for (const Placed& p : placed) {
      const image::Colour colour{static_cast<uint8_t>(rng.below(256)), static_cast<uint8_t>(rng.below(256)),
                                 static_cast<uint8_t>(rng.below(256))};
      image::draw_shape(draft.images[0], static_cast<image::Shape>(p.kind), p.x, p.y, p.radius, rng.uniform(0, 360),
                        colour);
      shapes.push_back({{"shape", kShapes.at(p.kind)},
                        {"x", std::round(p.x)},
                        {"y", std::round(p.y)},
                        {"radius", std::round(p.radius)}});
    }
    draft.fields = {{"shapes", kShapes.at(asked)}, {"most", std::to_string(most_)}};
    draft.answer = std::to_string(counts[asked]);
    draft.meta = make_meta({{"asked", kShapes.at(asked)},
                            {"counts", {{"circles", counts[0]}, {"squares", counts[1]}, {"triangles", counts[2]}}},
                            {"shapes", shapes}},
                           picture, picture.box());
    return draft;
  }

 private:
  int64_t most_ = 4;
  bool others_ = true;
  double size_ = 0.06;
};

}  // namespace

std::shared_ptr<Task> make_count() { return std::make_shared<Count>(); }

}  // namespace ssl4rl::tasks
