#include "ssl4rl/train/sharded_weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "ssl4rl/base/error.h"
#include "ssl4rl/models/lora.h"

namespace ssl4rl::train {

using at::Tensor;
using models::Block;

namespace {

// Gives a tensor memory, or takes it away.
void set_room(const Tensor& tensor, bool there) {
  c10::StorageImpl* const storage = tensor.storage().unsafeGetStorageImpl();
  const size_t bytes = there ? tensor.nbytes() : 0;
  storage->set_data_ptr_noswap(storage->allocator()->allocate(bytes));
  storage->set_nbytes(bytes);
}

bool trained(const Tensor& tensor) { return tensor.requires_grad(); }

}  // namespace

void ShardedWeights::add(const models::Parameter& parameter) {
  const Tensor whole = parameter.tensor->detach();
  enter(parameter, Shards(communicator_, {whole}).own(0, whole).clone());
  set_room(whole, false);
}

void ShardedWeights::share(const models::Parameter& parameter, const ShardedWeights& owner) {
  enter(parameter, owner.own(*parameter.tensor));
}

void ShardedWeights::enter(const models::Parameter& parameter, Tensor own) {
  const auto [place, is_new] = entries_.try_emplace(parameter.tensor->unsafeGetTensorImpl(),
                                                    Entry{*parameter.tensor, std::move(own), {}, parameter.part});
  SSL4RL_CHECK(is_new, "{} is sharded already", parameter.name);
  Unit& unit = units_[parameter.block];
  SSL4RL_CHECK(!unit.weights, "{} comes after the first use", parameter.name);
  unit.entries.push_back(&place->second);
}

Tensor ShardedWeights::own(const Tensor& whole) const { return entries_.at(whole.unsafeGetTensorImpl()).own; }

Tensor ShardedWeights::take_gradient(const Tensor& whole) {
  return std::exchange(entries_.at(whole.unsafeGetTensorImpl()).gradient, Tensor());
}

void ShardedWeights::clear_gradients() {
  for (auto& [tensor, entry] : entries_) entry.gradient = Tensor();
}

std::unique_ptr<models::Model> ShardedWeights::collect(models::Model& model) const {
  auto copy = std::make_unique<models::Model>(model.shared_processor(), model.weights());
  const bool adapters = copy->weights().lora.has_value();  // which are all that a checkpoint then holds
  for (const models::Parameter& parameter : adapters ? models::adapter_parameters(*copy) : copy->parameters()) {
    const Shards shards(communicator_, {*parameter.tensor});
    const Tensor whole = shards.gather(0, own(*parameter.tensor));
    if (communicator_.first()) *parameter.tensor = whole.cpu();
  }
  if (model.config().text.tie_embeddings) copy->weights().head = copy->weights().embedding;
  return communicator_.first() ? std::move(copy) : nullptr;
}

void ShardedWeights::take_over() {
  const at::NoGradGuard no_grad;
  SSL4RL_CHECK(all_here_, "the weights are not whole");
  for (auto& [tensor, entry] : entries_) {
    const Tensor whole = entry.whole.detach();
    entry.own.copy_(Shards(communicator_, {whole}).own(0, whole));
  }
}

// Backward reaches a block if something in it is trained, or something that its input depends on.
bool ShardedWeights::in_backward(Block block) const {
  for (const auto& [other, unit] : units_)
    for (const Entry* entry : unit.entries) {
      if (!trained(entry->whole)) continue;
      if (other == block) return true;
      if (other.kind == block.kind) {
        if (other.index < block.index) return true;
      } else if (block.kind == Block::Kind::kDecoder || entry->part == models::Part::kVision) {
        if (other.kind != Block::Kind::kDecoder) return true;
      }
    }
  return false;
}

ShardedWeights::Unit& ShardedWeights::unit(Block block) {
  Unit& unit = units_.at(block);
  if (unit.weights) return unit;
  std::vector<Tensor> all, with_gradient;
  for (Entry* entry : unit.entries) {
    all.push_back(entry->whole);
    if (!trained(entry->whole)) continue;
    with_gradient.push_back(entry->whole);
    unit.trained.push_back(entry);
  }
  unit.weights = std::make_unique<Shards>(communicator_, all);
  unit.gradients = std::make_unique<Shards>(communicator_, with_gradient);
  return unit;
}

void ShardedWeights::bring(Block block) {
  if (all_here_) return;
  Unit& parts = unit(block);
  std::vector<Tensor> owns, wholes;
  for (const Entry* entry : parts.entries) {
    set_room(entry->whole, true);
    owns.push_back(entry->own);
    wholes.push_back(entry->whole.detach());
  }
  parts.weights->gather(owns, wholes);
}

void ShardedWeights::let_go(Block block) {
  if (all_here_) return;
  for (const Entry* entry : unit(block).entries) set_room(entry->whole, false);
}

void ShardedWeights::take_gradients(Block block) {
  Unit& parts = unit(block);
  std::vector<Tensor> gradients;
  for (Entry* entry : parts.trained) gradients.push_back(std::exchange(entry->whole.mutable_grad(), Tensor()));
  let_go(block);
  std::vector<Tensor> sums = parts.gradients->reduce_all(gradients);
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < sums.size(); ++i) {
    Tensor& gradient = parts.trained[i]->gradient;
    if (gradient.defined())
      gradient.add_(sums[i]);
    else
      gradient = std::move(sums[i]);
  }
  // The tower's turn, of which this rank has nothing.
  if (block == Block{Block::Kind::kDecoder, 0} && images_anywhere_ && !images_here_)
    follow_backward(Block::Kind::kVision);
}

