#include "trial.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/cpu/Utils.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <utility>

#include "ssl4rl/base/stopwatch.h"
#include "ssl4rl/models/decoder.h"
#include "ssl4rl/models/rope.h"
#include "ssl4rl/nn/attention.h"
#include "ssl4rl/nn/kv_cache.h"

namespace ssl4rl::cli {
namespace {

using at::Tensor;

constexpr double kDecisive = 0.75;  // of the time
constexpr int kLeast = 3;           // runs
constexpr double kSeconds = 0.1;
constexpr int64_t kGroups = 4, kSamples = 8, kPrompt = 32, kSteps = 6;

// The model's first layer, sharing its values, with gradients of its own where it trains.
models::DecoderLayer first_layer(const models::Model& model, at::ScalarType dtype, bool trains) {
  models::DecoderLayer layer = model.weights().layers.front();
  const auto own = [&](Tensor& tensor) {
    if (tensor.defined()) tensor = tensor.detach().to(dtype).set_requires_grad(trains);
  };
  for (models::Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down}) {
    own(linear->weight);
    own(linear->bias);
    linear->adapters.clear();
    if (!trains && nn::can_pack(linear->weight)) linear->packed = nn::PackedMatrix(linear->weight, true);
  }
  for (Tensor* tensor : {&layer.input_norm, &layer.q_norm, &layer.k_norm, &layer.post_norm}) own(*tensor);
  return layer;
}

// One layer of one step's work, with drawn activations.
class Share {
 public:
  Share(const models::Model& model, at::ScalarType dtype)
      : text_(model.config().text),
        training_(first_layer(model, dtype, true)),
        sampling_(first_layer(model, dtype, false)),
        options_(at::TensorOptions().dtype(dtype)) {}

  void update() const {
    const std::vector<int64_t> prompts(kGroups, kPrompt);
    const std::vector<std::vector<int64_t>> completions(kGroups, std::vector<int64_t>(kSamples, kPrompt / kSamples));
    const auto plan = nn::make_plan(nn::Layout::from_lengths(prompts, completions), at::kCPU);
    const int64_t tokens = 2 * kGroups * kPrompt;
    const nn::RopeTable table = models::decoder_rope(text_, at::arange(tokens, at::kLong).expand({3, -1}).contiguous());
    const models::Attend attend = [&](int64_t, const Tensor& qkv_TEH) {
      return nn::attention(qkv_TEH, text_.heads, text_.key_heads, table, plan);
    };
    const at::AutoGradMode grad_mode(true);
    const Tensor x_TD = drawn(tokens).requires_grad_(true);
    models::decoder_layer(text_, training_, 0, x_TD, attend).sum().backward();
    for (const models::Linear* linear : {&training_.qkv, &training_.out, &training_.gate_up, &training_.down})
      linear->weight.mutable_grad() = Tensor();
  }

  void decode() const {
    const at::NoGradGuard no_grad;
    const auto cache = nn::make_kv_cache({1, text_.key_heads, text_.head_dim, text_.heads}, options_);
    std::vector<nn::DecodeRow> rows;
    for (int64_t g = 0; g < kGroups; ++g) {
      const int64_t group = cache->add_group(kPrompt, kSamples);
      const Tensor prompt = at::zeros({kPrompt, text_.key_heads, text_.head_dim}, options_);
      cache->store_prompt(group, 0, prompt, prompt);
      for (int64_t s = 0; s < kSamples; ++s) rows.push_back({group, s, 0});
    }
    const auto heads = [&](const Tensor& qkv, int64_t first, int64_t count) { return qkv.narrow(1, first, count); };
    const models::Attend attend = [&](int64_t, const Tensor& qkv_nEH) {
      return cache->attend(0, heads(qkv_nEH, 0, text_.heads), heads(qkv_nEH, text_.heads, text_.key_heads),
                           heads(qkv_nEH, text_.heads + text_.key_heads, text_.key_heads));
    };
    Tensor x_nD = drawn(kGroups * kSamples);
    for (int64_t step = 0; step < kSteps; ++step) {
      for (nn::DecodeRow& row : rows) row.position = step;
      cache->begin(rows);
      x_nD = models::decoder_layer(text_, sampling_, 0, x_nD, attend);
    }
  }

