#include "memory_estimate.h"

#include <c10/core/ScalarType.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "ssl4rl/nn/logprob.h"
#include "ssl4rl/rollout/engine.h"

namespace ssl4rl::cli {
namespace {

// Widths of the tensors that a decoder layer keeps for a token: the input of each norm and its output, queries, keys
// and values (twice with normalised heads), the attention's output, gate and up, their product.
std::vector<int64_t> decoder_widths(const models::TextConfig& c) {
  std::vector<int64_t> widths(4, c.hidden_size);
  widths.insert(widths.end(), c.qk_norm ? 2 : 1, (c.heads + 2 * c.key_heads) * c.head_dim);
  widths.insert(widths.end(), {c.heads * c.head_dim, 2 * c.intermediate_size, c.intermediate_size});
  return widths;
}

// The same of a block of the vision tower, for a patch.
std::vector<int64_t> vision_widths(const models::VisionConfig& c) {
  std::vector<int64_t> widths(8, c.hidden_size);
  if (c.feed_forward == models::FeedForward::kSwiGlu) {
    widths.insert(widths.end(), {2 * c.intermediate_size, c.intermediate_size});
  } else {
    widths.insert(widths.end(), c.feed_forward == models::FeedForward::kQuickGelu ? 4 : 2, c.intermediate_size);
  }
  return widths;
}

// What `layers` layers keep for backward of a row: with recomputation their inputs, and one layer's all.
int64_t kept_by_layers(int64_t layers, int64_t input, const std::vector<int64_t>& widths, bool recompute) {
  const int64_t all = std::accumulate(widths.begin(), widths.end(), int64_t{0});
  return recompute ? layers * input + all : layers * all;
}

// The program and its libraries before anything is loaded: LibTorch's tables, mostly.
constexpr int64_t kProgram = int64_t{200} << 20;
// On a GPU: the driver's context, and memory between blocks.
constexpr int64_t kContext = int64_t{3} << 29;

std::string gib(int64_t bytes) { return fmt::format("{:.2f}", static_cast<double>(bytes) / (1 << 30)); }

std::string line(const char* label, const std::string& where, const MemoryEstimate& m) {
  return fmt::format(
      "{:<10} {} GiB {}: weights {}, gradients {}, optimiser {}, {}activations {}; while sampling: packed weights {}, "
      "cache {}; pictures {}, program {}{}{}\n",
      label, gib(m.peak()), where, gib(m.weights), gib(m.gradients), gib(m.optimizer),
      m.reference > 0 ? "reference " + gib(m.reference) + ", " : "", gib(m.activations), gib(m.packed), gib(m.cache),
      gib(m.pictures), gib(m.program), m.let_go > 0 ? ", of the weights let go in an update " + gib(m.let_go) : "",
      m.collected == 0 ? ""
                       : fmt::format(", all ranks' {}optimiser on rank 0 while saving {}",
                                     m.let_go > 0 ? "weights and " : "", gib(m.collected)));
}

}  // namespace

MemoryEstimate estimate_memory(const models::ModelConfig& model, const MemoryQuestion& q, at::ScalarType dtype,
                               at::DeviceType device) {
  const bool on_gpu = device != at::kCPU;
  const auto size = static_cast<int64_t>(c10::elementSize(dtype));
  constexpr int64_t kFloat = 4;
  MemoryEstimate m;
  const int64_t trained = q.trained * (q.adapters ? kFloat : size);  // the weights that are
  const int64_t state = q.trained * (2 * q.moment_bytes + (size < kFloat && !q.adapters ? kFloat : 0));
  m.weights = q.values * size + (q.adapters ? trained : 0);
  m.gradients = q.trained * kFloat;
  m.optimizer = state / q.ranks;
  m.checkpoint = (q.adapters ? trained : m.weights) + state;
  if (q.ranks > 1) m.collected = state;
  if (q.reference) m.reference = q.trained * size;  // frozen parts are shared
  if (q.sharded && q.ranks > 1) {
    m.let_go = m.weights - (q.outside + q.block) * size;
    m.collected += q.adapters ? trained : m.weights;
    m.weights += m.weights / q.ranks;  // the stretches stay beside
    m.gradients = q.trained * kFloat / q.ranks + (q.outside_trained + (q.adapters ? 0 : q.block)) * kFloat;
    m.reference /= q.ranks;
  }

  const models::TextConfig& text = model.text;
  const int64_t merged = model.vision.merge_size * model.vision.merge_size;
  const int64_t per_prompt = q.prompt_tokens + std::max<int64_t>(q.samples, 1) * q.completion_tokens;
  // The largest micro-batch: as many whole groups as fit, or a part of one.
  const int64_t groups = std::clamp<int64_t>(q.micro_batch_tokens / per_prompt, 1, q.prompts);
  const int64_t tokens =
      std::max(std::min(groups * per_prompt, q.micro_batch_tokens), q.prompt_tokens + q.completion_tokens);
  const int64_t patches = groups * q.image_tokens * merged;
  const models::VisionConfig& vision = model.vision;
  m.activations = tokens * size * kept_by_layers(text.layers, text.hidden_size, decoder_widths(text), q.recompute) +
                  patches * size * kept_by_layers(vision.depth, vision.hidden_size, vision_widths(vision), q.recompute);
  // In backward a layer's widest tensors have gradients beside them; the output layer's logits come in chunks of rows,
  // and it makes a second gradient of the embedding (on a GPU, where the loops are not fused, several copies of the
  // logits).
  m.activations += tokens * size * (2 * text.hidden_size + 3 * text.intermediate_size);
  m.activations +=
      (on_gpu ? 3 : 1) * std::min(tokens, nn::logit_rows(text.vocab_size, device)) * text.vocab_size * kFloat;
  m.activations += text.vocab_size * text.hidden_size * kFloat;

  // Patches of the step's pictures, of as many again that are prepared ahead twice over, and the tower's own two
  // copies.
  m.pictures =
      ((on_gpu ? 0 : 3) * q.prompts * q.image_tokens * merged + 2 * patches) * model.vision.patch_values() * kFloat;
  if (q.samples > 0) {
    // What rollout::limits_for takes at most on the CPU; on a GPU it takes of what is free.
    constexpr int64_t kMostCache = int64_t{4} << 30;
    m.cache = std::min(kMostCache, q.prompts * per_prompt * rollout::cache_bytes_per_token(text, dtype));
    if (dtype == at::kFloat && !on_gpu)
      m.packed = (q.values - (text.tie_embeddings ? 0 : text.vocab_size * text.hidden_size)) * size;
  }
  m.program = kProgram;
  if (on_gpu) {
    m.program = kContext;
    m.collected = 0;  // on the host
    if (q.offload_optimizer) m.optimizer = 0;
    if (q.offload_reference) m.reference = 0;  // there between rollout and update, when there are no gradients
  }
  return m;
}

std::string memory_text(const models::ModelConfig& model, const MemoryQuestion& question, at::ScalarType dtype,
                        at::Device device) {
  const MemoryEstimate gpu = estimate_memory(model, question, at::kBFloat16, at::kCUDA),
                       all = estimate_memory(model, question, at::kBFloat16, at::kCPU);
  const int64_t host = all.optimizer - gpu.optimizer + all.reference - gpu.reference;
  std::vector<int64_t> cards{16, 24, 32, 40, 48, 80, 96, 141, 180};  // GiB that a card of that name offers, about
  std::erase_if(cards, [&](int64_t card) { return gpu.peak() > (card << 30) / 100 * 97; });
  const std::string fits = cards.empty() ? "no single card" : fmt::format("cards of {} GiB and more", cards.front());
  return line("memory", fmt::format("in {} on {}", dtype == at::kBFloat16 ? "bfloat16" : "float32", device.str()),
              estimate_memory(model, question, dtype, device.type())) +
         line("",
              fmt::format("in bfloat16 on a GPU ({}{})", fits,
                          host > 0 ? fmt::format("; {} GiB more in the host's memory", gib(host)) : ""),
              gpu);
}

}  // namespace ssl4rl::cli
