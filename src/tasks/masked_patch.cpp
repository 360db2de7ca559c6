// masked_patch: which of the candidates was cut out of the grey square?
//
// A transform of the truth among the candidates would give the truth away (its twin is there); hardened therefore shows
// transforms in pairs: the truth, its transform, another patch, and the same transform of that one.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "ssl4rl/base/error.h"
#include "ssl4rl/image/augment.h"
#include "ssl4rl/image/geometry.h"
#include "ssl4rl/tasks/task.h"

namespace ssl4rl::tasks {
namespace {

enum class Kind { kTruth, kOtherImage, kElsewhere, kMirrored, kRotated, kColour };

const char* kind_name(Kind kind) {
  switch (kind) {
    case Kind::kTruth:
      return "truth";
    case Kind::kOtherImage:
      return "other_image";
    case Kind::kElsewhere:
      return "elsewhere";
    case Kind::kMirrored:
      return "mirrored";
    case Kind::kRotated:
      return "rotated";
    case Kind::kColour:
      return "colour";
  }
  return "";
}

constexpr std::array kTransforms{Kind::kMirrored, Kind::kRotated, Kind::kColour};

struct Candidate {
  Kind kind;
  image::Box box;
  image::Image pixels;
  std::string source;  // of other_image
};

class MaskedPatch final : public Task {
 public:
  std::string name() const override { return "masked_patch"; }

  void describe(config::Section& section) override {
    section.add("candidates", candidates_).at_least(2).at_most(8).help("patches to choose from");
    section
        .add("decoys", decoys_,
             {{"other_image", Decoys::kOtherImage},
              {"elsewhere", Decoys::kElsewhere},
              {"transform", Decoys::kTransform},
              {"mixed", Decoys::kMixed}})
        .help(
            "what the wrong patches are: of other images, from elsewhere in the same image, mirrored, turned or "
            "recoloured, or of all kinds");
  }
  void resolve(Preset preset) override {
    if (preset == Preset::kHardened && decoys_ == Decoys::kMixed)
      fail(
          "tasks: masked_patch: decoys: mixed gives the truth away by its transforms; use preset: paper, or decoys: "
          "other_image, elsewhere or transform");
    if (preset == Preset::kHardened && decoys_ == Decoys::kTransform && candidates_ % 2 != 0)
      fail("tasks: masked_patch: decoys: transform shows patches in pairs; candidates must be even, found {}",
           candidates_);
  }
  int64_t answers() const override { return candidates_; }
  std::map<std::string, std::vector<std::string>> wordings() const override { return {{"", {"candidates"}}}; }
  std::string random_answer(Rng& rng) const override { return std::to_string(rng.between(1, candidates_)); }

  Draft draw(const Material& material, Preset preset) const override {
    const image::Image& picture = material.picture;
    const int shorter = std::min(picture.width, picture.height);
    const int low = std::max(kMinShownSide, (shorter + 3) / 4), high = shorter / 2;
    if (high < low) throw Unusable{fmt::format("{}x{} pixels leave no square to mask", picture.width, picture.height)};
    const int side = static_cast<int>(material.rng.between(low, high));
    const image::Box mask{static_cast<int>(material.rng.between(0, picture.width - side)),
                          static_cast<int>(material.rng.between(0, picture.height - side)), side, side};

    std::vector<Candidate> patches{{Kind::kTruth, mask, image::crop(picture, mask), {}}};
    const bool pairs = preset == Preset::kHardened && decoys_ == Decoys::kTransform;
    if (pairs) {
      draw_pairs(material, mask, patches);
    } else {
      while (static_cast<int64_t>(patches.size()) < candidates_)
        add_distinct(patches, [&] { return draw_decoy(material, mask, draw_kind(material.rng)); });
    }
    // The truth's place is uniform; the decoys' order is too.
    for (size_t i = patches.size(); i > 1; --i)
      std::swap(patches[i - 1], patches[static_cast<size_t>(material.rng.below(static_cast<int64_t>(i)))]);
    auto truth = static_cast<size_t>(
        std::find_if(patches.begin(), patches.end(), [](const Candidate& c) { return c.kind == Kind::kTruth; }) -
        patches.begin());
    if (material.wanted_answer) {
      std::swap(patches[truth], patches[static_cast<size_t>(*material.wanted_answer)]);
      truth = static_cast<size_t>(*material.wanted_answer);
    }

    Draft draft;
    image::Image masked = picture;
    for (int y = 0; y < side; ++y)
      std::fill_n(masked.at(mask.x, mask.y + y), static_cast<size_t>(side) * 3, uint8_t{128});
    draft.images.push_back(std::move(masked));
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (Candidate& patch : patches) {
      list.push_back({{"kind", kind_name(patch.kind)}, {"box", box_json(patch.box)}});
      if (!patch.source.empty()) list.back()["source"] = patch.source;
      draft.images.push_back(std::move(patch.pixels));
    }
    draft.fields = {{"candidates", std::to_string(candidates_)}};
    draft.answer = std::to_string(truth + 1);
    draft.meta = std::make_shared<nlohmann::ordered_json>(
        nlohmann::ordered_json{{"box", box_json(mask)},
                               {"candidates", list},
                               {"truth", truth + 1},
                               {"source_size", {picture.width, picture.height}},
                               {"crop", box_json(picture.box())}});
    return draft;
  }

