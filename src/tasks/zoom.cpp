// zoom: by which factor was a piece of the picture enlarged?
//
// The picture and the piece are both reduced to the size that the piece of the largest factor has, so that neither size
// nor missing detail tells the factor.
#include <fmt/ranges.h>

#include <array>

#include "draft.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/image/augment.h"
#include "ssl4rl/image/resize.h"

namespace ssl4rl::tasks {
namespace {

constexpr double kLargest = 3;

class Zoom final : public Task {
 public:
  std::string name() const override { return "zoom"; }
  std::shared_ptr<Task> clone() const override { return std::make_shared<Zoom>(*this); }
  std::vector<std::string> levels() const override {
    return {"2 factors", "3 factors", "4 factors", "7 factors", "7 factors, recoloured"};
  }
  void set_level(int64_t level) override {
    factors_ = std::array{2, 3, 4, 7, 7}.at(static_cast<size_t>(level));
    jitter_ = level == 4 ? 0.4 : 0;
  }

  void describe(config::Section& section) override {
    section.add("factors", factors_)
        .at_least(2)
        .at_most(7)
        .help("2: 1.5, 3; 3: 1.5, 2, 3; 4: 1.5, 2, 2.5, 3; 7: 1.5 to 3 by 0.25");
    section.add("jitter", jitter_).at_least(0).at_most(1).help("strength of the colour changes of the piece");
  }
  void resolve(Preset) override {
    if (factors_ == 5 || factors_ == 6) fail("tasks: zoom: factors: expected 2, 3, 4 or 7, found {}", factors_);
  }
  int64_t answers() const override { return factors_; }
  AnswerKind answer_kind() const override { return AnswerKind::kNumber; }
  double chance(const std::string& reward) const override {
    if (reward == "exact") return 1.0 / static_cast<double>(factors_);
    double best = 0;  // relative_error: of constants by 0.05
    for (double guess = 1; guess <= kLargest; guess += 0.05) {
      double sum = 0;
      for (const double factor : factors()) sum += std::max(0.0, 1 - std::abs(guess - factor) / factor);
      best = std::max(best, sum / static_cast<double>(factors_));
    }
    return best;
  }
  std::map<std::string, std::vector<std::string>> wordings() const override { return {{"", {"answers"}}}; }
  std::string random_answer(Rng& rng) const override {
    return fmt::format("{}", factors()[static_cast<size_t>(rng.below(factors_))]);
  }

  Draft draw(const Material& material, Preset) const override {
    const image::Image& picture = material.picture;
    const double factor = factors()[static_cast<size_t>(material.wanted_answer.value_or(material.rng.below(factors_)))];
    const int shown_width = static_cast<int>(picture.width / kLargest),
              shown_height = static_cast<int>(picture.height / kLargest);
    check_shown(shown_width, shown_height, "a piece");
    const int width = static_cast<int>(picture.width / factor), height = static_cast<int>(picture.height / factor);
    const image::Box box{static_cast<int>(material.rng.between(0, picture.width - width)),
                         static_cast<int>(material.rng.between(0, picture.height - height)), width, height};
    image::Image piece = image::resize(image::crop(picture, box), shown_width, shown_height, image::Filter::kLanczos);
    if (jitter_ > 0) image::colour_jitter(piece, {jitter_, jitter_, jitter_, jitter_ / 4}, material.rng);
    Draft draft;
    draft.images = {image::resize(picture, shown_width, shown_height, image::Filter::kLanczos), std::move(piece)};
    draft.answer = fmt::format("{}", factor);
    draft.fields = {{"answers", fmt::format("{}", fmt::join(factors(), ", "))}};
    draft.meta = make_meta({{"factor", factor}, {"box", box_json(box)}}, picture, picture.box());
    return draft;
  }

 private:
  [[nodiscard]] std::vector<double> factors() const {
    switch (factors_) {
      case 2:
        return {1.5, 3};
      case 3:
        return {1.5, 2, 3};
      case 4:
        return {1.5, 2, 2.5, 3};
      default:
        return {1.5, 1.75, 2, 2.25, 2.5, 2.75, 3};
    }
  }

  int64_t factors_ = 3;
  double jitter_ = 0;
};

}  // namespace

std::shared_ptr<Task> make_zoom() { return std::make_shared<Zoom>(); }

}  // namespace ssl4rl::tasks
