#include "ssl4rl/models/rope.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace ssl4rl::models {
namespace {

// YaRN: slow frequencies are interpolated, fast ones kept, those between blended (transformers'
// _compute_yarn_parameters).
at::Tensor yarn(const RopeConfig& rope, const at::Tensor& frequencies_R) {
  const int64_t half = frequencies_R.size(0);
  const double width = static_cast<double>(2 * half);
  const auto dimension = [&](double rotations) {
    return width * std::log(rope.original_positions / (rotations * 2 * std::numbers::pi)) / (2 * std::log(rope.theta));
  };
  double low = dimension(rope.beta_fast), high = dimension(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, width - 1);
  if (low == high) high += 0.001;
  const at::Tensor interpolated = ((at::arange(half, at::kFloat) - low) / (high - low)).clamp(0, 1);
  return frequencies_R / rope.factor * interpolated + frequencies_R * (1 - interpolated);
}

}  // namespace

at::Tensor decoder_frequencies(const RopeConfig& rope, int64_t half) {
  const at::Tensor frequencies_R = nn::rope_frequencies(half, rope.theta);
  switch (rope.scaling) {
    case RopeConfig::Scaling::kNone:
      return frequencies_R;
    case RopeConfig::Scaling::kLinear:
      return frequencies_R / rope.factor;
    case RopeConfig::Scaling::kYarn:
      return yarn(rope, frequencies_R);
  }
  return frequencies_R;
}

std::vector<int64_t> frequency_axes(const RopeConfig& rope, int64_t half) {
  std::vector<int64_t> axes;
  if (rope.interleaved) {
    axes.assign(static_cast<size_t>(half), 0);
    for (int64_t axis = 1; axis < 3; ++axis)
      for (int64_t i = axis; i < std::min(half, 3 * rope.sections[static_cast<size_t>(axis)]); i += 3)
        axes[static_cast<size_t>(i)] = axis;
    return axes;
  }
  for (size_t axis = 0; axis < rope.sections.size(); ++axis)
    axes.insert(axes.end(), static_cast<size_t>(rope.sections[axis]), static_cast<int64_t>(axis));
  return axes;
}

nn::RopeTable decoder_rope(const TextConfig& text, const at::Tensor& positions_AT) {
  const int64_t half = text.head_dim / 2;
  nn::RopeTable table =
      nn::rope_table(positions_AT, decoder_frequencies(text.rope, half), frequency_axes(text.rope, half));
  if (text.rope.attention_factor != 1) {
    table.cos_TR.mul_(text.rope.attention_factor);
    table.sin_TR.mul_(text.rope.attention_factor);
  }
  return table;
}

}  // namespace ssl4rl::models
