#include "ssl4rl/image/scene.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <opencv2/imgproc.hpp>

namespace ssl4rl::image {
namespace {

using Colour = std::array<double, 3>;

struct Sky {
  bool night;
  Colour top, horizon;
};
const std::vector<Sky> kSkies{{false, {70, 130, 220}, {180, 215, 245}},  {false, {200, 110, 70}, {250, 200, 120}},
                              {true, {10, 12, 45}, {45, 50, 100}},       {false, {130, 135, 145}, {195, 200, 205}},
                              {false, {190, 120, 170}, {245, 190, 190}}, {false, {40, 130, 130}, {150, 215, 205}}};
struct Ground {
  Colour far, near;
};
const std::vector<Ground> kGrounds{{{120, 170, 80}, {50, 110, 40}},    {{200, 180, 120}, {150, 120, 70}},
                                   {{235, 240, 245}, {190, 200, 215}}, {{120, 95, 70}, {70, 50, 35}},
                                   {{90, 130, 110}, {30, 70, 60}},     {{170, 165, 160}, {100, 95, 95}}};
const std::vector<Colour> kRoofs{{205, 80, 60}, {230, 215, 180}, {150, 110, 80}};
const std::vector<Colour> kWalls{{205, 80, 60},   {230, 215, 180}, {150, 110, 80}, {120, 150, 190},
                                 {240, 240, 235}, {225, 170, 60},  {110, 150, 100}};
const std::vector<Colour> kCrowns{{40, 120, 40},  {90, 150, 40}, {30, 90, 60},
                                  {190, 110, 30}, {160, 50, 40}, {120, 160, 90}};

// Lengths are given for a picture of 112 pixels and scale with its side.
class Painter {
 public:
  Painter(int side, Rng& rng)
      : side_(side),
        scale_(side / 112.0),
        rng_(rng),
        image_(side, side),
        canvas_(side, side, CV_8UC3, image_.pixels.data()) {}

  Image paint() {
    backdrop();
    sun_and_clouds();
    hills();
    objects();
    light_and_noise();
    return std::move(image_);
  }

 private:
  [[nodiscard]] int scaled(double length) const { return static_cast<int>(std::lround(length * scale_)); }
  double draw(double low, double high) { return rng_.uniform(low, high); }
  Colour vary(Colour c, double range) {
    for (double& v : c) v = std::clamp(v + draw(-range, range), 0.0, 255.0);
    return c;
  }
  static Colour dimmed(Colour c, double factor) {
    for (double& v : c) v = std::min(255.0, v * factor);
    return c;
  }
  static cv::Scalar paint_of(const Colour& c) { return {c[0], c[1], c[2]}; }
  void fill(const std::vector<cv::Point>& corners, const Colour& c) {
    cv::fillPoly(canvas_, std::vector{corners}, paint_of(c), cv::LINE_AA);
  }
  void disc(cv::Point centre, int radius, const Colour& c) {
    cv::circle(canvas_, centre, radius, paint_of(c), cv::FILLED, cv::LINE_AA);
  }
  void block(cv::Point a, cv::Point b, const Colour& c) { cv::rectangle(canvas_, a, b, paint_of(c), cv::FILLED); }

  void ramp(int begin, int end, const Colour& from, const Colour& to) {
    for (int y = begin; y < end; ++y)
      for (int x = 0; x < side_; ++x)
        for (size_t c = 0; c < 3; ++c)
          image_.at(x, y)[c] = static_cast<uint8_t>(from[c] + (to[c] - from[c]) * (y - begin) / (end - begin));
  }

  void backdrop() {
    const Sky& sky = rng_.pick(kSkies);
    const Ground& ground = rng_.pick(kGrounds);
    night_ = sky.night;
    far_ = vary(ground.far, 20);
    horizon_ = scaled(draw(46, 76));
    const Colour top = vary(sky.top, 25), low = vary(sky.horizon, 25), near = vary(ground.near, 20);
    ramp(0, horizon_, top, low);
    ramp(horizon_, side_, far_, near);
  }

  void sun_and_clouds() {
    if (rng_.chance(0.6)) {
      const cv::Point centre(scaled(draw(8, 104)), scaled(draw(6, 34)));
      const int radius = scaled(draw(5, 10));
      disc(centre, radius, vary(night_ ? Colour{235, 235, 215} : Colour{250, 225, 90}, 15));
    }
    for (int64_t cloud = rng_.below(4); cloud > 0; --cloud) {
      const double x = draw(0, 112), y = draw(4, 36), w = draw(8, 16);
      const Colour c = dimmed(vary({235, 235, 240}, 20), night_ ? 0.5 : 1);
      for (const auto& [dx, dy, size] : {std::array{-0.7, 0.1, 0.7}, {0.0, -0.1, 1.0}, {0.7, 0.1, 0.7}})
        cv::ellipse(canvas_, {scaled(x + dx * w), scaled(y + dy * w)}, {scaled(w * size), scaled(w * size * 0.45)}, 0,
                    0, 360, paint_of(c), cv::FILLED, cv::LINE_AA);
    }
  }

