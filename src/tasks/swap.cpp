// swap: which two tiles of the picture (quadrants, with 2×2) were exchanged?
#include <array>

#include "ssl4rl/base/error.h"
#include "ssl4rl/image/augment.h"
#include "tiles.h"

namespace ssl4rl::tasks {
namespace {

class Swap final : public Task {
 public:
  std::string name() const override { return "swap"; }
  std::shared_ptr<Task> clone() const override { return std::make_shared<Swap>(*this); }
  std::vector<std::string> levels() const override {
    return {"2×2 tiles", "2×2 trimmed tiles", "2×3 trimmed tiles", "3×3 trimmed tiles", "4×4 trimmed tiles"};
  }
  void set_level(int64_t level) override {
    constexpr std::array<std::array<int64_t, 2>, 5> kGrids{{{2, 2}, {2, 2}, {2, 3}, {3, 3}, {4, 4}}};
    grid_ = {kGrids.at(static_cast<size_t>(level))[0], kGrids.at(static_cast<size_t>(level))[1], level >= 1 ? 0.06 : 0};
  }

  void describe(config::Section& section) override { grid_.describe(section); }
  void resolve(Preset) override {
    if (grid_.tiles() < 3) fail("tasks: swap: rows × cols must be at least 3");
  }
  int64_t answers() const override { return grid_.tiles() * (grid_.tiles() - 1) / 2; }
  AnswerKind answer_kind() const override { return AnswerKind::kTuple; }
  // The smaller number is 1, and the larger one n, in n−1 of the n(n−1)/2 pairs each.
  double chance(const std::string& reward) const override {
    return reward == "exact" ? 1.0 / static_cast<double>(answers()) : 2.0 / static_cast<double>(grid_.tiles());
  }
  std::map<std::string, std::vector<std::string>> wordings() const override {
    return {{"", {"rows", "cols", "tiles"}}};
  }
  std::string random_answer(Rng& rng) const override {
    const auto [a, b] = pair(rng.below(answers()));
    return fmt::format("{},{}", a + 1, b + 1);
  }

  Draft draw(const Material& material, Preset) const override {
    const image::Image& picture = material.picture;
    const auto boxes = grid_.boxes(picture.box());
    std::vector<image::Image> tiles;
    for (const image::Box& box : boxes) tiles.push_back(image::crop(picture, box));
    for (size_t a = 0; a < tiles.size(); ++a)  // all exchanges must show
      for (size_t b = 0; b < a; ++b)
        if (image::mean_difference(tiles[a], tiles[b]) < kVisible) throw Unusable{"two of its tiles look alike"};
    const auto [a, b] = pair(material.wanted_answer.value_or(material.rng.below(answers())));
    std::swap(tiles[a], tiles[b]);

    Draft draft;
    draft.images.push_back(grid_.compose(tiles));
    draft.fields = {{"rows", std::to_string(grid_.rows)},
                    {"cols", std::to_string(grid_.cols)},
                    {"tiles", std::to_string(grid_.tiles())}};
    draft.answer = fmt::format("{},{}", a + 1, b + 1);
    Json list = Json::array();
    for (const image::Box& box : boxes) list.push_back(box_json(box));
    draft.meta = make_meta({{"rows", grid_.rows}, {"cols", grid_.cols}, {"swapped", {a + 1, b + 1}}, {"boxes", list}},
                           picture, picture.box());
    return draft;
  }

 private:
  // The n-th pair of different tiles, the smaller one first.
  [[nodiscard]] std::pair<size_t, size_t> pair(int64_t n) const {
    int64_t a = 0;
    for (int64_t rest = grid_.tiles() - 1; n >= rest; --rest) n -= rest, ++a;
    return {static_cast<size_t>(a), static_cast<size_t>(a + 1 + n)};
  }

  Grid grid_;
};

}  // namespace

std::shared_ptr<Task> make_swap() { return std::make_shared<Swap>(); }

}  // namespace ssl4rl::tasks
