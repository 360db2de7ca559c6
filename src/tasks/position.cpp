// position: out of which quadrant was the crop cut?
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "draft.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/image/augment.h"

namespace ssl4rl::tasks {
namespace {

constexpr std::array kQuadrants{"top-left", "top-right", "bottom-left", "bottom-right"};

class Position final : public Task {
 public:
  std::string name() const override { return "position"; }
  std::shared_ptr<Task> clone() const override { return std::make_shared<Position>(*this); }
  bool in_paper() const override { return true; }
  std::vector<std::string> levels() const override {
    return {"large crops", "crops of all sizes, as the reference", "crops of all sizes, recoloured and blurred",
            "small crops, recoloured and blurred"};
  }
  void set_level(int64_t level) override {
    augment_ = level >= 2 ? Augment::kColour : Augment::kNone;
    min_crop_ = level == 0 ? 0.6 : level == 3 ? 0.1 : 0.2;
    max_crop_ = level == 3 ? 0.4 : 0.8;
  }

  void describe(config::Section& section) override {
    section.add("augment", augment_, {{"none", Augment::kNone}, {"colour", Augment::kColour}})
        .help("changes of the crop: colour = jitter, grey and blur");
    section.add("min_crop", min_crop_)
        .above(0)
        .at_most(1)
        .help("smallest side of the crop, as a share of the quadrant's side");
    section.add("max_crop", max_crop_)
        .above(0)
        .at_most(1)
        .help("largest side of the crop, as a share of the quadrant's side");
  }
  void resolve(Preset) override {
    if (min_crop_ > max_crop_) fail("tasks: position: min_crop {} exceeds max_crop {}", min_crop_, max_crop_);
  }
  int64_t answers() const override { return 4; }
  std::map<std::string, std::vector<std::string>> wordings() const override { return {{"", {}}}; }
  std::string random_answer(Rng& rng) const override { return kQuadrants.at(static_cast<size_t>(rng.below(4))); }

  Draft draw(const Material& material, Preset preset) const override {
    const image::Image& picture = material.picture;
    const auto quadrant = material.wanted_answer.value_or(material.rng.below(4));
    const bool right = quadrant % 2 == 1, bottom = quadrant / 2 == 1;
    const int half_width = picture.width / 2, half_height = picture.height / 2;
    const image::Box area{right ? half_width : 0, bottom ? half_height : 0,
                          right ? picture.width - half_width : half_width,
                          bottom ? picture.height - half_height : half_height};
    // With an odd side the right and lower quadrants are a pixel larger; hardened draws the size from the same range
    // for all.
    const bool same_range = preset == Preset::kHardened;
    const int width = draw_side(same_range ? half_width : area.width, material.rng),
              height = draw_side(same_range ? half_height : area.height, material.rng);
    const image::Box box{area.x + static_cast<int>(material.rng.between(0, area.width - width)),
                         area.y + static_cast<int>(material.rng.between(0, area.height - height)), width, height};
    image::Image crop = image::crop(picture, box);
    if (augment_ == Augment::kColour) {
      if (material.rng.chance(0.8)) image::colour_jitter(crop, {0.8, 0.8, 0.8, 0.2}, material.rng);
      if (material.rng.chance(0.2)) image::to_grey(crop);
      if (material.rng.chance(0.5)) image::gaussian_blur(crop, material.rng.uniform(0.1, 2));
    }
    Draft draft;
    draft.answer = kQuadrants.at(static_cast<size_t>(quadrant));
    draft.meta = make_meta({{"quadrant", draft.answer}, {"box", box_json(box)}}, picture, picture.box());
    draft.images.push_back(picture);
    draft.images.push_back(std::move(crop));
    return draft;
  }

 private:
  enum class Augment { kNone, kColour };

  [[nodiscard]] int draw_side(int quadrant, Rng& rng) const {
    const int low = std::max(kMinShownSide, static_cast<int>(min_crop_ * quadrant)),
              high = static_cast<int>(max_crop_ * quadrant);
    if (high < low) throw Unusable{fmt::format("a quadrant of {} pixels is too small for a crop", quadrant)};
    return static_cast<int>(rng.between(low, high));
  }

  Augment augment_ = Augment::kNone;
  double min_crop_ = 0.2, max_crop_ = 0.8;
};

}  // namespace

std::shared_ptr<Task> make_position() { return std::make_shared<Position>(); }

}  // namespace ssl4rl::tasks
