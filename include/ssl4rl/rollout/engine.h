// The generation engine: samples completions of many prompts at once, for `generate`, `eval` and `train` alike.
//
// A request's images and prompt are processed once, whatever the number of its samples. All running samples take one
// step together; a finished sample leaves at once, and a waiting request enters as soon as the cache has room. What is
// drawn depends on the request's key and the sample's number, not on what runs beside it: in float32 on the CPU bit for
// bit, elsewhere but for the rounding of the products, which may differ with their number of rows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ssl4rl/base/config.h"
#include "ssl4rl/models/model.h"
#include "ssl4rl/nn/graph.h"

namespace ssl4rl::rollout {

struct RolloutConfig {
  int64_t num_generations = 8;
  double temperature = 1;
  double top_p = 1;
  int64_t top_k = 0;
  double min_p = 0;
  int64_t max_completion_length = 512;  ///< tokens
  std::optional<int64_t> max_prompt_length;
  std::optional<double> kv_cache_gib;
  bool cuda_graphs = false;
  std::vector<std::string> stop;
  std::optional<std::filesystem::path> replay;

  void describe(config::Section& section);
};

/// How a sample is drawn and when it ends.
struct SamplingPlan {
  nn::SamplingSettings sampling;
  int64_t max_new_tokens = 512;
  std::vector<std::string> stop;
  uint64_t seed = 0;
  bool keep_features = false;  ///< of the prompts' images (Generation::features)
  bool past_end = false;       ///< go on behind an ending token, so that the work is fixed (for measurements)
};

struct Request {
  const models::Prompt* prompt = nullptr;
  int64_t samples = 1;
  uint64_t key = 0, attempt = 0;  ///< name the request's random streams, with the plan's seed
};

enum class FinishReason { kStop, kLength };

struct Completion {
  std::vector<int64_t> ids;     ///< the ending token included
  std::vector<float> logprobs;  ///< of the full distribution at the sampling temperature (1 for greedy)
  FinishReason finish = FinishReason::kLength;
};

struct EngineLimits {
  int64_t cache_tokens = 1 << 18;               ///< prompts and the most that their samples may grow to
  int64_t prefill_tokens = 8192;                ///< prompt tokens in one forward
  std::shared_ptr<nn::GraphRecorder> recorder;  ///< decoding steps are recorded by it (models/step_recorder.h)
};

/// A cache of RolloutConfig::kv_cache_gib; unset: 4 GiB, but on the CPU no more than a quarter of the available memory.
/// `warn` is told why steps cannot be recorded.
[[nodiscard]] EngineLimits limits_for(const models::Model& model, const RolloutConfig& config = {},
                                      nn::GraphRecorder::Warn warn = {});
/// Bytes of keys and values of one token.
[[nodiscard]] int64_t cache_bytes_per_token(const models::TextConfig& config, at::ScalarType dtype);

struct Generation {
  std::vector<std::vector<Completion>> completions;  ///< by request, by sample
  std::vector<models::VisionFeatures> features;      ///< by request, where they are kept
  double masked_mass = 0;                            ///< the largest probability that the never-sampled ids had
  int64_t tokens = 0;                                ///< generated
  double prefill_seconds = 0;                        ///< of images and prompts; the rest is decoding
};

class Engine {
 public:
  explicit Engine(const models::Model& model) : Engine(model, limits_for(model)) {}
  Engine(const models::Model& model, EngineLimits limits) : model_(model), limits_(limits) {}

  /// Called between decode steps with the number of finished samples; may throw to stop.
  using Poll = std::function<void(int64_t finished_samples)>;

  /// Called with each sample as soon as it is finished.
  using Finished = std::function<void(size_t request, int64_t sample, const Completion& completion)>;

  [[nodiscard]] Generation generate(std::span<const Request> requests, const SamplingPlan& plan, const Poll& poll = {},
                                    const Finished& finished = {}) const;

 private:
  const models::Model& model_;
  EngineLimits limits_;
};

[[nodiscard]] const char* finish_name(FinishReason reason);

}  // namespace ssl4rl::rollout
