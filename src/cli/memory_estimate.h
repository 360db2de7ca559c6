// What a training run needs in memory, by the shapes of the model and the sizes of the run (--dry-run).
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <string>

#include "ssl4rl/models/config.h"

namespace ssl4rl::cli {

struct MemoryQuestion {
  int64_t values = 0, trained = 0;                                     ///< parameters; adapters are not among `values`
  int64_t micro_batch_tokens = 0;                                      ///< of an update's forward and backward
  int64_t prompt_tokens = 0, image_tokens = 0, completion_tokens = 0;  ///< of one prompt, and the longest completion
  int64_t samples = 1, prompts = 1;  ///< per prompt, and prompts that are sampled together; samples 0: no rollouts
  bool recompute = false;            ///< train.gradient_checkpointing
  bool reference = false;            ///< a reference model
  int64_t moment_bytes = 4;          ///< of one of AdamW's two moments (train.optimizer_dtype)
  bool offload_optimizer = false, offload_reference = false;  ///< train.offload, on a GPU
  bool adapters = false;                                      ///< these are trained, in float32
  int64_t ranks = 1;                                          ///< that share the optimiser's state
  bool sharded = false;  ///< they share the weights and gradients too (distributed.shard parameters)
  int64_t outside = 0, outside_trained = 0, block = 0;  ///< parameters outside of blocks, and of the largest block
};

/// Bytes, of one rank (rank 0, where they differ).
struct MemoryEstimate {
  int64_t weights = 0, gradients = 0, optimizer = 0, reference = 0;
  int64_t let_go = 0;       ///< of the weights, in an update, where they are sharded
  int64_t checkpoint = 0;   ///< its weights and all ranks' optimiser; no memory
  int64_t collected = 0;    ///< what rank 0 collects of other ranks on the host to save it
  int64_t activations = 0;  ///< what an update keeps for backward, and its largest passing tensors
  int64_t packed = 0;       ///< the weights' second copy while sampling (models::pack_weights)
  int64_t cache = 0;        ///< keys and values of the rollouts
  int64_t pictures = 0;     ///< patches of the step's pictures and of those that are prepared ahead
  int64_t program = 0;      ///< the program and its libraries

  /// Rollouts and updates take turns, each in the room that the other has left; gradients live in updates alone,
  /// collected state from a checkpoint to the next update.
  [[nodiscard]] int64_t rollout() const { return standing() + cache + collected; }
  [[nodiscard]] int64_t update() const { return standing() - packed - let_go + gradients + activations + collected; }
  [[nodiscard]] int64_t peak() const { return std::max(rollout(), update()); }

 private:
  [[nodiscard]] int64_t standing() const { return program + weights + packed + optimizer + reference + pictures; }
};

/// With the weights and activations in `dtype`; gradients and the optimiser's state are float32, with float32 masters
/// of weights in a smaller type. On a GPU: of its memory alone.
[[nodiscard]] MemoryEstimate estimate_memory(const models::ModelConfig& model, const MemoryQuestion& question,
                                             at::ScalarType dtype, at::DeviceType device);

/// Lines for the user: this run as it is set up, and the same in bfloat16 on a GPU with the cards that it fits.
[[nodiscard]] std::string memory_text(const models::ModelConfig& model, const MemoryQuestion& question,
                                      at::ScalarType dtype, at::Device device);

}  // namespace ssl4rl::cli
