#include "ssl4rl/models/decoder.h"

#include <ATen/ATen.h>

#include "ssl4rl/nn/activation.h"
#include "ssl4rl/nn/norm.h"

namespace ssl4rl::models {
namespace {

// RMSNorm of each query and key head.
at::Tensor normalise_heads(const TextConfig& config, const DecoderLayer& layer, const at::Tensor& qkv_TEH) {
  const auto heads = [&](int64_t first, int64_t count, const at::Tensor& weight_H) {
    return nn::rms_norm(qkv_TEH.narrow(1, first, count).reshape({-1, config.head_dim}), weight_H, config.norm_eps)
        .view({-1, count, config.head_dim});
  };
  return at::cat({heads(0, config.heads, layer.q_norm), heads(config.heads, config.key_heads, layer.k_norm),
                  qkv_TEH.narrow(1, config.heads + config.key_heads, config.key_heads)},
                 1);
}

}  // namespace

at::Tensor decoder_layer(const TextConfig& config, const DecoderLayer& layer, int64_t index, const at::Tensor& x_TD,
                         const Attend& attend) {
  const int64_t all_heads = config.heads + 2 * config.key_heads;
  at::Tensor qkv_TEH =
      layer.qkv(nn::rms_norm(x_TD, layer.input_norm, config.norm_eps)).unflatten(1, {all_heads, config.head_dim});
  if (config.qk_norm) qkv_TEH = normalise_heads(config, layer, qkv_TEH);
  const at::Tensor h_TD = x_TD + layer.out(attend(index, qkv_TEH));
  return h_TD + layer.down(nn::swiglu(layer.gate_up(nn::rms_norm(h_TD, layer.post_norm, config.norm_eps))));
}

}  // namespace ssl4rl::models
