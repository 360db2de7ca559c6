#include "ssl4rl/models/vision.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "ssl4rl/base/error.h"
#include "ssl4rl/nn/activation.h"
#include "ssl4rl/nn/attention.h"
#include "ssl4rl/nn/norm.h"
#include "ssl4rl/nn/on_device.h"
#include "ssl4rl/nn/rope.h"

namespace ssl4rl::models {
namespace {

using at::Tensor;
using Plan = std::shared_ptr<const nn::AttentionPlan>;

Tensor normalise(const VisionConfig& config, const Norm& norm, const Tensor& x_PD) {
  switch (config.norm) {
    case NormKind::kRms:
      return nn::rms_norm(x_PD, norm.weight, config.norm_eps);
    case NormKind::kLayer:
      return at::layer_norm(x_PD, {x_PD.size(1)}, norm.weight, norm.bias, config.norm_eps);
  }
  return {};
}

Tensor activate(FeedForward kind, const Tensor& up) {
  switch (kind) {
    case FeedForward::kSwiGlu:
      return nn::swiglu(up);
    case FeedForward::kQuickGelu:
      return up * at::sigmoid(1.702 * up);
    case FeedForward::kGeluTanh:
      return at::gelu(up, "tanh");
  }
  return {};
}

Tensor block_forward(const VisionConfig& config, const VisionBlock& block, const Tensor& x_PD,
                     const nn::RopeTable& rope, const Plan& plan) {
  const int64_t head_dim = config.hidden_size / config.heads;
  const Tensor qkv = block.qkv(normalise(config, block.norm1, x_PD)).unflatten(1, {3 * config.heads, head_dim});
  const Tensor h = x_PD + block.out(nn::attention(qkv, config.heads, config.heads, rope, plan));
  return h + block.down(activate(config.feed_forward, block.up(normalise(config, block.norm2, h))));
}

// Patches [P, D] → image tokens [M, width of the decoder].
Tensor merge(const VisionConfig& config, const Merger& merger, const Tensor& x_PD, bool norm_merged) {
  const int64_t merged = config.hidden_size * config.merge_size * config.merge_size;
  const Tensor units = norm_merged ? normalise(config, merger.norm, x_PD.view({-1, merged}))
                                   : normalise(config, merger.norm, x_PD).view({-1, merged});
  return merger.down(at::gelu(merger.up(units)));
}

// The learned square grid of positions, resampled to each image's (bilinear, corners aligned): [P, D]. Patches in the
// images' own order.
Tensor learned_positions(const VisionConfig& config, const Tensor& positions, const VisionLayout& layout,
                         std::span<const Grid> grids) {
  const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(config.position_rows)));
  std::vector<int64_t> rows;
  std::vector<float> weights;
  const auto axis = [side](int64_t index, int64_t size) {
    const float at =
        static_cast<float>(index) * static_cast<float>(side - 1) / static_cast<float>(std::max<int64_t>(size - 1, 1));
    const auto first = static_cast<int64_t>(std::floor(at));
    const float second_weight = at - std::floor(at);
    return std::tuple(first, std::min(first + 1, side - 1), 1 - second_weight, second_weight);
  };
  size_t patch = 0;
  for (const Grid& grid : grids)
    for (int64_t i = 0; i < grid.patches(); ++i, ++patch) {
      const auto [top, bottom, top_weight, bottom_weight] = axis(layout.rows[patch], grid.h);
      const auto [left, right, left_weight, right_weight] = axis(layout.columns[patch], grid.w);
      rows.insert(rows.end(), {top * side + left, top * side + right, bottom * side + left, bottom * side + right});
      weights.insert(weights.end(), {top_weight * left_weight, top_weight * right_weight, bottom_weight * left_weight,
                                     bottom_weight * right_weight});
    }
  const auto count = static_cast<int64_t>(patch);
  const at::Device device = positions.device();
  const Tensor index = nn::on_device(rows, device).view({count, 4}),
               weight = nn::on_device(weights, device).view({count, 4, 1});
  return (at::embedding(positions, index) * weight).sum(1);
}

