// Products of the sizes of decoding, attention of a packed batch, a cached attention step, and log-probs of a large
// vocabulary. Counters are FLOP/s.
//
//   build/release/bin/kernels_benchmark [--benchmark_filter=REGEX]
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <benchmark/benchmark.h>

#include "ssl4rl/nn/attention.h"
#include "ssl4rl/nn/kv_cache.h"
#include "ssl4rl/nn/logprob.h"
#include "ssl4rl/nn/packed_matrix.h"

namespace {

using namespace ssl4rl::nn;
using at::Tensor;

void count_flop(benchmark::State& state, int64_t flop) {
  state.counters["FLOP/s"] = benchmark::Counter(static_cast<double>(flop) * static_cast<double>(state.iterations()),
                                                benchmark::Counter::kIsRate);
}

// Rows, inputs, outputs. Copies of the weight that exceed the caches take turns, as the layers do in decoding.
std::vector<Tensor> weights(int64_t inputs, int64_t outputs) {
  std::vector<Tensor> copies;
  for (int64_t bytes = 0; bytes < (100 << 20); bytes += 4 * inputs * outputs)
    copies.push_back(at::randn({outputs, inputs}));
  return copies;
}

void linear(benchmark::State& state) {
  const int64_t rows = state.range(0), inputs = state.range(1), outputs = state.range(2);
  const auto copies = weights(inputs, outputs);
  const Tensor x = at::randn({rows, inputs});
  size_t next = 0;
  for (auto _ : state) benchmark::DoNotOptimize(at::linear(x, copies[next++ % copies.size()]));
  count_flop(state, 2 * rows * inputs * outputs);
}

void packed(benchmark::State& state) {
  const int64_t rows = state.range(0), inputs = state.range(1), outputs = state.range(2);
  std::vector<PackedMatrix> copies;
  for (const Tensor& weight : weights(inputs, outputs)) copies.emplace_back(weight, state.range(3) != 0);
  const Tensor x = at::randn({rows, inputs});
  size_t next = 0;
  for (auto _ : state) benchmark::DoNotOptimize(copies[next++ % copies.size()].multiply(x, {}));
  count_flop(state, 2 * rows * inputs * outputs);
}

// Prompts of `range(0)` tokens with 8 responses of 64 tokens, heads as in the small model; forward and backward.
void packed_attention(benchmark::State& state) {
  constexpr int64_t kHeads = 8, kKeyHeads = 2, kDim = 64, kSamples = 8, kLength = 64, kGroups = 4;
  const int64_t prompt = state.range(0);
  const Layout layout = Layout::from_lengths(std::vector<int64_t>(kGroups, prompt),
                                             std::vector(kGroups, std::vector<int64_t>(kSamples, kLength)));
  const auto plan = make_plan(layout, at::kCPU);
  const Tensor q = at::randn({layout.tokens, kHeads, kDim}), k = at::randn({layout.tokens, kKeyHeads, kDim}),
               v = at::randn_like(k), grad = at::randn_like(q);
  Tensor dq = at::empty_like(q), dk = at::empty_like(k), dv = at::empty_like(v);
  for (auto _ : state) {
    const AttentionOutput out = attention_forward(q, k, v, *plan);
    attention_backward(grad, q, k, v, out, *plan, dq, dk, dv);
  }
  const int64_t pairs = kGroups * (prompt * prompt / 2 + kSamples * (kLength * prompt + kLength * kLength / 2));
  count_flop(state, 14 * pairs * kHeads * kDim);
}

// One layer's attention in a decoding step: 4 groups of 8 samples at position 32.
void cached_attention(benchmark::State& state) {
  constexpr int64_t kHeads = 8, kKeyHeads = 2, kDim = 64, kSamples = 8, kGroups = 4, kPosition = 32;
  const int64_t prompt = state.range(0);
  const auto cache = make_kv_cache({1, kKeyHeads, kDim}, at::TensorOptions(at::kFloat));
  std::vector<DecodeRow> rows;
  for (int64_t g = 0; g < kGroups; ++g) {
    const int64_t group = cache->add_group(prompt, kSamples);
    cache->store_prompt(group, 0, at::randn({prompt, kKeyHeads, kDim}), at::randn({prompt, kKeyHeads, kDim}));
    for (int64_t s = 0; s < kSamples; ++s) rows.push_back({group, s, kPosition});
  }
  const auto n = static_cast<int64_t>(rows.size());
  const Tensor q = at::randn({n, kHeads, kDim}), k = at::randn({n, kKeyHeads, kDim}), v = at::randn_like(k);
  for (auto _ : state) {
    cache->begin(rows);
    benchmark::DoNotOptimize(cache->attend(0, q, k, v));
  }
  count_flop(state, 4 * n * (prompt + kPosition) * kHeads * kDim);
}

// Log-probs of 512 tokens, forward and backward.
void logprobs(benchmark::State& state) {
  constexpr int64_t kRows = 512, kWidth = 512;
  const Tensor hidden = at::randn({kRows, kWidth}).requires_grad_(),
               weight = at::randn({state.range(0), kWidth}).requires_grad_();
  const Tensor targets = at::randint(state.range(0), {kRows}, at::kLong);
  for (auto _ : state) {
    token_logprobs(hidden, weight, targets).logprob_T.sum().backward();
    hidden.mutable_grad() = Tensor();
    weight.mutable_grad() = Tensor();
  }
  count_flop(state, 8 * kRows * kWidth * state.range(0));
}

BENCHMARK(linear)->Args({8, 512, 3072})->Args({32, 512, 3072})->Args({256, 512, 3072})->UseRealTime();
BENCHMARK(packed)
    ->Args({8, 512, 3072, 1})
    ->Args({32, 512, 3072, 1})
    ->Args({256, 512, 3072, 1})
    ->Args({32, 512, 3072, 0})
    ->UseRealTime();
BENCHMARK(packed_attention)->Arg(128)->Arg(400)->UseRealTime();
BENCHMARK(cached_attention)->Arg(128)->Arg(400)->UseRealTime();
BENCHMARK(logprobs)->Arg(4096)->Arg(151936)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
