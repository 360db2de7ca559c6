// contrastive: are these two views of one picture, or of two?
#include "draft.h"
#include "views.h"

namespace ssl4rl::tasks {
namespace {

class Contrastive final : public Task {
 public:
  std::string name() const override { return "contrastive"; }
  std::shared_ptr<Task> clone() const override { return std::make_shared<Contrastive>(*this); }
  bool in_paper() const override { return true; }
  std::vector<std::string> levels() const override {
    return {"weak changes of at least half of the picture", "weak changes", "strong changes"};
  }
  void set_level(int64_t level) override {
    views_.augment = level == 2 ? Views::Augment::kStrong : Views::Augment::kWeak;
    views_.min_area = level == 0 ? std::optional(0.5) : std::nullopt;
  }

  void describe(config::Section& section) override { views_.describe(section); }
  void resolve(Preset) override { views_.check(name()); }
  int64_t answers() const override { return 2; }
  std::map<std::string, std::vector<std::string>> wordings() const override { return {{"", {}}}; }
  std::string random_answer(Rng& rng) const override { return rng.chance(0.5) ? "positive" : "negative"; }

  Draft draw(const Material& material, Preset) const override {
    const bool positive = material.wanted_answer ? *material.wanted_answer == 0 : material.rng.chance(0.5);
    const image::Image& picture = material.picture;
    const Material::Other other = positive ? Material::Other{} : material.other();
    const Views::View first = views_.draw(picture, material.rng),
                      second = views_.draw(positive ? picture : *other.picture, material.rng);
    Draft draft;
    draft.images = {first.pixels, second.pixels};
    draft.answer = positive ? "positive" : "negative";
    draft.meta = make_meta({{"positive", positive},
                            {"sources", {material.name, positive ? material.name : other.name}},
                            {"boxes", {box_json(first.box), box_json(second.box)}},
                            {"flips", {first.flipped, second.flipped}}},
                           picture, picture.box());
    return draft;
  }

 private:
  Views views_;
};

}  // namespace

std::shared_ptr<Task> make_contrastive() { return std::make_shared<Contrastive>(); }

}  // namespace ssl4rl::tasks
