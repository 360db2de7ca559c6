// rotation: by how many degrees was the picture turned counter-clockwise?
//
// paper: the whole picture, its copy turned by Pillow's rotate(expand) and cropped to the largest inscribed rectangle.
// hardened: a square, so that its size tells nothing. Quarter turns move pixels and nothing else, so both squares are
// cut off the JPEG grid; the copy's colours are jittered, so that equality tells nothing. For other angles one law of
// resampling holds for every angle, 0° included.
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>

#include "draft.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/image/augment.h"

namespace ssl4rl::tasks {
namespace {

class Rotation final : public Task {
 public:
  std::string name() const override { return "rotation"; }
  std::shared_ptr<Task> clone() const override { return std::make_shared<Rotation>(*this); }
  bool in_paper() const override { return true; }
  std::vector<std::string> levels() const override {
    return {"2 angles, 180° apart", "4 angles, 90° apart", "8 angles, 45° apart", "12 angles, 30° apart",
            "24 angles, 15° apart"};
  }
  void set_level(int64_t level) override { step_ = std::array{180, 90, 45, 30, 15}.at(static_cast<size_t>(level)); }

  void describe(config::Section& section) override {
    section.add("granularity", step_).at_least(1).at_most(180).help("step between the angles, in degrees; divides 360");
    section.add("show", show_, {{"pair", Show::kPair}, {"single", Show::kSingle}})
        .help("pair: the original and the turned copy; single: only the copy");
    section.add("jitter", jitter_)
        .at_least(0)
        .at_most(1)
        .unset_means("0.2 hardened, 0 paper")
        .help("strength of the colour changes of the copy");
  }
  void resolve(Preset preset) override {
    if (360 % step_ != 0) fail("tasks: rotation: granularity must divide 360, found {}", step_);
    if (!jitter_) jitter_ = preset == Preset::kHardened ? 0.2 : 0;
  }
  int64_t answers() const override { return 360 / step(); }
  AnswerKind answer_kind() const override { return AnswerKind::kDegrees; }
  double chance(const std::string& reward) const override {
    if (reward == "exact") return 1.0 / static_cast<double>(answers());
    double best = 0;  // angular: of the constants 0° to 359°
    for (int guess = 0; guess < step(); ++guess) {
      double sum = 0;
      for (int angle = 0; angle < 360; angle += step())
        sum += 1 - std::min(std::abs(guess - angle), 360 - std::abs(guess - angle)) / 180.0;
      best = std::max(best, sum / static_cast<double>(answers()));
    }
    return best;
  }
  std::map<std::string, std::vector<std::string>> wordings() const override {
    return {{"pair", {"angles"}}, {"single", {"angles"}}};
  }
  std::string random_answer(Rng& rng) const override { return std::to_string(rng.below(answers()) * step()); }

  Draft draw(const Material& material, Preset preset) const override {
    const int angle = static_cast<int>(material.wanted_answer.value_or(material.rng.below(answers()))) * step();
    const image::Image& picture = material.picture;
    image::Image original, turned;
    image::Box crop = picture.box(), copy_crop = crop;
    if (preset == Preset::kPaper) {
      original = picture;
      turned = cropped_turn(picture, angle);
    } else if (step() % 90 == 0) {
      std::tie(crop, copy_crop) = off_the_grid(image::centre_square(picture), material.rng);
      original = image::crop(picture, crop);
      turned = image::rotate_quarters(image::crop(picture, copy_crop), angle / 90);
    } else {
      crop = copy_crop = image::centre_square(picture);
      turned = resampled_turn(picture, crop, angle, material.rng, original);
    }
    check_shown(turned.width, turned.height, "a turned copy");
    const double j = jitter_.value_or(0);
    if (j > 0) image::colour_jitter(turned, {j, j, j, j / 4}, material.rng);

    Draft draft;
    draft.variant = show_ == Show::kPair ? "pair" : "single";
    if (show_ == Show::kPair) draft.images.push_back(std::move(original));
    draft.images.push_back(std::move(turned));
    std::vector<int> angles;
    for (int a = 0; a < 360; a += step()) angles.push_back(a);
    draft.fields = {{"angles", fmt::format("{}", fmt::join(angles, ", "))}, {"granularity", std::to_string(step_)}};
    draft.answer = std::to_string(angle);
    draft.meta = make_meta({{"angle", angle}, {"copy_crop", box_json(copy_crop)}}, picture,
                           show_ == Show::kPair ? crop : copy_crop);
    return draft;
  }

 private:
  enum class Show { kPair, kSingle };

  [[nodiscard]] int step() const { return static_cast<int>(step_); }

  // As SSL4RL's makerotation scripts: rotate(expand=True), then a centred crop whose corners Pillow rounds half to
  // even.
  static image::Image cropped_turn(const image::Image& picture, int angle) {
    const image::Image turned = image::rotate_expand(picture, angle);
    const image::Size inner = image::largest_inscribed_rectangle(picture.width, picture.height, angle);
    const auto corner = [](double x) { return static_cast<int>(std::nearbyint(x)); };
    const int left = corner((turned.width - inner.width) / 2.0), right = corner((turned.width + inner.width) / 2.0);
    const int top = corner((turned.height - inner.height) / 2.0), bottom = corner((turned.height + inner.height) / 2.0);
    if (right <= left || bottom <= top) throw Unusable{"nothing is left of the turned copy"};
    return image::crop(turned, {left, top, right - left, bottom - top});
  }

  // The square of side S/√2 about the centre, which every angle leaves inside a square of side S: pre-blurred, shifted
  // by a random part of a pixel, enlarged a little (which wipes out JPEG's grid), sampled with Lanczos weights, blurred
  // and made noisy, whatever the angle.
  static image::Image resampled_turn(const image::Image& picture, const image::Box& square, int angle, Rng& rng,
                                     image::Image& original) {
    const int side = static_cast<int>(square.width / std::sqrt(2.0));
    check_shown(side, side, "a turned copy");
    const double centre_x = square.x + square.width / 2.0, centre_y = square.y + square.height / 2.0;
    original = image::crop(
        picture, {static_cast<int>(centre_x - side / 2.0), static_cast<int>(centre_y - side / 2.0), side, side});
    image::Image soft = picture;
    image::gaussian_blur(soft, 0.7);
    const double x = centre_x + rng.uniform(-0.5, 0.5), y = centre_y + rng.uniform(-0.5, 0.5);
    image::Image turned =
        image::warp(soft, image::Affine::turn(angle, x, y, side / 2.0, side / 2.0, rng.uniform(1.02, 1.1)), side, side);
    image::gaussian_blur(turned, rng.uniform(0.3, 1.0));
    image::add_noise(turned, rng.uniform(1, 4), rng);
    return turned;
  }

  int64_t step_ = 90;
  Show show_ = Show::kPair;
  std::optional<double> jitter_;
};

}  // namespace

std::shared_ptr<Task> make_rotation() { return std::make_shared<Rotation>(); }

}  // namespace ssl4rl::tasks
