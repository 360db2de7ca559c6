// contrastive: are these two views of one picture, or of two?
#include <nlohmann/json.hpp>

#include "ssl4rl/image/augment.h"
#include "ssl4rl/image/geometry.h"
#include "ssl4rl/image/resize.h"
#include "ssl4rl/tasks/task.h"

namespace ssl4rl::tasks {
namespace {

class Contrastive final : public Task {
 public:
  std::string name() const override { return "contrastive"; }

  void describe(config::Section& section) override {
    section.add("augment", augment_, {{"weak", Augment::kWeak}, {"strong", Augment::kStrong}})
        .help(
            "weak: SimCLR's crop, jitter, grey, blur and flip; strong: smaller crops, solarisation and equalisation "
            "too");
    section.add("size", size_).at_least(kMinShownSide).at_most(1024).help("side of a view, in pixels");
  }
  void resolve(Preset) override {}
  int64_t answers() const override { return 2; }
  std::map<std::string, std::vector<std::string>> wordings() const override { return {{"", {}}}; }
  std::string random_answer(Rng& rng) const override { return rng.chance(0.5) ? "positive" : "negative"; }

  Draft draw(const Material& material, Preset) const override {
    const bool positive = material.wanted_answer ? *material.wanted_answer == 0 : material.rng.chance(0.5);
    const image::Image& picture = material.picture;
    const Material::Other other = positive ? Material::Other{} : material.other();
    const View first = view_of(picture, material.rng),
               second = view_of(positive ? picture : *other.picture, material.rng);
    Draft draft;
    draft.images = {first.pixels, second.pixels};
    draft.answer = positive ? "positive" : "negative";
    draft.meta = std::make_shared<nlohmann::ordered_json>(
        nlohmann::ordered_json{{"positive", positive},
                               {"sources", {material.name, positive ? material.name : other.name}},
                               {"boxes", {box_json(first.box), box_json(second.box)}},
                               {"flips", {first.flipped, second.flipped}},
                               {"source_size", {picture.width, picture.height}},
                               {"crop", box_json(picture.box())}});
    return draft;
  }

 private:
  enum class Augment { kWeak, kStrong };
  struct View {
    image::Image pixels;
    image::Box box;
    bool flipped;
  };

  [[nodiscard]] View view_of(const image::Image& picture, Rng& rng) const {
    const bool strong = augment_ == Augment::kStrong;
    const image::Box box =
        image::random_resized_crop(picture.width, picture.height, 0.08, strong ? 0.3 : 1.0, 3.0 / 4, 4.0 / 3, rng);
    const int side = static_cast<int>(size_);
    image::Image view = image::resize(image::crop(picture, box), side, side, image::Filter::kBicubic);
    if (rng.chance(0.8)) image::colour_jitter(view, {0.8, 0.8, 0.8, 0.2}, rng);
    if (rng.chance(strong ? 0.8 : 0.2)) image::to_grey(view);
    if (rng.chance(strong ? 0.8 : 0.5)) image::gaussian_blur(view, rng.uniform(0.1, 2));
    if (strong && rng.chance(0.8)) image::solarise(view);
    if (strong && rng.chance(0.8)) image::equalise(view);
    const bool flipped = rng.chance(strong ? 0.8 : 0.5);
    if (flipped) view = image::mirror_horizontally(view);
    return {std::move(view), box, flipped};
  }

  Augment augment_ = Augment::kWeak;
  int64_t size_ = 224;
};

}  // namespace

std::shared_ptr<Task> make_contrastive() { return std::make_shared<Contrastive>(); }

}  // namespace ssl4rl::tasks
