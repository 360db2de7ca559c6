#include "ssl4rl/models/decoder.h"

#include <ATen/ATen.h>

#include "ssl4rl/nn/activation.h"
#include "ssl4rl/nn/norm.h"

namespace ssl4rl::models {

at::Tensor decoder_layer(const TextConfig& config, const DecoderLayer& layer, int64_t index, const at::Tensor& x_TD,
                         const Attend& attend) {
  const int64_t all_heads = config.heads + 2 * config.key_heads;
  const at::Tensor qkv_TEH =
      layer.qkv(nn::rms_norm(x_TD, layer.input_norm, config.norm_eps)).unflatten(1, {all_heads, config.head_dim});
  const at::Tensor h_TD = x_TD + layer.out(attend(index, qkv_TEH));
  return h_TD + layer.down(nn::swiglu(layer.gate_up(nn::rms_norm(h_TD, layer.post_norm, config.norm_eps))));
}

}  // namespace ssl4rl::models
