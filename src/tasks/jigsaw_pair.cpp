// jigsaw_pair: where does the second tile lie, seen from the first one?
#include <array>

#include "ssl4rl/base/error.h"
#include "ssl4rl/image/augment.h"
#include "tiles.h"

namespace ssl4rl::tasks {
namespace {

struct Relation {
  const char* name;
  int down, right;
};
constexpr std::array<Relation, 8> kRelations{{{"above", -1, 0},
                                              {"below", 1, 0},
                                              {"left", 0, -1},
                                              {"right", 0, 1},
                                              {"above-left", -1, -1},
                                              {"above-right", -1, 1},
                                              {"below-left", 1, -1},
                                              {"below-right", 1, 1}}};

class JigsawPair final : public Task {
 public:
  std::string name() const override { return "jigsaw_pair"; }
  std::shared_ptr<Task> clone() const override { return std::make_shared<JigsawPair>(*this); }
  std::vector<std::string> levels() const override {
    return {"4 relations, tiles that touch", "8 relations, tiles that touch", "8 relations, trimmed tiles",
            "8 relations, trimmed and recoloured tiles"};
  }
  void set_level(int64_t level) override {
    relations_ = level == 0 ? 4 : 8;
    grid_.trim = level >= 2 ? 0.1 : 0;
    jitter_ = level == 3 ? 0.4 : 0;
  }

  void describe(config::Section& section) override {
    grid_.describe(section);
    section.add("relations", relations_)
        .at_least(4)
        .at_most(8)
        .help("4: above, below, left, right; 8: the diagonal ones too");
    section.add("jitter", jitter_).at_least(0).at_most(1).help("strength of the colour changes of each tile");
  }
  void resolve(Preset) override {
    if (relations_ != 4 && relations_ != 8)
      fail("tasks: jigsaw_pair: relations: expected 4 or 8, found {}", relations_);
    if (grid_.rows < 2 || grid_.cols < 2) fail("tasks: jigsaw_pair: rows and cols must be at least 2");
  }
  int64_t answers() const override { return relations_; }
  std::map<std::string, std::vector<std::string>> wordings() const override {
    return {{"", {"rows", "cols", "answers"}}};
  }
  std::string random_answer(Rng& rng) const override {
    return kRelations.at(static_cast<size_t>(rng.below(relations_))).name;
  }

  Draft draw(const Material& material, Preset) const override {
    const image::Image& picture = material.picture;
    const auto boxes = grid_.boxes(picture.box());
    const Relation& relation =
        kRelations.at(static_cast<size_t>(material.wanted_answer.value_or(material.rng.below(relations_))));
    const auto place = [&](int step, int64_t count) {
      return material.rng.between(step < 0 ? 1 : 0, count - 1 - (step > 0 ? 1 : 0));
    };
    const int64_t row = place(relation.down, grid_.rows), column = place(relation.right, grid_.cols);
    const int64_t first = row * grid_.cols + column,
                  second = (row + relation.down) * grid_.cols + column + relation.right;

    Draft draft;
    for (const int64_t tile : {first, second}) {
      draft.images.push_back(image::crop(picture, boxes[static_cast<size_t>(tile)]));
      if (jitter_ > 0)
        image::colour_jitter(draft.images.back(), {jitter_, jitter_, jitter_, jitter_ / 4}, material.rng);
    }
    std::string names;
    for (int64_t i = 0; i < relations_; ++i)
      names += fmt::format("{}{}", i ? ", " : "", kRelations[static_cast<size_t>(i)].name);
    draft.fields = {{"rows", std::to_string(grid_.rows)}, {"cols", std::to_string(grid_.cols)}, {"answers", names}};
    draft.answer = relation.name;
    draft.meta = make_meta(
        {{"rows", grid_.rows},
         {"cols", grid_.cols},
         {"relation", relation.name},
         {"tiles", {first + 1, second + 1}},
         {"boxes", {box_json(boxes[static_cast<size_t>(first)]), box_json(boxes[static_cast<size_t>(second)])}}},
        picture, picture.box());
    return draft;
  }

 private:
  Grid grid_{3, 3, 0};
  int64_t relations_ = 8;
  double jitter_ = 0;
};

}  // namespace

std::shared_ptr<Task> make_jigsaw_pair() { return std::make_shared<JigsawPair>(); }

}  // namespace ssl4rl::tasks
