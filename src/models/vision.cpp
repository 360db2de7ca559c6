#include "ssl4rl/models/vision.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "ssl4rl/base/error.h"
#include "ssl4rl/nn/activation.h"
#include "ssl4rl/nn/attention.h"
#include "ssl4rl/nn/norm.h"
#include "ssl4rl/nn/recompute.h"
#include "ssl4rl/nn/rope.h"

namespace ssl4rl::models {
namespace {

using at::Tensor;
using Plan = std::shared_ptr<const nn::AttentionPlan>;

Tensor block_forward(const VisionConfig& config, const VisionBlock& block, const Tensor& x_PD,
                     const nn::RopeTable& rope, const Plan& plan) {
  const int64_t head_dim = config.hidden_size / config.heads;
  const Tensor qkv =
      block.qkv(nn::rms_norm(x_PD, block.norm1, config.norm_eps)).unflatten(1, {3 * config.heads, head_dim});
  const Tensor h = x_PD + block.out(nn::attention(qkv, config.heads, config.heads, rope, plan));
  return h + block.down(nn::swiglu(block.gate_up(nn::rms_norm(h, block.norm2, config.norm_eps))));
}

// Angles: the first half of the frequencies turns with the row, the second with the column.
nn::RopeTable vision_rope(const VisionConfig& config, const VisionLayout& layout, at::Device device) {
  const int64_t quarter = config.hidden_size / config.heads / 4;
  const Tensor frequencies = nn::rope_frequencies(quarter, config.rope_theta).repeat({2});
  std::vector<int64_t> axes(static_cast<size_t>(quarter), 0);
  axes.resize(static_cast<size_t>(2 * quarter), 1);
  const Tensor positions = at::stack({at::tensor(layout.rows, at::kLong), at::tensor(layout.columns, at::kLong)});
  return nn::rope_table(positions, frequencies, axes, device);
}

}  // namespace

VisionLayout vision_layout(const VisionConfig& config, std::span<const Grid> grids) {
  const int64_t merge = config.merge_size, side = config.window_size / config.token_pixels(), per_unit = merge * merge;
  VisionLayout layout;
  int64_t first_unit = 0;
  for (const Grid& grid : grids) {
    const int64_t rows = grid.h / merge, columns = grid.w / merge;
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

Tensor vision_tower(const VisionConfig& config, const VisionWeights& weights, const Tensor& patches,
                    std::span<const Grid> grids, bool recompute) {
  const VisionLayout layout = vision_layout(config, grids);
  const at::Device device = patches.device();
  const int64_t per_unit = config.merge_size * config.merge_size, units = static_cast<int64_t>(layout.order.size());
  SSL4RL_CHECK(patches.size(0) == units * per_unit, "{} patches for {} units", patches.size(0), units);
  const Tensor order = at::tensor(layout.order, at::kLong);
  const nn::RopeTable rope = vision_rope(config, layout, device);
  const Plan windows = nn::make_plan(layout.window_lengths, device),
             images = nn::make_plan(layout.image_lengths, device);

  const Tensor in_windows = patches.view({units, -1}).index_select(0, order.to(device)).view({units * per_unit, -1});
  Tensor x_PD = weights.patch_embed(in_windows.to(weights.patch_embed.weight.scalar_type()));
  for (size_t i = 0; i < weights.blocks.size(); ++i) {
    const bool full = std::count(config.full_blocks.begin(), config.full_blocks.end(), static_cast<int64_t>(i)) > 0;
    const Plan& plan = full ? images : windows;
    const auto run = [&config, &block = weights.blocks[i], rope, plan](const Tensor& x) {
      return block_forward(config, block, x, rope, plan);
    };
    x_PD = recompute && x_PD.requires_grad() ? nn::recompute(run, x_PD) : run(x_PD);
  }
  const Tensor merged = nn::rms_norm(x_PD, weights.merger_norm, config.norm_eps).view({units, -1});
  const Tensor tokens_MD = weights.merger_down(at::gelu(weights.merger_up(merged)));
  return tokens_MD.index_select(0, order.argsort().to(device));
}

}  // namespace ssl4rl::models
