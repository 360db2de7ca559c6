// similarity: which of the views shows the same picture as the first one? All views are made by one law.
#include <algorithm>
#include <array>

#include "draft.h"
#include "ssl4rl/base/error.h"
#include "views.h"

namespace ssl4rl::tasks {
namespace {

class Similarity final : public Task {
 public:
  std::string name() const override { return "similarity"; }
  std::shared_ptr<Task> clone() const override { return std::make_shared<Similarity>(*this); }
  std::vector<std::string> levels() const override {
    return {"2 views of at least half of a picture, weak changes", "2 views, weak changes", "4 views, weak changes",
            "4 views, strong changes", "8 views, strong changes"};
  }
  void set_level(int64_t level) override {
    candidates_ = std::array{2, 2, 4, 4, 8}.at(static_cast<size_t>(level));
    views_.augment = level >= 3 ? Views::Augment::kStrong : Views::Augment::kWeak;
    views_.min_area = level == 0 ? std::optional(0.5) : std::nullopt;
  }

  void describe(config::Section& section) override {
    section.add("candidates", candidates_).at_least(2).at_most(8).help("views to choose from");
    views_.describe(section);
  }
  void resolve(Preset) override { views_.check(name()); }
  int64_t answers() const override { return candidates_; }
  std::map<std::string, std::vector<std::string>> wordings() const override { return {{"", {"candidates"}}}; }
  std::string random_answer(Rng& rng) const override { return std::to_string(rng.between(1, candidates_)); }

  Draft draw(const Material& material, Preset) const override {
    const auto truth = material.wanted_answer.value_or(material.rng.below(candidates_));
    Draft draft;
    Json sources = Json::array(), boxes = Json::array(), flips = Json::array();
    std::vector<std::string> used{material.name};
    const auto show = [&](const image::Image& picture, const std::string& source) {
      Views::View view = views_.draw(picture, material.rng);
      draft.images.push_back(std::move(view.pixels));
      sources.push_back(source);
      boxes.push_back(box_json(view.box));
      flips.push_back(view.flipped);
    };
    show(material.picture, material.name);
    for (int64_t i = 0; i < candidates_; ++i) {
      if (i == truth) {
        show(material.picture, material.name);
        continue;
      }
      Material::Other other = material.other();
      for (int attempt = 0; std::count(used.begin(), used.end(), other.name) > 0; ++attempt) {
        if (attempt == 100) throw Unusable{fmt::format("there are not {} other usable images", candidates_ - 1)};
        other = material.other();
      }
      used.push_back(other.name);
      show(*other.picture, other.name);
    }
    draft.fields = {{"candidates", std::to_string(candidates_)}};
    draft.answer = std::to_string(truth + 1);
    draft.meta = make_meta({{"truth", truth + 1}, {"sources", sources}, {"boxes", boxes}, {"flips", flips}},
                           material.picture, material.picture.box());
    return draft;
  }

 private:
  Views views_;
  int64_t candidates_ = 4;
};

}  // namespace

std::shared_ptr<Task> make_similarity() { return std::make_shared<Similarity>(); }

}  // namespace ssl4rl::tasks