 private:
  enum class Decoys { kOtherImage, kElsewhere, kTransform, kMixed };

  static constexpr double kMinDifference = 3;  // grey levels between any two candidates
  static constexpr int kTries = 40;

  [[nodiscard]] Kind draw_kind(Rng& rng) const {
    switch (decoys_) {
      case Decoys::kOtherImage:
        return Kind::kOtherImage;
      case Decoys::kElsewhere:
        return Kind::kElsewhere;
      case Decoys::kTransform:
        return kTransforms.at(static_cast<size_t>(rng.below(3)));
      case Decoys::kMixed:
        break;
    }
    static const std::vector<Kind> all{Kind::kOtherImage, Kind::kElsewhere, Kind::kMirrored, Kind::kRotated,
                                       Kind::kColour};
    return rng.pick(all);
  }

  static image::Image transformed(image::Image pixels, Kind kind, double hue) {
    if (kind == Kind::kMirrored) return image::mirror_horizontally(pixels);
    if (kind == Kind::kRotated) return image::rotate_quarters(pixels, 1);
    image::shift_hue(pixels, hue);
    return pixels;
  }
  static double draw_hue(Rng& rng) { return rng.uniform(0.15, 0.85); }

  // A square of the same picture that does not overlap the mask.
  static Candidate elsewhere(const Material& material, const image::Box& mask) {
    const image::Image& picture = material.picture;
    for (int attempt = 0; attempt < kTries; ++attempt) {
      const image::Box box{static_cast<int>(material.rng.between(0, picture.width - mask.width)),
                           static_cast<int>(material.rng.between(0, picture.height - mask.height)), mask.width,
                           mask.height};
      if (!box.overlaps(mask)) return {Kind::kElsewhere, box, image::crop(picture, box), {}};
    }
    throw Unusable{"no room for a patch beside the masked square"};
  }

  static Candidate draw_decoy(const Material& material, const image::Box& mask, Kind kind) {
    if (kind == Kind::kElsewhere) return elsewhere(material, mask);
    if (kind == Kind::kOtherImage) {
      for (int attempt = 0; attempt < kTries; ++attempt) {
        const Material::Other other = material.other();
        if (std::min(other.picture->width, other.picture->height) < mask.width) continue;
        const image::Box box{static_cast<int>(material.rng.between(0, other.picture->width - mask.width)),
                             static_cast<int>(material.rng.between(0, other.picture->height - mask.height)), mask.width,
                             mask.height};
        return {kind, box, image::crop(*other.picture, box), other.name};
      }
      throw Unusable{fmt::format("no other image is large enough for a patch of {} pixels", mask.width)};
    }
    return {kind, mask, transformed(image::crop(material.picture, mask), kind, draw_hue(material.rng)), {}};
  }

  // Adds a candidate that differs from all others.
  template <typename Draw>
  static void add_distinct(std::vector<Candidate>& patches, Draw draw) {
    for (int attempt = 0; attempt < kTries; ++attempt) {
      Candidate candidate = draw();
      if (std::all_of(patches.begin(), patches.end(), [&](const Candidate& p) {
            return image::mean_difference(p.pixels, candidate.pixels) >= kMinDifference;
          })) {
        patches.push_back(std::move(candidate));
        return;
      }
    }
    throw Unusable{"its patches look too much alike"};
  }

  void draw_pairs(const Material& material, const image::Box& mask, std::vector<Candidate>& patches) const {
    const Kind kind = kTransforms.at(static_cast<size_t>(material.rng.below(3)));
    const double hue = draw_hue(material.rng);
    for (int64_t pair = 0; pair < candidates_ / 2; ++pair) {
      if (pair > 0) add_distinct(patches, [&] { return elsewhere(material, mask); });
      const Candidate& plain = patches.back();
      const Candidate twin{kind, plain.box, transformed(plain.pixels, kind, hue), {}};
      add_distinct(patches, [&] { return twin; });
    }
  }

  int64_t candidates_ = 4;
  Decoys decoys_ = Decoys::kElsewhere;
};

}  // namespace

std::shared_ptr<Task> make_masked_patch() { return std::make_shared<MaskedPatch>(); }

}  // namespace ssl4rl::tasks
