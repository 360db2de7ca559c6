#include "ssl4rl/train/moments.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace ssl4rl::train {

using at::Tensor;

namespace {

// Values that are float32 at a time: few enough for the CPU's caches, enough to fill a GPU. They change no result.
int64_t chunk_on(at::Device device) { return device.is_cpu() ? 1 << 18 : 1 << 24; }

void fused_update(std::vector<Tensor> weights, std::vector<Tensor> gradients, std::vector<Tensor> first,
                  std::vector<Tensor> second, std::vector<Tensor> steps, double learning_rate, double weight_decay,
                  const TrainConfig& config) {
  at::_fused_adamw_(weights, gradients, first, second, /*max_exp_avg_sqs=*/{}, steps, learning_rate, config.adam_beta1,
                    config.adam_beta2, weight_decay, config.adam_eps, /*amsgrad=*/false, /*maximize=*/false);
}

// 32 random bits for each of n places: C. Wellons' lowbias32 of place and key. int32 wraps around as uint32 does.
Tensor random_bits(int64_t begin, int64_t n, uint64_t key, at::Device device) {
  const auto shifted = [](const Tensor& x, int64_t by) {  // zeros come in from the left
    return x.__rshift__(by).bitwise_and_((int64_t{1} << (32 - by)) - 1);
  };
  const auto as_int = [](uint64_t bits) { return static_cast<int64_t>(static_cast<int32_t>(bits)); };
  Tensor x = at::arange(begin, begin + n, at::TensorOptions(at::kLong).device(device)).bitwise_and_(0xffffffff);
  x = x.to(at::kInt).mul_(as_int(0x9e3779b1)).add_(as_int(key));
  x.bitwise_xor_(shifted(x, 16)).mul_(as_int(0x7feb352d));
  x.bitwise_xor_(shifted(x, 15)).mul_(as_int(0x846ca68b));
  return x.bitwise_xor_(shifted(x, 16));
}

// float32 to bfloat16, up with the probability of the distance from below; `bits_16` in [0, 65536).
void round_at_random(const Tensor& to, const Tensor& from, const Tensor& bits_16) {
  to.copy_(from.view(at::kInt).add(bits_16).bitwise_and_(~int64_t{0xffff}).view(at::kFloat));
}

void update_in_chunks(const Moments& m, int64_t step, const Tensor& weight, const Tensor& gradient,
                      double learning_rate, double weight_decay, const TrainConfig& config) {
  const Tensor w = weight.view({-1}), g = gradient.reshape({-1}), first = m.first.view({-1}),
               second = m.second.view({-1});
  const uint64_t key = (m.parameter + 1) * 0x85ebca6b + static_cast<uint64_t>(step) * 0xc2b2ae35;
  const int64_t chunk = chunk_on(w.device());
  for (int64_t at = 0; at < w.numel(); at += chunk) {
    const int64_t n = std::min(chunk, w.numel() - at);
    const Tensor m1 = first.narrow(0, at, n), m2 = second.narrow(0, at, n);
    const Tensor wide1 = m1.to(at::kFloat), wide2 = m2.to(at::kFloat);
    fused_update({w.narrow(0, at, n)}, {g.narrow(0, at, n)}, {wide1}, {wide2}, {m.steps}, learning_rate, weight_decay,
                 config);
    const Tensor bits = random_bits(m.begin + at, n, key, w.device());
    round_at_random(m1, wide1, bits.bitwise_and(0xffff));
    round_at_random(m2, wide2, bits.__rshift__(16).bitwise_and_(0xffff));
  }
}

}  // namespace

void update_adamw(const std::vector<Moments*>& moments, const std::vector<Tensor>& weights,
                  const std::vector<Tensor>& gradients, double learning_rate, double weight_decay,
                  const TrainConfig& config) {
  if (moments.empty()) return;
  const at::NoGradGuard no_grad;
  std::vector<Tensor> first, second, steps;
  for (const Moments* m : moments) {
    first.push_back(m->first);
    second.push_back(m->second);
    steps.push_back(m->steps);
  }
  at::_foreach_add_(steps, 1);
  if (first.front().scalar_type() != at::kBFloat16)
    return fused_update(weights, gradients, first, second, steps, learning_rate, weight_decay, config);
  const Tensor counts = at::stack(steps).to(at::kCPU, at::kLong);
  for (size_t i = 0; i < moments.size(); ++i)
    update_in_chunks(*moments[i], counts.const_data_ptr<int64_t>()[i], weights[i], gradients[i], learning_rate,
                     weight_decay, config);
}

}  // namespace ssl4rl::train
