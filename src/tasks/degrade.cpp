// degrade: order the copies of a picture from the least to the most degraded, by blur, noise or JPEG compression.
#include <algorithm>
#include <array>
#include <cmath>

#include "draft.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/image/augment.h"
#include "ssl4rl/image/codec.h"

namespace ssl4rl::tasks {
namespace {

class Degrade final : public Task {
 public:
  std::string name() const override { return "degrade"; }
  std::shared_ptr<Task> clone() const override { return std::make_shared<Degrade>(*this); }
  std::vector<std::string> levels() const override {
    return {"3 copies, each 3 times as strong", "4 copies, each twice as strong", "5 copies, by factors of 1.6",
            "6 copies, by factors of 1.4"};
  }
  void set_level(int64_t level) override {
    views_ = 3 + level;
    ratio_ = std::array{3.0, 2.0, 1.6, 1.4}.at(static_cast<size_t>(level));
  }

  void describe(config::Section& section) override {
    section.add("views", views_).at_least(2).at_most(8).help("copies to order");
    section.add("ratio", ratio_)
        .at_least(1.1)
        .at_most(4)
        .help("how many times as strongly each copy is degraded as the one before");
    section
        .add("kind", kind_,
             {{"any", Kind::kAny}, {"blur", Kind::kBlur}, {"noise", Kind::kNoise}, {"jpeg", Kind::kJpeg}})
        .help("what degrades the copies; any: one of the three");
  }
  void resolve(Preset) override {}
  int64_t answers() const override { return views_ <= 4 ? factorial(views_) : 0; }
  AnswerKind answer_kind() const override { return AnswerKind::kPermutation; }
  std::string default_reward(Preset) const override { return "displacement"; }
  double chance(const std::string& reward) const override { return permutation_chance(reward, views_, 0, true); }
  std::map<std::string, std::vector<std::string>> wordings() const override {
    return {{"blur", {"example"}}, {"noise", {"example"}}, {"jpeg", {"example"}}};
  }
  std::string random_answer(Rng& rng) const override { return list_text(random_order(views_, rng)); }

  Draft draw(const Material& material, Preset) const override {
    Rng& rng = material.rng;
    const Kind kind = kind_ != Kind::kAny
                          ? kind_
                          : std::array{Kind::kBlur, Kind::kNoise, Kind::kJpeg}.at(static_cast<size_t>(rng.below(3)));
    // order[r]: the image that is the (r+1)-th least degraded.
    const std::vector<int> order =
        material.wanted_answer ? nth_order(views_, *material.wanted_answer) : random_order(views_, rng);
    const double strongest = kind == Kind::kBlur    ? rng.uniform(4, 7)
                             : kind == Kind::kNoise ? rng.uniform(30, 50)
                                                    : rng.uniform(5, 9);
    std::vector<double> strengths(order.size());
    for (size_t r = 0; r < order.size(); ++r)
      strengths[static_cast<size_t>(order[r] - 1)] =
          strongest / std::pow(ratio_, static_cast<double>(order.size() - 1 - r));

    Draft draft;
    for (const double strength : strengths) draft.images.push_back(degraded(material.picture, kind, strength, rng));
    draft.variant = kind == Kind::kBlur ? "blur" : kind == Kind::kNoise ? "noise" : "jpeg";
    draft.fields = {{"example", example()}};
    draft.answer = list_text(order);
    draft.meta = make_meta({{"kind", draft.variant}, {"order", order}, {"strengths", strengths}}, material.picture,
                           material.picture.box());
    return draft;
  }

 private:
  enum class Kind { kAny, kBlur, kNoise, kJpeg };

  // Strengths: standard deviation of the blur in pixels of a picture of 256, of the noise in grey levels, factor of
  // JPEG's quantisation tables.
  static image::Image degraded(const image::Image& picture, Kind kind, double strength, Rng& rng) {
    image::Image view = picture;
    if (kind == Kind::kBlur) image::gaussian_blur(view, strength * std::min(picture.width, picture.height) / 256.0);
    if (kind == Kind::kNoise) image::add_noise(view, strength, rng);
    if (kind == Kind::kJpeg) {
      const double quality = strength >= 1 ? 50 / strength : 100 - 50 * strength;
      view = image::decode(image::encode_jpeg(view, std::clamp(static_cast<int>(std::lround(quality)), 1, 100)),
                           image::Orientation::kIgnore);
    }
    return view;
  }

  [[nodiscard]] std::string example() const {
    std::vector<int> order = nth_order(views_, 0);
    std::rotate(order.begin(), order.end() - 1, order.end());
    return list_text(order);
  }

  int64_t views_ = 4;
  double ratio_ = 2;
  Kind kind_ = Kind::kAny;
};

}  // namespace

std::shared_ptr<Task> make_degrade() { return std::make_shared<Degrade>(); }

}  // namespace ssl4rl::tasks
