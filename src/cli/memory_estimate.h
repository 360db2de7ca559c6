// What a training run needs in memory, by the shapes of the model and the sizes of the run (--dry-run).
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "ssl4rl/models/config.h"

namespace ssl4rl::cli {

struct MemoryQuestion {
  int64_t values = 0, trained = 0;                                     ///< parameters
  int64_t micro_batch_tokens = 0;                                      ///< of an update's forward and backward
  int64_t prompt_tokens = 0, image_tokens = 0, completion_tokens = 0;  ///< of one prompt, and the longest completion
  int64_t samples = 1, prompts = 1;  ///< per prompt, and prompts that are sampled together; samples 0: no rollouts
  bool recompute = false;            ///< train.gradient_checkpointing
  bool reference = false;            ///< a reference model
};

/// Bytes.
struct MemoryEstimate {
  int64_t weights = 0, gradients = 0, optimizer = 0, reference = 0;
  int64_t activations = 0;  ///< what an update keeps for backward, and its largest passing tensors
  int64_t cache = 0;        ///< keys and values of the rollouts

  /// Rollouts and updates take turns.
  [[nodiscard]] int64_t peak() const {
    return weights + gradients + optimizer + reference + std::max(activations, cache);
  }
};

/// With the weights, gradients and activations in `dtype`; the optimiser's state is float32, with float32 masters of
/// weights in a smaller type.
[[nodiscard]] MemoryEstimate estimate_memory(const models::ModelConfig& model, const MemoryQuestion& question,
                                             at::ScalarType dtype);

/// Lines for the user: this run as it is set up, and the same in bfloat16 on a GPU with the cards that it fits.
[[nodiscard]] std::string memory_text(const models::ModelConfig& model, const MemoryQuestion& question,
                                      at::ScalarType dtype, const std::string& device);

}  // namespace ssl4rl::cli