void ShardedWeights::no_images() {
  if (!all_here_ && images_anywhere_) follow_forward(Block::Kind::kVision);
}

void ShardedWeights::begin_pass(bool images_here, bool images_anywhere) {
  images_here_ = images_here;
  images_anywhere_ = images_anywhere;
}

void ShardedWeights::follow_forward(Block::Kind kind) {
  for (const auto& [block, unit] : units_)
    if (block.kind == kind) {
      bring(block);
      let_go(block);
    }
}

void ShardedWeights::follow_backward(Block::Kind kind) {
  for (auto place = units_.rbegin(); place != units_.rend(); ++place)
    if (place->first.kind == kind && in_backward(place->first)) {
      bring(place->first);
      take_gradients(place->first);
    }
}

void ShardedWeights::follow_forward() {
  no_images();
  follow_forward(Block::Kind::kDecoder);
}

void ShardedWeights::follow_backward() { follow_backward(Block::Kind::kDecoder); }

void ShardedWeights::bring_all() {
  for (const auto& [block, unit] : units_) bring(block);
  all_here_ = true;
}

void ShardedWeights::let_go_all() {
  all_here_ = false;
  for (const auto& [block, unit] : units_) let_go(block);
}

WholeWeights::WholeWeights(const models::Model& model, Communicator& communicator, const InterruptGuard& interrupt)
    : keeper_(model.keeper()) {
  if (!keeper_) return;
  communicator.agree(interrupt);
  keeper_->bring_all();
}

WholeWeights::~WholeWeights() {
  if (keeper_) keeper_->let_go_all();
}

SharedPasses::SharedPasses(std::vector<const models::Model*> models, Direction direction, Communicator& communicator,
                           const InterruptGuard* interrupt)
    : direction_(direction), communicator_(communicator), interrupt_(interrupt) {
  for (const models::Model* model : models)
    if (model->keeper()) keepers_.push_back(model->keeper());
  if (keepers_.empty()) return;
  if (interrupt_) communicator_.agree(*interrupt_);
  for (const auto& keeper : keepers_) keeper->bring({});
}

SharedPasses::~SharedPasses() { let_go(); }

void SharedPasses::let_go() {
  for (const auto& keeper : keepers_) keeper->let_go({});
  keepers_.clear();
}

void SharedPasses::begin(const models::PackedBatch& batch) {
  if (keepers_.empty()) {
    if (interrupt_) interrupt_->check();
  } else {
    (void)begin(true, batch.patches.defined());
  }
}

// Whether any rank has a batch for the next pass.
bool SharedPasses::begin(bool here, bool images) {
  if (interrupt_) communicator_.agree(*interrupt_);
  double anywhere[] = {here ? 1.0 : 0.0, images ? 1.0 : 0.0};
  communicator_.max(anywhere);
  for (const auto& keeper : keepers_) keeper->begin_pass(images, anywhere[1] > 0);
  return anywhere[0] > 0;
}

void SharedPasses::finish() {
  while (!keepers_.empty() && begin(false, false)) {
    for (const auto& keeper : keepers_) keeper->follow_forward();
    if (direction_ == Direction::kForward) continue;
    for (auto keeper = keepers_.rbegin(); keeper != keepers_.rend(); ++keeper) (*keeper)->follow_backward();
  }
  let_go();
}

}  // namespace ssl4rl::train
