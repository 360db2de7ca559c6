#include "ssl4rl/nn/packed_matrix.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "kernels.h"
#include "ssl4rl/base/error.h"
#include "tensor_kind.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;
using kernels::kBlock;

// A panel's part of kInputs inputs and a block of kRows rows stay in the second-level cache.
constexpr int64_t kInputs = 1024, kRows = 240, kTasksPerThread = 4;

constexpr int64_t parts(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

}  // namespace

bool can_pack(const Tensor& weight) { return on_cpu_float(weight) && weight.dim() == 2; }

int64_t PackedMatrix::panel_bytes(const Tensor& weight_NK) {
  return parts(weight_NK.size(0), kBlock) * kBlock * weight_NK.size(1) * static_cast<int64_t>(sizeof(float));
}

PackedMatrix::PackedMatrix(const Tensor& weight_NK, bool keep_panels) : weight_NK_(weight_NK.detach().contiguous()) {
  SSL4RL_CHECK(can_pack(weight_NK), "only float32 matrices on the CPU can be packed");
  if (!keep_panels) return;
  const int64_t outputs = weight_NK.size(0), inputs = weight_NK.size(1), panels = parts(outputs, kBlock);
  panels_ = at::empty({panels, inputs, kBlock}, weight_NK_.options());
  const float* const from = weight_NK_.const_data_ptr<float>();
  float* const to = panels_.mutable_data_ptr<float>();
  at::parallel_for(0, panels, rows_per_task(inputs * kBlock), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p)
      kernels::best().pack_panel(from + p * kBlock * inputs, std::min(kBlock, outputs - p * kBlock), inputs, inputs,
                                 to + p * kBlock * inputs);
  });
}

Tensor PackedMatrix::multiply(const Tensor& x_TK, const Tensor& bias_N) const {
  const int64_t rows = x_TK.size(0), outputs = weight_NK_.size(0), inputs = weight_NK_.size(1);
  SSL4RL_CHECK(x_TK.size(1) == inputs, "{} inputs for a matrix of {}", x_TK.size(1), inputs);
  const Tensor x = x_TK.contiguous();
  Tensor y = at::empty({rows, outputs}, x.options());
  const int64_t panels = parts(outputs, kBlock), row_blocks = parts(rows, kRows);
  // Tasks are runs of panels of a block of rows; a block is a multiple of the kernels' tiles.
  const int64_t block_rows = parts(parts(rows, row_blocks), 12) * 12;
  const int64_t runs = std::clamp<int64_t>(kTasksPerThread * at::get_num_threads() / row_blocks, 1, panels);
  const float *const in = x.const_data_ptr<float>(), *const weight = weight_NK_.const_data_ptr<float>(),
                     *const kept = panels_.defined() ? panels_.const_data_ptr<float>() : nullptr,
                     *const bias = bias_N.defined() ? bias_N.const_data_ptr<float>() : nullptr;
  float* const out = y.mutable_data_ptr<float>();
  const auto& kernels = kernels::best();
  at::parallel_for(0, row_blocks * runs, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> made;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task / runs * block_rows, count = std::min(block_rows, rows - first), run = task % runs;
      if (count <= 0) continue;
      for (int64_t p = panels * run / runs; p < panels * (run + 1) / runs; ++p) {
        const int64_t columns = std::min(kBlock, outputs - p * kBlock);
        for (int64_t k = 0; k < inputs; k += kInputs) {
          const int64_t width = std::min(kInputs, inputs - k);
          const float* panel = kept ? kept + (p * inputs + k) * kBlock : nullptr;
          if (!panel) {
            made.resize(static_cast<size_t>(kInputs * kBlock));
            kernels.pack_panel(weight + p * kBlock * inputs + k, columns, inputs, width, made.data());
            panel = made.data();
          }
          kernels.multiply_panel(in + first * inputs + k, count, inputs, panel, kBlock, width,
                                 out + first * outputs + p * kBlock, outputs, columns, k > 0,
                                 k == 0 && bias ? bias + p * kBlock : nullptr);
        }
      }
    }
  });
  return y;
}

}  // namespace ssl4rl::nn
