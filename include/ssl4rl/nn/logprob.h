// Log-probabilities of given tokens without ever holding the logits of all rows: the output layer runs over chunks of
// rows, and backward computes each chunk's logits again.
// Shape suffixes: T rows, D model width, V vocabulary rows.
#pragma once

#include <ATen/core/Tensor.h>

namespace ssl4rl::nn {

struct TokenLogProbs {
  at::Tensor logprob_T;  ///< natural log, of softmax(logits / temperature); differentiable in hidden and weight
  at::Tensor entropy_T;  ///< of the same distribution, in nats; differentiable if asked for
};

/// The output layer: [T, V] in float32, or float64 where the rows are.
[[nodiscard]] at::Tensor logits(const at::Tensor& hidden_TD, const at::Tensor& weight_VD);
/// Rows whose logits token_logprobs computes at a time, if it may choose.
[[nodiscard]] int64_t logit_rows(int64_t vocabulary, at::Device device);

/// hidden_TD [T, D], weight_VD [V, D], targets_T int64. chunk: rows at a time, 0 = by the vocabulary's size.
[[nodiscard]] TokenLogProbs token_logprobs(const at::Tensor& hidden_TD, const at::Tensor& weight_VD,
                                           const at::Tensor& targets_T, double temperature = 1, int64_t chunk = 0,
                                           bool entropy_gradient = false);

/// Rows of x_TD by index; backward adds rows that were taken several times in their order. index_n int64.
[[nodiscard]] at::Tensor gather_rows(const at::Tensor& x_TD, const at::Tensor& index_n);

}  // namespace ssl4rl::nn
