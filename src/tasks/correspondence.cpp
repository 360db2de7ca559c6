// correspondence: a point is marked in one view of a picture; which of the points marked in another view is it?
//
// The points are drawn by one law, then one of them becomes the truth: nothing but the pictures tells which.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "draft.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/image/augment.h"
#include "ssl4rl/image/draw.h"
#include "ssl4rl/image/resize.h"

namespace ssl4rl::tasks {
namespace {

using Point = image::Affine::Point;

class Correspondence final : public Task {
 public:
  std::string name() const override { return "correspondence"; }
  std::shared_ptr<Task> clone() const override { return std::make_shared<Correspondence>(*this); }
  std::vector<std::string> levels() const override {
    return {"3 points, shifted view", "4 points, turned by up to 20° and scaled",
            "4 points, turned by up to 180° and scaled", "6 points, turned by any angle, scaled, recoloured",
            "8 points, turned by any angle, scaled, recoloured"};
  }
  void set_level(int64_t level) override {
    candidates_ = std::array{3, 4, 4, 6, 8}.at(static_cast<size_t>(level));
    max_turn_ = std::array{0, 20, 180, 180, 180}.at(static_cast<size_t>(level));
    scale_ = level == 0 ? 1 : 1.4;
    jitter_ = level >= 3 ? 0.5 : 0;
  }

  void describe(config::Section& section) override {
    section.add("candidates", candidates_).at_least(2).at_most(9).help("points to choose from");
    section.add("max_turn", max_turn_)
        .at_least(0)
        .at_most(180)
        .help("the second view is turned by up to this many degrees either way");
    section.add("scale", scale_).at_least(1).at_most(2).help("the second view is enlarged by up to this factor");
    section.add("jitter", jitter_).at_least(0).at_most(1).help("strength of the colour changes of the second view");
  }
  void resolve(Preset) override {}
  int64_t answers() const override { return candidates_; }
  std::map<std::string, std::vector<std::string>> wordings() const override { return {{"", {"candidates"}}}; }
  std::string random_answer(Rng& rng) const override { return std::to_string(rng.between(1, candidates_)); }

  Draft draw(const Material& material, Preset) const override {
    const image::Image& picture = material.picture;
    Rng& rng = material.rng;
    const double shorter = std::min(picture.width, picture.height);
    const double turn = rng.uniform(-max_turn_, max_turn_);
    // The first view: three quarters of each side. The second: a square whose corners stay in the picture however it
    // turns.
    const image::Box first{static_cast<int>(rng.between(0, picture.width / 4)),
                           static_cast<int>(rng.between(0, picture.height / 4)), picture.width * 3 / 4,
                           picture.height * 3 / 4};
    const int side = static_cast<int>(shorter * 0.6);
    check_shown(side, side, "a view");
    const double margin = side / 2.0 * (max_turn_ > 0 ? std::numbers::sqrt2 : 1.25);
    const double zoom = 2 * margin / shorter * rng.uniform(1, scale_);
    const image::Image scaled =
        image::resize(picture, static_cast<int>(std::ceil(picture.width * zoom)),
                      static_cast<int>(std::ceil(picture.height * zoom)), image::Filter::kBicubic);
    const double zoom_x = static_cast<double>(scaled.width) / picture.width,
                 zoom_y = static_cast<double>(scaled.height) / picture.height;
    const double edge = max_turn_ > 0 ? margin : side / 2.0;
    const image::Affine map = image::Affine::turn(turn, rng.uniform(edge, scaled.width - edge),
                                                  rng.uniform(edge, scaled.height - edge), side / 2.0, side / 2.0);

    const double ring = side * 0.035 + 2, apart = 5 * ring;
    std::vector<Point> in_first, in_second;
    for (int attempt = 0; static_cast<int64_t>(in_second.size()) < candidates_; ++attempt) {
      if (attempt == 2000) throw Unusable{"its two views share too little"};
      const Point second{rng.uniform(2 * ring, side - 2 * ring), rng.uniform(2 * ring, side - 2 * ring)},
          source = map(second.x, second.y);
      const Point point{source.x / zoom_x - first.x, source.y / zoom_y - first.y};
      if (point.x < 2 * ring || point.y < 2 * ring || point.x > first.width - 2 * ring ||
          point.y > first.height - 2 * ring)
        continue;
      if (std::any_of(in_second.begin(), in_second.end(),
                      [&](const Point& p) { return std::hypot(p.x - second.x, p.y - second.y) < apart; }))
        continue;
      in_first.push_back(point);
      in_second.push_back(second);
    }
    const auto truth = static_cast<size_t>(material.wanted_answer.value_or(rng.below(candidates_)));

    Draft draft;
    draft.images = {image::crop(picture, first), image::warp(scaled, map, side, side)};
    if (jitter_ > 0) image::colour_jitter(draft.images[1], {jitter_, jitter_, jitter_, jitter_ / 4}, rng);
    image::mark_point(draft.images[0], in_first[truth].x, in_first[truth].y, ring, "");
    for (size_t i = 0; i < in_second.size(); ++i)
      image::mark_point(draft.images[1], in_second[i].x, in_second[i].y, ring, std::to_string(i + 1));
    draft.fields = {{"candidates", std::to_string(candidates_)}};
    draft.answer = std::to_string(truth + 1);
    const auto points = [](const std::vector<Point>& list, double dx, double dy) {
      Json json = Json::array();
      for (const Point& p : list) json.push_back({std::round((p.x + dx) * 10) / 10, std::round((p.y + dy) * 10) / 10});
      return json;
    };
    draft.meta = make_meta({{"truth", truth + 1},
                            {"marked", points({in_first[truth]}, 0, 0)[0]},
                            {"points", points(in_second, 0, 0)},
                            {"source_points", points(in_first, first.x, first.y)},
                            {"box", box_json(first)},
                            {"turn", turn},
                            {"scale", zoom_x}},
                           picture, picture.box());
    return draft;
  }

 private:
  int64_t candidates_ = 4;
  double max_turn_ = 20, scale_ = 1.4, jitter_ = 0;
};

}  // namespace

std::shared_ptr<Task> make_correspondence() { return std::make_shared<Correspondence>(); }

}  // namespace ssl4rl::tasks
