// masked_patch: which of the candidates was cut out of the grey square?
//
// A transform of the truth among the candidates would give the truth away (its twin is there); hardened therefore shows
// transforms in pairs: the truth, its transform, another patch, and the same transform of that one. Patches of one
// picture are drawn as disjoint squares of which one, uniformly, becomes the truth: were the truth drawn first and the
// decoys around it, they would lie nearer to the edges, and overlap each other but never the truth. With transforms the
// picture itself is first mirrored, turned or recoloured at random, so that a patch and its transform are equally
// natural.
#include <algorithm>
#include <array>
#include <cmath>

#include "draft.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/image/augment.h"

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
  std::shared_ptr<Task> clone() const override { return std::make_shared<MaskedPatch>(*this); }
  bool in_paper() const override { return true; }
  std::vector<std::string> levels() const override {
    return {"2 patches, the other one of another image", "4 patches, of other images", "4 patches of the same image",
            "4 patches, transforms in pairs", "6 patches, transforms in pairs"};
  }
  void set_level(int64_t level) override {
    candidates_ = std::array{2, 4, 4, 4, 6}.at(static_cast<size_t>(level));
    decoys_ = level <= 1 ? Decoys::kOtherImage : level == 2 ? Decoys::kElsewhere : Decoys::kTransform;
  }

  void describe(config::Section& section) override {
    section.add("candidates", candidates_).at_least(2).at_most(8).help("patches to choose from");
    section
        .add("decoys", decoys_,
             {{"by_preset", Decoys::kByPreset},
              {"other_image", Decoys::kOtherImage},
              {"elsewhere", Decoys::kElsewhere},
              {"mirrored", Decoys::kMirrored},
              {"rotated", Decoys::kRotated},
              {"colour", Decoys::kColour},
              {"transform", Decoys::kTransform},
              {"mixed", Decoys::kMixed}})
        .help(
            "what the wrong patches are: by_preset = elsewhere hardened, mixed paper; of other images; from elsewhere "
            "in the same image; mirrored, turned by 90° or recoloured (transform: one of the three); of all kinds");
  }
  void resolve(Preset preset) override {
    if (decoys_ == Decoys::kByPreset) decoys_ = preset == Preset::kHardened ? Decoys::kElsewhere : Decoys::kMixed;
    if (preset == Preset::kHardened && decoys_ == Decoys::kMixed)
      fail(
          "tasks: masked_patch: decoys: mixed gives the truth away by its transforms; use preset: paper, or another "
          "kind of decoys");
    if (preset == Preset::kHardened && in_pairs() && candidates_ % 2 != 0)
      fail("tasks: masked_patch: these decoys are shown in pairs; candidates must be even, found {}", candidates_);
  }
  int64_t answers() const override { return candidates_; }
  std::map<std::string, std::vector<std::string>> wordings() const override { return {{"", {"candidates"}}}; }
  std::string random_answer(Rng& rng) const override { return std::to_string(rng.between(1, candidates_)); }

  Draft draw(const Material& material, Preset preset) const override {
    const bool pairs = preset == Preset::kHardened && in_pairs();
    const Kind transform = pairs ? draw_kind(material.rng) : Kind::kTruth;
    const Change change = pairs ? draw_change(transform, material.rng) : Change{};
    const image::Image changed = pairs ? applied(material.picture, change) : image::Image();
    const image::Image& picture = pairs ? changed : material.picture;
    const bool together = pairs || (preset == Preset::kHardened && decoys_ == Decoys::kElsewhere);
    const int64_t squares = !together ? 1 : pairs ? candidates_ / 2 : candidates_;
    const auto [low, high] = sides(picture, squares);
    if (high < low) throw Unusable{fmt::format("{}x{} pixels leave no square to mask", picture.width, picture.height)};
    const int side = static_cast<int>(material.rng.between(low, high));
    std::vector<Candidate> patches;
    for (int attempt = 0; patches.empty(); ++attempt) {
      if (attempt == kTries) throw Unusable{"its patches look too much alike"};
      const std::vector<image::Box> boxes = together ? disjoint_squares(picture, side, material.rng)
                                                     : std::vector{any_square(picture, side, material.rng)};
      patches = pairs      ? draw_pairs(material, picture, transform, change, boxes)
                : together ? draw_elsewhere(picture, boxes)
                           : draw_alone(material, boxes[0]);
    }
    const image::Box mask = patches.front().box;
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
    Json list = Json::array();
    for (Candidate& patch : patches) {
      list.push_back({{"kind", kind_name(patch.kind)}, {"box", box_json(patch.box)}});
      if (!patch.source.empty()) list.back()["source"] = patch.source;
      draft.images.push_back(std::move(patch.pixels));
    }
    draft.fields = {{"candidates", std::to_string(candidates_)}};
    draft.answer = std::to_string(truth + 1);
    Json own{{"box", box_json(mask)}, {"candidates", list}, {"truth", truth + 1}};
    // The boxes are those of the picture so changed.
    if (transform == Kind::kMirrored) own["mirrored"] = change.mirrored;
    if (transform == Kind::kRotated) own["turned"] = 90 * change.quarters;
    if (transform == Kind::kColour) own["hue"] = change.hue;
    draft.meta = make_meta(own, material.picture, material.picture.box());
    return draft;
  }

 private:
  enum class Decoys { kByPreset, kOtherImage, kElsewhere, kMirrored, kRotated, kColour, kTransform, kMixed };
  [[nodiscard]] bool in_pairs() const {
    return decoys_ == Decoys::kMirrored || decoys_ == Decoys::kRotated || decoys_ == Decoys::kColour ||
           decoys_ == Decoys::kTransform;
  }

  static constexpr double kMinDifference = 3;  // grey levels between any two candidates
  static constexpr int kTries = 40;

  [[nodiscard]] Kind draw_kind(Rng& rng) const {
    switch (decoys_) {
      case Decoys::kOtherImage:
        return Kind::kOtherImage;
      case Decoys::kElsewhere:
        return Kind::kElsewhere;
      case Decoys::kMirrored:
        return Kind::kMirrored;
      case Decoys::kRotated:
        return Kind::kRotated;
      case Decoys::kColour:
        return Kind::kColour;
      case Decoys::kTransform:
        return kTransforms.at(static_cast<size_t>(rng.below(3)));
      case Decoys::kByPreset:
      case Decoys::kMixed:
        break;
    }
    static const std::vector<Kind> all{Kind::kOtherImage, Kind::kElsewhere, Kind::kMirrored, Kind::kRotated,
                                       Kind::kColour};
    return rng.pick(all);
  }

  // A mirroring, a turn, and a shift of hue.
  struct Change {
    bool mirrored = false;
    int quarters = 0;
    double hue = 0;
  };
  static image::Image applied(image::Image pixels, const Change& change) {
    if (change.mirrored) pixels = image::mirror_horizontally(pixels);
    if (change.quarters != 0) pixels = image::rotate_quarters(pixels, change.quarters);
    if (change.hue != 0) image::shift_hue(pixels, change.hue);
    return pixels;
  }
  // Any change of the kind, uniformly.
  static Change draw_change(Kind kind, Rng& rng) {
    if (kind == Kind::kMirrored) return {.mirrored = rng.chance(0.5)};
    if (kind == Kind::kRotated) return {.quarters = static_cast<int>(rng.below(4))};
    return {.hue = rng.uniform()};
  }
  // The change that makes a decoy.
  static Change draw_transform(Kind kind, Rng& rng) {
    if (kind == Kind::kMirrored) return {.mirrored = true};
    if (kind == Kind::kRotated) return {.quarters = 1};
    return {.hue = rng.uniform(0.15, 0.85)};
  }

  // The masked square's sides: a quarter to a half of the picture's shorter side, as far as `squares` of them fit.
  static std::pair<int, int> sides(const image::Image& picture, int64_t squares) {
    const int shorter = std::min(picture.width, picture.height);
    int high = shorter / 2;
    while (high > 0 && static_cast<int64_t>(picture.width / high) * (picture.height / high) < squares) --high;
    return {std::max(kMinShownSide, (shorter + 3) / 4), high};
  }

  static image::Box any_square(const image::Image& picture, int side, Rng& rng) {
    return {static_cast<int>(rng.between(0, picture.width - side)),
            static_cast<int>(rng.between(0, picture.height - side)), side, side};
  }

  // As many squares as fit side by side, in random order: lines of squares with random gaps, along either axis.
  static std::vector<image::Box> disjoint_squares(const image::Image& picture, int side, Rng& rng) {
    const auto places = [&](int length) {
      std::vector<int> gaps(static_cast<size_t>(length / side));
      for (int& gap : gaps) gap = static_cast<int>(rng.between(0, length % side));
      std::sort(gaps.begin(), gaps.end());
      for (size_t i = 0; i < gaps.size(); ++i) gaps[i] += static_cast<int>(i) * side;
      return gaps;
    };
    const bool in_rows = rng.chance(0.5);
    std::vector<image::Box> boxes;
    for (const int across : places(in_rows ? picture.height : picture.width))
      for (const int along : places(in_rows ? picture.width : picture.height))
        boxes.push_back(in_rows ? image::Box{along, across, side, side} : image::Box{across, along, side, side});
    rng.shuffle(boxes);
    return boxes;
  }

  // A square of the same picture that does not overlap the mask.
  static Candidate elsewhere(const Material& material, const image::Box& mask) {
    for (int attempt = 0; attempt < kTries; ++attempt) {
      const image::Box box = any_square(material.picture, mask.width, material.rng);
      if (!box.overlaps(mask)) return {Kind::kElsewhere, box, image::crop(material.picture, box), {}};
    }
    throw Unusable{"no room for a patch beside the masked square"};
  }

  // A square of another picture that might have been that one's masked square: so many sides are possible there, and
  // each is as likely, that the truth and the decoys come out of one law.
  static Candidate of_other_image(const Material& material, int side) {
    for (int attempt = 0; attempt < kTries; ++attempt) {
      const Material::Other other = material.other();
      const auto [low, high] = sides(*other.picture, 1);
      const int fewest = side - std::max(kMinShownSide, (2 * side + 3) / 4) + 1;
      if (side < low || side > high || !material.rng.chance(static_cast<double>(fewest) / (high - low + 1))) continue;
      const image::Box box = any_square(*other.picture, side, material.rng);
      return {Kind::kOtherImage, box, image::crop(*other.picture, box), other.name};
    }
    throw Unusable{fmt::format("no other image has a size that fits a patch of {} pixels", side)};
  }

  static Candidate draw_decoy(const Material& material, const image::Box& mask, Kind kind) {
    if (kind == Kind::kElsewhere) return elsewhere(material, mask);
    if (kind == Kind::kOtherImage) return of_other_image(material, mask.width);
    return {kind, mask, applied(image::crop(material.picture, mask), draw_transform(kind, material.rng)), {}};
  }

  static Candidate plain(Kind kind, const image::Image& picture, const image::Box& box) {
    return {kind, box, image::crop(picture, box), {}};
  }

  // Adds a candidate if it differs from all others.
  static bool add(std::vector<Candidate>& patches, Candidate candidate) {
    const auto differs = [&](const Candidate& p) {
      return image::mean_difference(p.pixels, candidate.pixels) >= kMinDifference;
    };
    if (!std::all_of(patches.begin(), patches.end(), differs)) return false;
    patches.push_back(std::move(candidate));
    return true;
  }

  // The following give the truth first, or nothing where two patches look alike.
  [[nodiscard]] std::vector<Candidate> draw_elsewhere(const image::Image& picture,
                                                      const std::vector<image::Box>& boxes) const {
    std::vector<Candidate> patches{plain(Kind::kTruth, picture, boxes[0])};
    for (size_t i = 1; i < static_cast<size_t>(candidates_); ++i)
      if (!add(patches, plain(Kind::kElsewhere, picture, boxes[i]))) return {};
    return patches;
  }
  [[nodiscard]] std::vector<Candidate> draw_pairs(const Material& material, const image::Image& picture, Kind kind,
                                                  const Change& change, const std::vector<image::Box>& boxes) const {
    const Change transform = draw_transform(kind, material.rng);
    std::vector<Candidate> patches;
    for (size_t pair = 0; pair < static_cast<size_t>(candidates_ / 2); ++pair) {
      Candidate original = plain(pair == 0 ? Kind::kTruth : Kind::kElsewhere, picture, boxes[pair]);
      // Hues are shifted once, from the source's, for the twin as for the original: twice would leave its traces.
      Candidate twin{kind, original.box, {}, {}};
      twin.pixels = kind == Kind::kColour
                        ? applied(image::crop(material.picture, original.box), {.hue = change.hue + transform.hue})
                        : applied(original.pixels, transform);
      if (!add(patches, std::move(original)) || !add(patches, std::move(twin))) return {};
    }
    return patches;
  }
  [[nodiscard]] std::vector<Candidate> draw_alone(const Material& material, const image::Box& mask) const {
    std::vector<Candidate> patches{plain(Kind::kTruth, material.picture, mask)};
    for (int attempt = 0; static_cast<int64_t>(patches.size()) < candidates_; ++attempt) {
      if (attempt == kTries) return {};
      (void)add(patches, draw_decoy(material, mask, draw_kind(material.rng)));
    }
    return patches;
  }

  int64_t candidates_ = 4;
  Decoys decoys_ = Decoys::kByPreset;
};

}  // namespace

std::shared_ptr<Task> make_masked_patch() { return std::make_shared<MaskedPatch>(); }

}  // namespace ssl4rl::tasks
