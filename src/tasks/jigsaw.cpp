// jigsaw: which shown tile belongs at each place?
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>

#include "draft.h"
#include "ssl4rl/base/error.h"

namespace ssl4rl::tasks {
namespace {

class Jigsaw final : public Task {
 public:
  std::string name() const override { return "jigsaw"; }
  std::shared_ptr<Task> clone() const override { return std::make_shared<Jigsaw>(*this); }
  bool in_paper() const override { return true; }
  std::vector<std::string> levels() const override {
    return {"1×3 tiles", "2×2 tiles", "2×3 tiles", "3×3 tiles", "4×4 tiles", "5×5 tiles", "6×6 tiles"};
  }
  void set_level(int64_t level) override {
    constexpr std::array<std::array<int64_t, 2>, 7> kGrids{{{1, 3}, {2, 2}, {2, 3}, {3, 3}, {4, 4}, {5, 5}, {6, 6}}};
    std::tie(rows_, cols_) =
        std::pair(kGrids.at(static_cast<size_t>(level))[0], kGrids.at(static_cast<size_t>(level))[1]);
  }

  void describe(config::Section& section) override {
    section.add("rows", rows_).at_least(1).at_most(6).help("rows of tiles");
    section.add("cols", cols_).at_least(1).at_most(6).help("columns of tiles");
    section.add("show", show_, {{"tiles", Show::kTiles}, {"composite", Show::kComposite}})
        .help("tiles: each tile is an image of its own; composite: the shuffled tiles put together as one image");
    section.add("trim", trim_)
        .at_least(0)
        .at_most(0.2)
        .help("share of a tile's shorter side that is cut from each of its edges, so that seams do not match");
    section.add("identity", identity_)
        .unset_means("false hardened, true paper")
        .help("whether the tiles may stand in their true order");
  }
  void resolve(Preset preset) override {
    if (!identity_) identity_ = preset == Preset::kPaper;
    if (tiles() < 2) fail("tasks: jigsaw: rows × cols must be at least 2");
  }
  int64_t answers() const override { return tiles() <= 4 ? factorial(tiles()) - (allows_identity() ? 0 : 1) : 0; }
  AnswerKind answer_kind() const override { return AnswerKind::kPermutation; }
  int64_t columns() const override { return cols_; }
  std::string default_reward(Preset preset) const override {
    return preset == Preset::kPaper ? "fraction" : "permutation_fraction";
  }
  double chance(const std::string& reward) const override {
    return permutation_chance(reward, tiles(), cols_, allows_identity());
  }
  std::map<std::string, std::vector<std::string>> wordings() const override {
    return {{"tiles", {"rows", "cols", "example"}}, {"composite", {"rows", "cols", "example"}}};
  }
  std::string random_answer(Rng& rng) const override { return list_text(draw_order(rng)); }

  Draft draw(const Material& material, Preset) const override {
    const image::Image& picture = material.picture;
    const int width = picture.width / static_cast<int>(cols_), height = picture.height / static_cast<int>(rows_);
    const int cut = static_cast<int>(std::lround(std::min(width, height) * trim_));
    const int shown_width = width - 2 * cut, shown_height = height - 2 * cut;
    check_shown(shown_width, shown_height, "tiles");

    // order[p]: number of the shown tile that belongs at place p; shown[i]: place of the i-th shown tile. Both 1-based.
    // The first of all orders in lexicographic order is the identity.
    const std::vector<int> order = material.wanted_answer
                                       ? nth_order(tiles(), *material.wanted_answer + (allows_identity() ? 0 : 1))
                                       : draw_order(material.rng);
    const std::vector<int> shown = inverse(order);

    Draft draft;
    Json boxes = Json::array();
    std::vector<image::Image> tiles;
    for (const int place : shown) {
      const int row = (place - 1) / static_cast<int>(cols_), column = (place - 1) % static_cast<int>(cols_);
      const image::Box box{column * width + cut, row * height + cut, shown_width, shown_height};
      boxes.push_back(box_json(box));
      tiles.push_back(image::crop(picture, box));
    }
    if (show_ == Show::kTiles) {
      draft.images = std::move(tiles);
    } else {
      draft.images.push_back(compose(tiles, shown_width, shown_height));
    }
    draft.variant = show_ == Show::kTiles ? "tiles" : "composite";
    draft.fields = {{"rows", std::to_string(rows_)},
                    {"cols", std::to_string(cols_)},
                    {"count", std::to_string(order.size())},
                    {"example", example()}};
    draft.answer = list_text(order);
    draft.meta = make_meta({{"rows", rows_}, {"cols", cols_}, {"order", order}, {"shown", shown}, {"boxes", boxes}},
                           picture, picture.box());
    return draft;
  }

 private:
  enum class Show { kTiles, kComposite };

  [[nodiscard]] int64_t tiles() const { return rows_ * cols_; }
  [[nodiscard]] bool allows_identity() const { return identity_.value_or(false); }

  [[nodiscard]] std::vector<int> draw_order(Rng& rng) const {
    while (true) {
      std::vector<int> order = random_order(tiles(), rng);
      if (allows_identity() || !std::is_sorted(order.begin(), order.end())) return order;
    }
  }

  // A worked example of the convention: tiles shown moved by one place. It is not its own inverse (but for two tiles,
  // where nothing else exists), so that reading it the wrong way round does not fit.
  [[nodiscard]] std::string example() const {
    std::vector<int> order(static_cast<size_t>(tiles()));
    std::iota(order.begin(), order.end(), 1);
    std::rotate(order.begin(), order.end() - 1, order.end());
    return list_text(order);
  }

  [[nodiscard]] image::Image compose(const std::vector<image::Image>& tiles, int width, int height) const {
    image::Image out(width * static_cast<int>(cols_), height * static_cast<int>(rows_));
    for (size_t i = 0; i < tiles.size(); ++i) {
      const int left = static_cast<int>(i) % static_cast<int>(cols_) * width,
                top = static_cast<int>(i) / static_cast<int>(cols_) * height;
      for (int y = 0; y < height; ++y)
        std::memcpy(out.at(left, top + y), tiles[i].row(y), static_cast<size_t>(width) * 3);
    }
    return out;
  }

  int64_t rows_ = 2, cols_ = 2;
  Show show_ = Show::kTiles;
  double trim_ = 0;
  std::optional<bool> identity_;
};

}  // namespace

std::shared_ptr<Task> make_jigsaw() { return std::make_shared<Jigsaw>(); }

}  // namespace ssl4rl::tasks
