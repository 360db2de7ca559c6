// odd_tile: one tile of the picture was mirrored or turned in its place: which one, and how?
#include <array>

#include "ssl4rl/base/error.h"
#include "ssl4rl/image/augment.h"
#include "tiles.h"

namespace ssl4rl::tasks {
namespace {

constexpr std::array kWays{"left-right", "top-bottom", "turned"};
constexpr int64_t kWayCount = kWays.size();

image::Image changed(const image::Image& tile, size_t way) {
  return way == 0   ? image::mirror_horizontally(tile)
         : way == 1 ? image::mirror_vertically(tile)
                    : image::rotate_quarters(tile, 2);
}

class OddTile final : public Task {
 public:
  std::string name() const override { return "odd_tile"; }
  std::shared_ptr<Task> clone() const override { return std::make_shared<OddTile>(*this); }
  std::vector<std::string> levels() const override {
    return {"2×2 tiles", "3×3 tiles", "2×2 trimmed tiles", "3×3 trimmed tiles", "4×4 trimmed tiles"};
  }
  void set_level(int64_t level) override {
    grid_.rows = grid_.cols = std::array{2, 3, 2, 3, 4}.at(static_cast<size_t>(level));
    grid_.trim = level >= 2 ? 0.06 : 0;
  }

  void describe(config::Section& section) override { grid_.describe(section); }
  void resolve(Preset) override {
    if (grid_.tiles() < 2) fail("tasks: odd_tile: rows × cols must be at least 2");
  }
  int64_t answers() const override { return grid_.tiles() * kWayCount; }
  AnswerKind answer_kind() const override { return AnswerKind::kTuple; }
  double chance(const std::string& reward) const override {
    const double tile = 1.0 / static_cast<double>(grid_.tiles()), way = 1.0 / kWayCount;
    return reward == "exact" ? tile * way : (tile + way) / 2;
  }
  std::map<std::string, std::vector<std::string>> wordings() const override {
    return {{"", {"rows", "cols", "tiles"}}};
  }
  std::string random_answer(Rng& rng) const override { return answer_text(rng.below(answers())); }

  Draft draw(const Material& material, Preset) const override {
    const image::Image& picture = material.picture;
    const auto boxes = grid_.boxes(picture.box());
    std::vector<image::Image> tiles;
    for (const image::Box& box : boxes) tiles.push_back(image::crop(picture, box));
    // All changes must show, or those that do would be likelier than others.
    for (const image::Image& tile : tiles)
      for (size_t way = 0; way < kWayCount; ++way)
        if (image::mean_difference(tile, changed(tile, way)) < kVisible)
          throw Unusable{"a tile looks the same when it is mirrored or turned"};
    const int64_t answer = material.wanted_answer.value_or(material.rng.below(answers()));
    const auto tile = static_cast<size_t>(answer / kWayCount), way = static_cast<size_t>(answer % kWayCount);
    tiles[tile] = changed(tiles[tile], way);

    Draft draft;
    draft.images.push_back(grid_.compose(tiles));
    draft.fields = {{"rows", std::to_string(grid_.rows)},
                    {"cols", std::to_string(grid_.cols)},
                    {"tiles", std::to_string(grid_.tiles())}};
    draft.answer = answer_text(answer);
    Json list = Json::array();
    for (const image::Box& box : boxes) list.push_back(box_json(box));
    draft.meta = make_meta(
        {{"rows", grid_.rows}, {"cols", grid_.cols}, {"tile", tile + 1}, {"change", kWays.at(way)}, {"boxes", list}},
        picture, picture.box());
    return draft;
  }

 private:
  static std::string answer_text(int64_t answer) {
    return fmt::format("{},{}", answer / kWayCount + 1, kWays.at(static_cast<size_t>(answer % kWayCount)));
  }

  Grid grid_{3, 3, 0};
};

}  // namespace

std::shared_ptr<Task> make_odd_tile() { return std::make_shared<OddTile>(); }

}  // namespace ssl4rl::tasks