  void hills() {
    for (int64_t hill = rng_.below(3); hill > 0; --hill) {
      const double x = draw(0, 112), w = draw(18, 45), h = draw(8, 24);
      const Colour c = dimmed(vary(far_, 20), draw(0.6, 0.9));
      if (rng_.chance(0.5)) {
        fill({{scaled(x - w), horizon_}, {scaled(x), horizon_ - scaled(h)}, {scaled(x + w), horizon_}}, c);
      } else {
        cv::ellipse(canvas_, {scaled(x), horizon_}, {scaled(w), scaled(h)}, 0, 180, 360, paint_of(c), cv::FILLED,
                    cv::LINE_AA);
      }
    }
  }

  enum class Kind { kHouse, kTree, kPerson };

  void objects() {
    std::vector<Kind> kinds;
    if (rng_.chance(0.75)) kinds.push_back(Kind::kHouse);
    kinds.insert(kinds.end(), static_cast<size_t>(rng_.between(1, 3)), Kind::kTree);
    kinds.insert(kinds.end(), static_cast<size_t>(rng_.below(3)), Kind::kPerson);
    std::vector<std::pair<double, Kind>> by_depth;  // far ones first, so that near ones cover them
    for (const Kind kind : kinds) by_depth.emplace_back(draw(2, 0.85 * (112 - horizon_ / scale_)), kind);
    std::stable_sort(by_depth.begin(), by_depth.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& [depth, kind] : by_depth) {
      foot_x_ = draw(10, 102);
      foot_y_ = horizon_ / scale_ + depth;
      size_ = 0.75 + depth / 70;
      switch (kind) {
        case Kind::kHouse:
          house();
          break;
        case Kind::kTree:
          tree();
          break;
        case Kind::kPerson:
          person();
          break;
      }
    }
  }

  // A point relative to the object's foot: x to the right, y up.
  [[nodiscard]] cv::Point at(double x, double y) const {
    return {scaled(foot_x_ + x * size_), scaled(foot_y_ - y * size_)};
  }

  void house() {
    const double w = draw(10, 16), h = draw(14, 22), roof = draw(8, 14);
    const Colour wall = vary(rng_.pick(kWalls), 20);
    block(at(-w, h), at(w, 0), wall);
    fill({at(-w - 3, h), at(0, h + roof), at(w + 3, h)}, vary(rng_.pick(kRoofs), 25));
    const double door = draw(-w + 4, w - 4), window = door > 0 ? door - w : door + w;
    block(at(door - 2.5, 9), at(door + 2.5, 0), dimmed(wall, 0.4));
    block(at(window - 3, h - 3), at(window + 3, h - 9), vary({230, 220, 130}, 25));
  }

  void tree() {
    const double h = draw(8, 16), w = draw(7, 12);
    const Colour crown = vary(rng_.pick(kCrowns), 20);
    block(at(-1.6, h), at(1.6, 0), vary({95, 65, 40}, 15));
    if (rng_.chance(0.5)) {
      disc(at(0, h + 0.7 * w), scaled(w * size_), crown);
    } else {
      fill({at(-w, h - 3), at(0, h + 2 * w), at(w, h - 3)}, crown);
    }
  }

  void person() {
    const Colour clothes{draw(40, 220), draw(40, 220), draw(40, 220)}, skin = vary({215, 170, 130}, 35);
    const int stroke = std::max(1, scaled(2.4 * size_));
    const auto limb = [&](cv::Point a, cv::Point b, const Colour& c, int width) {
      cv::line(canvas_, a, b, paint_of(c), width, cv::LINE_AA);
    };
    const Colour dark = dimmed(clothes, 0.6);
    limb(at(0, 9), at(-3, 0), dark, std::max(1, stroke - 1));
    limb(at(0, 9), at(3, 0), dark, std::max(1, stroke - 1));
    limb(at(0, 15), at(-4, 10), dark, std::max(1, stroke - 1));
    limb(at(0, 15), at(4, 10), dark, std::max(1, stroke - 1));
    limb(at(0, 17), at(0, 8), clothes, stroke + 1);
    disc(at(0, 20), std::max(1, scaled(2.8 * size_)), skin);
  }

  void light_and_noise() {
    const double gain = draw(0.8, 1.1);
    for (uint8_t& v : image_.pixels) v = static_cast<uint8_t>(std::clamp(v * gain + 4 * rng_.normal(), 0.0, 255.0));
  }

  int side_;
  double scale_;
  Rng& rng_;
  Image image_;
  cv::Mat canvas_;  // the same pixels
  bool night_ = false;
  int horizon_ = 0;
  Colour far_{};
  double foot_x_ = 0, foot_y_ = 0, size_ = 1;
};

}  // namespace

Image draw_scene(int side, Rng& rng) { return Painter(side, rng).paint(); }

}  // namespace ssl4rl::image
