// frames: in which order were these frames of one numbered sequence taken?
#include <algorithm>
#include <array>

#include "draft.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/image/augment.h"

namespace ssl4rl::tasks {
namespace {

class Frames final : public Task {
 public:
  std::string name() const override { return "frames"; }
  std::shared_ptr<Task> clone() const override { return std::make_shared<Frames>(*this); }
  std::vector<std::string> levels() const override {
    return {"3 frames, 8 apart", "4 frames, 4 apart", "5 frames, 2 apart", "6 frames in a row"};
  }
  void set_level(int64_t level) override {
    count_ = 3 + level;
    stride_ = std::array{8, 4, 2, 1}.at(static_cast<size_t>(level));
  }

  void describe(config::Section& section) override {
    section.add("frames", count_).at_least(2).at_most(8).help("frames to order");
    section.add("stride", stride_).at_least(1).at_most(1000).help("every how many frames of the sequence one is shown");
  }
  void resolve(Preset) override {}
  int64_t answers() const override { return count_ <= 4 ? factorial(count_) : 0; }
  AnswerKind answer_kind() const override { return AnswerKind::kPermutation; }
  std::string default_reward(Preset) const override { return "displacement"; }
  double chance(const std::string& reward) const override { return permutation_chance(reward, count_, 0, true); }
  std::map<std::string, std::vector<std::string>> wordings() const override { return {{"", {"example"}}}; }
  std::string random_answer(Rng& rng) const override { return list_text(random_order(count_, rng)); }

  Draft draw(const Material& material, Preset) const override {
    const Material::Sequence sequence = material.sequence();
    const int64_t reach = (count_ - 1) * stride_;
    if (sequence.count <= reach)
      throw Unusable{fmt::format("its sequence has {} frames, {} are needed", sequence.count, reach + 1)};
    // The picture is one of the frames shown; which one is uniform, as far as the sequence goes.
    std::vector<int64_t> starts;
    for (int64_t k = 0; k < count_; ++k)
      if (const int64_t start = sequence.position - k * stride_; start >= 0 && start + reach < sequence.count)
        starts.push_back(start);
    const int64_t start = starts.empty() ? material.rng.below(sequence.count - reach) : material.rng.pick(starts);
    std::vector<std::shared_ptr<const image::Image>> frames;
    for (int64_t k = 0; k < count_; ++k) {
      frames.push_back(sequence.load(start + k * stride_));
      if (!frames.back())
        throw Unusable{fmt::format("{} of its sequence cannot be used", sequence.name(start + k * stride_))};
      const auto& first = *frames.front();
      if (frames.back()->width != first.width || frames.back()->height != first.height)
        throw Unusable{"the frames of its sequence differ in size"};
      if (k > 0 && image::mean_difference(*frames[static_cast<size_t>(k) - 1], *frames.back()) < kMinDifference)
        throw Unusable{"nothing moves between its frames"};
    }
    // order[r]: the image that is the (r+1)-th frame.
    const std::vector<int> order =
        material.wanted_answer ? nth_order(count_, *material.wanted_answer) : random_order(count_, material.rng);
    Draft draft;
    Json names = Json::array();
    for (const int frame : inverse(order)) {
      draft.images.push_back(*frames[static_cast<size_t>(frame - 1)]);
      names.push_back(sequence.name(start + (frame - 1) * stride_));
    }
    std::vector<int> example = nth_order(count_, 0);
    std::rotate(example.begin(), example.end() - 1, example.end());
    draft.fields = {{"example", list_text(example)}};
    draft.answer = list_text(order);
    draft.meta = make_meta({{"order", order}, {"frames", names}}, material.picture, material.picture.box());
    return draft;
  }

 private:
  static constexpr double kMinDifference = 0.5;  // grey levels between one frame and the next

  int64_t count_ = 4, stride_ = 4;
};

}  // namespace

std::shared_ptr<Task> make_frames() { return std::make_shared<Frames>(); }

}  // namespace ssl4rl::tasks
