// jigsaw: which shown tile belongs at each place?
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>

#include "ssl4rl/base/error.h"
#include "ssl4rl/image/geometry.h"
#include "ssl4rl/tasks/task.h"

namespace ssl4rl::tasks {
namespace {

std::string list_text(const std::vector<int>& items) { return fmt::format("{}", fmt::join(items, ",")); }

class Jigsaw final : public Task {
 public:
  std::string name() const override { return "jigsaw"; }

  void describe(config::Section& section) override {
    section.add("rows", rows_).at_least(1).at_most(6).help("rows of tiles");
    section.add("cols", cols_).at_least(1).at_most(6).help("columns of tiles");
    section.add("show", show_, {{"tiles", Show::kTiles}, {"composite", Show::kComposite}})
        .help("tiles: each tile is an image of its own; composite: the shuffled tiles put together as one image");
    section.add("trim", trim_)
        .at_least(0)
        .at_most(0.2)
        .help("share of a tile's side that is cut from each of its edges, so that seams do not match");
    section.add("identity", identity_)
        .unset_means("false hardened, true paper")
        .help("whether the tiles may stand in their true order");
  }
  void resolve(Preset preset) override {
    if (!identity_) identity_ = preset == Preset::kPaper;
    if (tiles() < 2) fail("tasks: jigsaw: rows × cols must be at least 2");
  }
  int64_t answers() const override {
    int64_t permutations = 1;
    for (int64_t i = 2; i <= tiles(); ++i) permutations *= i;
    return tiles() <= 4 ? permutations - (allows_identity() ? 0 : 1) : 0;
  }
  std::string default_reward(Preset preset) const override {
    return preset == Preset::kPaper ? "fraction" : "permutation_fraction";
  }
  std::vector<std::string> rewards() const override { return {"fraction", "permutation_fraction", "exact"}; }
  // Without the identity, an order that moves every tile is right at one place in (n−1)! of the n!−1 cases.
  double chance(const std::string& reward) const override {
    const double all = std::tgamma(static_cast<double>(tiles()) + 1), legal = allows_identity() ? all : all - 1;
    return reward == "exact" ? 1 / legal : all / static_cast<double>(tiles()) / legal;
  }
  std::map<std::string, std::vector<std::string>> wordings() const override {
    return {{"tiles", {"rows", "cols", "example"}}, {"composite", {"rows", "cols", "example"}}};
  }
  std::string random_answer(Rng& rng) const override { return list_text(draw_order(rng)); }

  Draft draw(const Material& material, Preset) const override {
    const image::Image& picture = material.picture;
    const int width = picture.width / static_cast<int>(cols_), height = picture.height / static_cast<int>(rows_);
    const int cut_x = static_cast<int>(std::lround(width * trim_)),
              cut_y = static_cast<int>(std::lround(height * trim_));
    const int shown_width = width - 2 * cut_x, shown_height = height - 2 * cut_y;
    if (std::min(shown_width, shown_height) < kMinShownSide)
      throw Unusable{fmt::format("tiles of {}x{} pixels", shown_width, shown_height)};

    // order[p]: number of the shown tile that belongs at place p; shown[i]: place of the i-th shown tile. Both 1-based.
    const std::vector<int> order =
        material.wanted_answer ? nth_order(*material.wanted_answer) : draw_order(material.rng);
    std::vector<int> shown(order.size());
    for (size_t p = 0; p < order.size(); ++p) shown[static_cast<size_t>(order[p] - 1)] = static_cast<int>(p) + 1;

    Draft draft;
    nlohmann::ordered_json boxes = nlohmann::ordered_json::array();
    std::vector<image::Image> tiles;
    for (const int place : shown) {
      const int row = (place - 1) / static_cast<int>(cols_), column = (place - 1) % static_cast<int>(cols_);
      const image::Box box{column * width + cut_x, row * height + cut_y, shown_width, shown_height};
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
    draft.meta = std::make_shared<nlohmann::ordered_json>(
        nlohmann::ordered_json{{"rows", rows_},
                               {"cols", cols_},
                               {"order", order},
                               {"shown", shown},
                               {"boxes", boxes},
                               {"source_size", {picture.width, picture.height}},
                               {"crop", box_json(picture.box())}});
    return draft;
  }

 private:
  enum class Show { kTiles, kComposite };

  [[nodiscard]] int64_t tiles() const { return rows_ * cols_; }
  [[nodiscard]] bool allows_identity() const { return identity_.value_or(false); }

  [[nodiscard]] std::vector<int> draw_order(Rng& rng) const {
    std::vector<int> order(static_cast<size_t>(tiles()));
    do {
      std::iota(order.begin(), order.end(), 1);
      rng.shuffle(order);
    } while (!allows_identity() && std::is_sorted(order.begin(), order.end()));
    return order;
  }

  // The n-th permutation in lexicographic order; without the identity, the count starts behind it.
  [[nodiscard]] std::vector<int> nth_order(int64_t n) const {
    std::vector<int> order(static_cast<size_t>(tiles()));
    std::iota(order.begin(), order.end(), 1);
    for (int64_t i = allows_identity() ? 0 : -1; i < n; ++i) std::next_permutation(order.begin(), order.end());
    return order;
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
