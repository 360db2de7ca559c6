// The blocks of a model (the layers of its vision tower and of its decoder) and how one is run: as it is, computed
// again in backward, or with weights that are there only while it computes.
#pragma once

#include <ATen/core/Tensor.h>

#include <compare>
#include <cstdint>
#include <functional>
#include <memory>

namespace ssl4rl::models {

struct Block {
  enum class Kind { kOutside, kVision, kDecoder };  ///< outside of all blocks: embeddings, head, mergers …
  Kind kind = Kind::kOutside;
  int64_t index = 0;  ///< in its tower

  auto operator<=>(const Block&) const = default;
};

/// Holds a model's weights elsewhere and brings them where they are needed (train/sharded_weights.h). Several processes
/// do this together, so all must ask for the same blocks in the same order: a pass of a model is its vision blocks (if
/// any process has images in it) and its decoder blocks, and backward the same from the end. Who has no batch in a
/// pass, or no images, follows.
class WeightKeeper {
 public:
  virtual ~WeightKeeper() = default;

  // The model's calls.
  /// Whether backward comes to a block: something is trained in it or before it.
  [[nodiscard]] virtual bool in_backward(Block block) const = 0;
  virtual void bring(Block block) = 0;           ///< before it computes
  virtual void let_go(Block block) = 0;          ///< when it has
  virtual void take_gradients(Block block) = 0;  ///< when backward through it is done; lets go of it too
  virtual void no_images() = 0;                  ///< a batch has none

  // The calls of who runs the model.
  virtual void begin_pass(bool images_here, bool images_anywhere) = 0;
  virtual void follow_forward() = 0;  ///< without a batch, while others compute
  virtual void follow_backward() = 0;
  virtual void bring_all() = 0;  ///< until let_go_all()
  virtual void let_go_all() = 0;
};

struct BlockRunner {
  bool recompute = false;                ///< keep only each block's input for backward
  std::shared_ptr<WeightKeeper> keeper;  ///< recomputes too; null where the weights are there anyway

  /// f(x), for the block's `f`.
  [[nodiscard]] at::Tensor run(Block block, std::function<at::Tensor(const at::Tensor&)> f, const at::Tensor& x) const;
};

}  // namespace ssl4rl::models
