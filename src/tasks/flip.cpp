// flip: how was the copy mirrored: not at all, left to right, or upside down?
//
// All copies are made alike: a piece off the JPEG grid, mirrored or not, then recoloured.
#include <array>

#include "draft.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/image/augment.h"
#include "ssl4rl/image/resize.h"

namespace ssl4rl::tasks {
namespace {

constexpr std::array kAnswers{"none", "vertical", "horizontal"};

class Flip final : public Task {
 public:
  std::string name() const override { return "flip"; }
  std::shared_ptr<Task> clone() const override { return std::make_shared<Flip>(*this); }
  std::vector<std::string> levels() const override {
    return {"none or vertical", "none, vertical or horizontal", "strong changes of colour",
            "a part of the picture, strong changes of colour"};
  }
  void set_level(int64_t level) override {
    ways_ = level == 0 ? 2 : 3;
    jitter_ = level >= 2 ? 0.6 : 0.2;
    min_part_ = level == 3 ? 0.5 : 1;
  }

  void describe(config::Section& section) override {
    section.add("show", show_, {{"pair", Show::kPair}, {"single", Show::kSingle}})
        .help("pair: the original and the copy; single: only the copy");
    section.add("ways", ways_).at_least(2).at_most(3).help("2: none, vertical; 3: none, vertical, horizontal");
    section.add("jitter", jitter_).above(0).at_most(1).help("strength of the colour changes of the copy");
    section.add("min_part", min_part_)
        .at_least(0.25)
        .at_most(1)
        .help("the copy shows a part of the picture with sides of at least this share of its own");
  }
  void resolve(Preset) override {}
  int64_t answers() const override { return ways_; }
  double chance(const std::string&) const override { return 1.0 / static_cast<double>(ways_); }
  std::map<std::string, std::vector<std::string>> wordings() const override {
    return {{"pair", {"answers"}}, {"single", {"answers"}}};
  }
  std::string random_answer(Rng& rng) const override { return kAnswers.at(static_cast<size_t>(rng.below(ways_))); }

  Draft draw(const Material& material, Preset) const override {
    const auto way = static_cast<size_t>(material.wanted_answer.value_or(material.rng.below(ways_)));
    const image::Image& picture = material.picture;
    const auto [crop, copy_crop] = off_the_grid(picture.box(), material.rng);
    image::Image original = image::crop(picture, crop), copy = image::crop(picture, copy_crop);
    if (min_part_ < 1) {
      const double share = material.rng.uniform(min_part_, 1);
      const int width = static_cast<int>(crop.width * share), height = static_cast<int>(crop.height * share);
      const image::Box part{static_cast<int>(material.rng.between(0, crop.width - width)),
                            static_cast<int>(material.rng.between(0, crop.height - height)), width, height};
      copy = image::resize(image::crop(copy, part), crop.width, crop.height, image::Filter::kBicubic);
    }
    check_shown(copy.width, copy.height, "a copy");
    if (way == 1) copy = image::mirror_vertically(copy);
    if (way == 2) copy = image::mirror_horizontally(copy);
    image::colour_jitter(copy, {jitter_, jitter_, jitter_, jitter_ / 4}, material.rng);

    Draft draft;
    draft.variant = show_ == Show::kPair ? "pair" : "single";
    if (show_ == Show::kPair) draft.images.push_back(std::move(original));
    draft.images.push_back(std::move(copy));
    draft.answer = kAnswers.at(way);
    draft.fields["answers"] = ways_ == 2 ? "none, vertical" : "none, vertical, horizontal";
    draft.meta = make_meta({{"flip", draft.answer}, {"copy_crop", box_json(copy_crop)}}, picture,
                           show_ == Show::kPair ? crop : copy_crop);
    return draft;
  }

 private:
  enum class Show { kPair, kSingle };
  Show show_ = Show::kPair;
  int64_t ways_ = 3;
  double jitter_ = 0.2, min_part_ = 1;
};

}  // namespace

std::shared_ptr<Task> make_flip() { return std::make_shared<Flip>(); }

}  // namespace ssl4rl::tasks
