#include "ssl4rl/nn/rope.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "kernels.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/nn/on_device.h"
#include "tensor_kind.h"

namespace ssl4rl::nn {

at::Tensor rope_frequencies(int64_t half, double theta) {
  return at::pow(theta, at::arange(0, 2 * half, 2, at::kFloat) / static_cast<double>(2 * half)).reciprocal();
}

RopeTable rope_table(const at::Tensor& positions_AT, const at::Tensor& frequencies_R,
                     const std::vector<int64_t>& axis_of) {
  SSL4RL_CHECK(static_cast<int64_t>(axis_of.size()) == frequencies_R.size(0), "{} axes for {} frequencies",
               axis_of.size(), frequencies_R.size(0));
  const at::Device device = positions_AT.device();
  const at::Tensor angles_TR =
      positions_AT.to(at::kFloat).index_select(0, on_device(axis_of, device)).t() * on_device(frequencies_R, device);
  return {angles_TR.cos().contiguous(), angles_TR.sin().contiguous()};
}

void apply_rope_(const at::Tensor& x_TEH, int64_t heads, const RopeTable& table, int direction) {
  const int64_t tokens = x_TEH.size(0), half = x_TEH.size(2) / 2;
  SSL4RL_CHECK(table.cos_TR.size(0) == tokens && table.cos_TR.size(1) == half,
               "RoPE table [{}, {}] for {} tokens, half {}", table.cos_TR.size(0), table.cos_TR.size(1), tokens, half);
  if (on_cpu_float(x_TEH) && x_TEH.stride(2) == 1 && x_TEH.stride(1) == 2 * half) {
    float* const x = x_TEH.mutable_data_ptr<float>();
    const float *cos = table.cos_TR.const_data_ptr<float>(), *sin = table.sin_TR.const_data_ptr<float>();
    const int64_t stride = x_TEH.stride(0);
    at::parallel_for(0, tokens, rows_per_task(heads * 2 * half), [&](int64_t begin, int64_t end) {
      kernels::best().rope(x + begin * stride, end - begin, stride, heads, half, cos + begin * half, sin + begin * half,
                           static_cast<float>(direction));
    });
    return;
  }
  // In float32 at least, as the reference: the table's type, or the tensor's if it is wider.
  const at::Tensor cos = table.cos_TR.unsqueeze(1), sin = table.sin_TR.unsqueeze(1);
  const at::Tensor a = x_TEH.narrow(1, 0, heads).narrow(2, 0, half),
                   b = x_TEH.narrow(1, 0, heads).narrow(2, half, half);
  const at::Tensor turned_a = (a * cos).sub_(b * sin, direction), turned_b = (b * cos).add_(a * sin, direction);
  a.copy_(turned_a);
  b.copy_(turned_b);
}

}  // namespace ssl4rl::nn
