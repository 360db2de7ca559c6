// A model's weights split over the ranks (ZeRO, arXiv 1910.02054, stage 3; FSDP, arXiv 2304.11277): each rank holds its
// stretch of every tensor, and the whole of a block's only while the block computes. What is outside of blocks is
// whole for the length of some passes (SharedPasses), everything while the model samples or is evaluated
// (WholeWeights).
//
// Tensors keep their shape while their memory is gone; who reads one then reads nothing.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "ssl4rl/models/model.h"
#include "ssl4rl/train/shards.h"

namespace ssl4rl::train {

class ShardedWeights : public models::WeightKeeper {
 public:
  explicit ShardedWeights(const Communicator& communicator) : communicator_(communicator) {}

  /// Takes a parameter of the model (trained or not), of which this rank's stretch alone stays. Before the first use.
  void add(const models::Parameter& parameter);
  /// A parameter that this model has in common with another's.
  void share(const models::Parameter& parameter, const ShardedWeights& owner);

  [[nodiscard]] bool has(const at::Tensor& whole) const { return entries_.contains(whole.unsafeGetTensorImpl()); }
  /// This rank's stretch of a tensor, flat, which is the truth: the whole is made of it.
  [[nodiscard]] at::Tensor own(const at::Tensor& whole) const;
  /// The sum over ranks and passes of a block's gradient, this rank's stretch in float32 or float64, which is given
  /// away; undefined where there was no backward, or outside of blocks.
  [[nodiscard]] at::Tensor take_gradient(const at::Tensor& whole);
  void clear_gradients();

  /// A collective: on rank 0 the model with all that a checkpoint of it needs in the host's memory, else nullptr.
  [[nodiscard]] std::unique_ptr<models::Model> collect(models::Model& model) const;
  /// After the whole weights were changed (between bring_all and let_go_all).
  void take_over();

  [[nodiscard]] bool in_backward(models::Block block) const override;
  void bring(models::Block block) override;
  void let_go(models::Block block) override;
  void take_gradients(models::Block block) override;
  void no_images() override;
  void begin_pass(bool images_here, bool images_anywhere) override;
  void follow_forward() override;
  void follow_backward() override;
  void bring_all() override;
  void let_go_all() override;

 private:
  struct Entry {
    at::Tensor whole, own, gradient;
    models::Part part;
  };
  struct Unit {
    std::vector<Entry*> entries, trained;
    std::unique_ptr<Shards> weights, gradients;  // of entries, and of those that are trained
  };
  void enter(const models::Parameter& parameter, at::Tensor own);
  Unit& unit(models::Block block);
  void follow_forward(models::Block::Kind kind);
  void follow_backward(models::Block::Kind kind);

  const Communicator& communicator_;
  std::map<const c10::TensorImpl*, Entry> entries_;
  std::map<models::Block, Unit> units_;  // by kind, then in order
  bool all_here_ = false;
  bool images_here_ = false, images_anywhere_ = false;  // in this pass
};

/// A model's weights whole, on all ranks, while this lives. Stands behind an agreement of its own. Nothing happens
/// where the model's weights are not sharded.
class WholeWeights {
 public:
  WholeWeights(const models::Model& model, Communicator& communicator, const InterruptGuard& interrupt);
  ~WholeWeights();
  WholeWeights(const WholeWeights&) = delete;
  WholeWeights& operator=(const WholeWeights&) = delete;

 private:
  std::shared_ptr<models::WeightKeeper> keeper_;
};

/// Passes of some models over micro-batches. Where weights are sharded, all ranks make them together: as many as the
/// rank that has most. Models must compute in the order in which they are given, and backward in the opposite order.
class SharedPasses {
 public:
  enum class Direction { kForward, kForwardAndBackward };

  /// `interrupt`: stop between passes where it is asked for; null: do not.
  SharedPasses(std::vector<const models::Model*> models, Direction direction, Communicator& communicator,
               const InterruptGuard* interrupt);
  ~SharedPasses();
  SharedPasses(const SharedPasses&) = delete;
  SharedPasses& operator=(const SharedPasses&) = delete;

  /// Before each of this rank's passes.
  void begin(const models::PackedBatch& batch);
  /// Behind the last: takes part in what other ranks still have to do.
  void finish();

 private:
  bool begin(bool here, bool images);
  void let_go();

  std::vector<std::shared_ptr<models::WeightKeeper>> keepers_;  // none where nothing is sharded
  Direction direction_;
  Communicator& communicator_;
  const InterruptGuard* interrupt_;
};

}  // namespace ssl4rl::train
