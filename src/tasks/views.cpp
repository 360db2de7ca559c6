#include "views.h"

#include "ssl4rl/base/error.h"
#include "ssl4rl/image/augment.h"
#include "ssl4rl/image/geometry.h"
#include "ssl4rl/image/resize.h"
#include "ssl4rl/tasks/task.h"

namespace ssl4rl::tasks {

void Views::describe(config::Section& section) {
  section.add("augment", augment, {{"weak", Augment::kWeak}, {"strong", Augment::kStrong}})
      .help(
          "weak: SimCLR's crop, jitter, grey, blur and flip; strong: smaller crops, solarisation and equalisation too");
  section.add("size", size).at_least(kMinShownSide).at_most(1024).help("side of a view, in pixels");
  section.add("min_area", min_area)
      .above(0)
      .at_most(1)
      .unset_means("0.08")
      .help("smallest share of the picture that a view shows");
}

void Views::check(const std::string& task) const {
  if (augment == Augment::kStrong && min_area.value_or(0) > 0.3)
    fail("tasks: {}: min_area {} exceeds 0.3, the largest crop of augment: strong", task, *min_area);
}

Views::View Views::draw(const image::Image& picture, Rng& rng) const {
  const bool strong = augment == Augment::kStrong;
  const image::Box box = image::random_resized_crop(picture.width, picture.height, min_area.value_or(0.08),
                                                    strong ? 0.3 : 1.0, 3.0 / 4, 4.0 / 3, rng);
  const int side = static_cast<int>(size);
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

}  // namespace ssl4rl::tasks
