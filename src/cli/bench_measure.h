// What `bench` measures: the machine's limits, sampling, and updates of one shape.
#pragma once

#include <optional>
#include <vector>

#include "ssl4rl/models/model.h"
#include "ssl4rl/models/work.h"
#include "ssl4rl/train/optimizer.h"

namespace ssl4rl::cli {

/// Measured now, with the threads and the type that the model uses.
struct MachineLimits {
  double flops = 0;             ///< operations a second of a large square matrix product
  double bytes_per_second = 0;  ///< read from memory
};
[[nodiscard]] MachineLimits measure_machine(at::Device device, at::ScalarType dtype);

struct BenchShape {
  int64_t prompts = 4, samples = 8, new_tokens = 64;
  int64_t images = 2, image_size = 252;  ///< of each prompt; pixels a side
  std::optional<int64_t> prompt_tokens;  ///< filled up with words; unset: a short question
  bool cuda_graphs = false;
};

/// Prompts with drawn pictures. Throws Error where the pictures alone are longer than prompt_tokens.
[[nodiscard]] std::vector<models::Prompt> bench_prompts(const models::Processor& processor, const BenchShape& shape);

struct GenerationSpeed {
  double seconds = 0, prefill_seconds = 0;  ///< medians
  int64_t tokens = 0;
  double flop = 0;  ///< that the work needs
  double floor_seconds =
      0;  ///< decoding steps at the memory's speed or the products', whichever is slower, and prefill
};
[[nodiscard]] GenerationSpeed measure_generation(const models::Model& model, const std::vector<models::Prompt>& prompts,
                                                 const BenchShape& shape, const MachineLimits& machine, int repeats);

struct UpdateSpeed {
  double seconds = 0;  ///< median of forward, backward and AdamW
  int64_t tokens = 0;  ///< that go through the decoder: prompts once, completions
  double flop = 0;
};
[[nodiscard]] UpdateSpeed measure_update(models::Model& model, const std::vector<models::Prompt>& prompts,
                                         const BenchShape& shape, int64_t micro_batch_tokens, int repeats);

}  // namespace ssl4rl::cli