 private:
  [[nodiscard]] Tensor drawn(int64_t rows) const {
    auto generator = at::detail::createCPUGenerator(0);
    return at::randn({rows, text_.hidden_size}, generator, options_);
  }

  const models::TextConfig& text_;
  models::DecoderLayer training_, sampling_;
  at::TensorOptions options_;
};

}  // namespace

Setting choose_setting(const std::vector<Setting>& settings, const Measure& measure) {
  Setting chosen = settings.front();
  if (settings.size() == 1) return chosen;
  double least = measure(chosen);
  for (size_t i = 1; i < settings.size(); ++i) {
    const double seconds = measure(settings[i]);
    if (seconds < kDecisive * least) chosen = settings[i];
    least = std::min(least, seconds);
  }
  return chosen;
}

std::vector<Setting> possible_settings(int most, bool type_is_open) {
  std::vector<Setting> settings;
  std::vector<at::ScalarType> types{at::kFloat};
  if (type_is_open && at::cpu::init_amx()) types.push_back(at::kBFloat16);
  for (const at::ScalarType type : types)
    for (int threads = most; threads >= 1; threads /= 2) settings.push_back({threads, type});
  return settings;
}

double trial_seconds(const models::Model& model, const Setting& setting) {
  at::set_num_threads(setting.threads);
  const Share share(model, setting.dtype);
  double best = std::numeric_limits<double>::max();
  const Stopwatch all;
  for (int repeat = 0; repeat <= kLeast || all.seconds() < kSeconds; ++repeat) {
    const Stopwatch watch;
    share.update();
    share.decode();
    if (repeat > 0) best = std::min(best, watch.seconds());  // the first one warms up
  }
  return best;
}

void take_over(const App& app, const RunConfig& config, Runtime& runtime) {
  if (config.run.threads && !app.options().threads) at::set_num_threads(static_cast<int>(*config.run.threads));
  if (config.model.dtype != "auto" && !app.options().dtype)
    runtime.dtype = config.model.dtype == "bfloat16" ? at::kBFloat16 : at::kFloat;
}

bool try_settings(App& app, const RunConfig& config, Runtime& runtime, const models::Model& policy) {
  if (!runtime.device.is_cpu() || config.run.deterministic || app.communicator().ranks() > 1) return false;
  const bool threads_open = !config.run.threads && !app.options().threads && !std::getenv("OMP_NUM_THREADS");
  const bool type_open = config.model.dtype == "auto" && !app.options().dtype && !config.rollout.replay;
  std::vector<Setting> settings = possible_settings(at::get_num_threads(), type_open);
  if (!threads_open)
    std::erase_if(settings, [](const Setting& setting) { return setting.threads != at::get_num_threads(); });
  if (settings.size() == 1) return false;
  std::string trials;
  const Setting chosen = choose_setting(settings, [&](const Setting& setting) {
    const double seconds = trial_seconds(policy, setting);
    trials += fmt::format("{}{} × {} {:.1f} ms", trials.empty() ? "" : ", ", setting.threads, type_name(setting.dtype),
                          1e3 * seconds);
    return seconds;
  });
  at::set_num_threads(chosen.threads);
  app.log().info("computing with {} thread{} in {}, by trial of a layer ({})", chosen.threads,
                 chosen.threads == 1 ? "" : "s", type_name(chosen.dtype), trials);
  return std::exchange(runtime.dtype, chosen.dtype) != chosen.dtype;
}

void note_settings(const App& app, RunConfig& config, const Runtime& runtime) {
  config.model.dtype = type_name(runtime.dtype);
  if (runtime.device.is_cpu() && app.communicator().ranks() == 1) config.run.threads = at::get_num_threads();
}

}  // namespace ssl4rl::cli