// Angles: the first half of the frequencies turns with the row, the second with the column.
nn::RopeTable vision_rope(const VisionConfig& config, const VisionLayout& layout, at::Device device) {
  const int64_t quarter = config.hidden_size / config.heads / 4;
  const Tensor frequencies = nn::rope_frequencies(quarter, config.rope_theta).repeat({2});
  std::vector<int64_t> axes(static_cast<size_t>(quarter), 0);
  axes.resize(static_cast<size_t>(2 * quarter), 1);
  const Tensor positions = at::stack({at::tensor(layout.rows), at::tensor(layout.columns)});
  return nn::rope_table(nn::on_device(positions, device), frequencies, axes);
}

}  // namespace

VisionLayout vision_layout(const VisionConfig& config, std::span<const Grid> grids) {
  const int64_t merge = config.merge_size, per_unit = merge * merge;
  VisionLayout layout;
  int64_t first_unit = 0;
  for (const Grid& grid : grids) {
    const int64_t rows = grid.h / merge, columns = grid.w / merge;
    const int64_t side = config.window_size > 0 ? config.window_size / config.token_pixels() : std::max(rows, columns);
    for (int64_t frame = 0; frame < grid.t; ++frame) {
      std::map<int64_t, std::vector<std::pair<int64_t, int64_t>>, std::greater<>> windows;  // units → corners
      const auto extent = [side](int64_t begin, int64_t end) { return std::min(begin + side, end) - begin; };
      for (int64_t y = 0; y < rows; y += side)
        for (int64_t x = 0; x < columns; x += side) windows[extent(y, rows) * extent(x, columns)].emplace_back(y, x);
      for (const auto& [units, corners] : windows)
        for (const auto& [top, left] : corners) {
          layout.window_lengths.push_back(units * per_unit);
          for (int64_t y = top; y < std::min(top + side, rows); ++y)
            for (int64_t x = left; x < std::min(left + side, columns); ++x) {
              layout.order.push_back(first_unit + y * columns + x);
              for (int64_t in_y = 0; in_y < merge; ++in_y)
                for (int64_t in_x = 0; in_x < merge; ++in_x) {
                  layout.rows.push_back(y * merge + in_y);
                  layout.columns.push_back(x * merge + in_x);
                }
            }
        }
      layout.image_lengths.push_back(grid.h * grid.w);
      first_unit += rows * columns;
    }
  }
  return layout;
}

VisionFeatures vision_tower(const VisionConfig& config, const VisionWeights& weights, const Tensor& patches,
                            std::span<const Grid> grids, const BlockRunner& runner) {
  const VisionLayout layout = vision_layout(config, grids);
  const at::Device device = patches.device();
  const int64_t per_unit = config.merge_size * config.merge_size, units = static_cast<int64_t>(layout.order.size());
  SSL4RL_CHECK(patches.size(0) == units * per_unit, "{} patches for {} units", patches.size(0), units);
  const Tensor order = at::tensor(layout.order, at::kLong);
  const nn::RopeTable rope = vision_rope(config, layout, device);
  const Plan windows = nn::make_plan(layout.window_lengths, device),
             images = nn::make_plan(layout.image_lengths, device);

  const Tensor in_windows =
      patches.view({units, -1}).index_select(0, nn::on_device(order, device)).view({units * per_unit, -1});
  Tensor x_PD = weights.patch_embed(in_windows.to(weights.patch_embed.weight.scalar_type()));
  if (config.position_rows > 0)
    x_PD = x_PD + learned_positions(config, weights.positions, layout, grids).to(x_PD.scalar_type());
  VisionFeatures features;
  const Tensor own_order = nn::on_device(order.argsort(), device);
  for (size_t i = 0; i < weights.blocks.size(); ++i) {
    const bool full = config.window_size == 0 ||
                      std::count(config.full_blocks.begin(), config.full_blocks.end(), static_cast<int64_t>(i)) > 0;
    const Plan& plan = full ? images : windows;
    const auto run = [&config, &block = weights.blocks[i], rope, plan](const Tensor& x) {
      return block_forward(config, block, x, rope, plan);
    };
    x_PD = runner.run({Block::Kind::kVision, static_cast<int64_t>(i)}, run, x_PD);
    const auto deep = std::find(config.deepstack.begin(), config.deepstack.end(), static_cast<int64_t>(i));
    if (deep != config.deepstack.end())
      features.deepstack_MD.push_back(
          merge(config, weights.deepstack[static_cast<size_t>(deep - config.deepstack.begin())], x_PD, true)
              .index_select(0, own_order));
  }
  features.tokens_MD = merge(config, weights.merger, x_PD, false).index_select(0, own_order);
  return features;
}

}  // namespace ssl4rl::models
