// Drawing the next token of each row.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace ssl4rl::nn {

struct SamplingSettings {
  double temperature = 1;  ///< 0 is greedy
  double top_p = 1;        ///< smallest set of tokens whose probability reaches this; 1 = all
  int64_t top_k = 0;       ///< the k likeliest; 0 = all
  double min_p = 0;        ///< at least this share of the likeliest token's probability; 0 = all
};

struct SampledTokens {
  std::vector<int64_t> ids;
  /// Natural logs under the full distribution: before top-k, top-p, min-p and the forbidden ids; at temperature 1 if
  /// greedy.
  std::vector<float> logprobs;
  /// The largest probability that the forbidden ids had in a row.
  double masked_mass = 0;
};

/// Ids that are never drawn.
struct Forbidden {
  std::vector<int64_t> ids;  ///< sorted
  std::vector<bool> is;      ///< by id, one entry a vocabulary row

  Forbidden() = default;
  Forbidden(std::vector<int64_t> forbidden, int64_t vocabulary);
};

class Sampler {
 public:
  /// `forbidden` must live as long.
  Sampler(const SamplingSettings& settings, const Forbidden& forbidden) : settings_(settings), forbidden_(forbidden) {}

  /// logits_nV [n, V]; uniforms: one number from [0, 1) a row (not read if greedy). The same numbers draw the same
  /// tokens on every device. The host waits for the device once.
  [[nodiscard]] SampledTokens draw(const at::Tensor& logits_nV, std::span<const double> uniforms);
  /// The same by ATen's operators, for any device and type.
  [[nodiscard]] SampledTokens draw_by_operators(const at::Tensor& logits_nV, std::span<const double> uniforms);

 private:
  [[nodiscard]] at::Tensor draw_rows(const at::Tensor& logits_nV, std::span<const double> uniforms);

  const SamplingSettings settings_;
  const Forbidden& forbidden_;
  at::Tensor forbidden_ids_;  // on the device of the logits
};

}  // namespace ssl4rl::nn
