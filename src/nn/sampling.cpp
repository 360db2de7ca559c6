#include "ssl4rl/nn/sampling.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels.h"
#include "ssl4rl/base/error.h"
#include "tensor_kind.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

// The next token of one row of float32 logits.
class RowSampler {
 public:
  RowSampler(const float* logits, int64_t width, const SamplingSettings& settings, const Forbidden& forbidden)
      : logits_(logits),
        width_(width),
        settings_(settings),
        forbidden_(forbidden),
        greedy_(settings.temperature == 0),
        inverse_temperature_(greedy_ ? 1.0f : static_cast<float>(1 / settings.temperature)) {
    kernels::best().logit_stats(logits, 1, width, inverse_temperature_, &stats_);
    for (const int64_t id : forbidden.ids) masked_mass_ += std::exp(logprob(id));
  }

  [[nodiscard]] double masked_mass() const { return masked_mass_; }
  [[nodiscard]] double logprob(int64_t id) const {
    return static_cast<double>(logits_[id]) * inverse_temperature_ - stats_.log_sum_exp;
  }

  [[nodiscard]] int64_t draw(double uniform) const {
    if (greedy_) return likeliest();
    return settings_.top_k > 0 || settings_.top_p < 1 || settings_.min_p > 0 ? draw_filtered(uniform)
                                                                             : draw_from_all(uniform);
  }

 private:
  [[nodiscard]] bool allowed(int64_t id) const { return !forbidden_.is[static_cast<size_t>(id)]; }

  [[nodiscard]] int64_t likeliest() const {
    int64_t best = -1;
    for (int64_t id = 0; id < width_; ++id)
      if (allowed(id) && (best < 0 || logits_[id] > logits_[best])) best = id;
    return best;
  }

  // Inverts the cumulative distribution: block sums first, then inside the block.
  [[nodiscard]] int64_t draw_from_all(double uniform) const {
    std::vector<float> p(logits_, logits_ + width_);
    const float one = 1;
    kernels::best().scaled_softmax(p.data(), 1, width_, inverse_temperature_, &stats_.log_sum_exp, &one);
    for (const int64_t id : forbidden_.ids) p[static_cast<size_t>(id)] = 0;
    constexpr int64_t kRun = 1024;
    std::vector<double> runs;
    for (int64_t begin = 0; begin < width_; begin += kRun)
      runs.push_back(std::accumulate(p.begin() + begin, p.begin() + std::min(width_, begin + kRun), 0.0));
    double left = uniform * std::accumulate(runs.begin(), runs.end(), 0.0);
    size_t run = 0;
    while (run + 1 < runs.size() && left >= runs[run]) left -= runs[run++];
    int64_t last = -1;
    for (int64_t id = static_cast<int64_t>(run) * kRun; id < width_; ++id) {
      const double mass = p[static_cast<size_t>(id)];
      if (mass <= 0) continue;
      last = id;
      if (left < mass) return id;
      left -= mass;
    }
    // Rounding at the very end of the distribution: the last token that has any probability.
    for (int64_t id = width_ - 1; last < 0 && id >= 0; --id)
      if (p[static_cast<size_t>(id)] > 0) last = id;
    return last >= 0 ? last : likeliest();
  }

  // Top-k, then top-p among those, then min-p, as transformers' warpers do; the probabilities are those of the allowed
  // tokens.
  [[nodiscard]] int64_t draw_filtered(double uniform) const {
    std::vector<int64_t> order;
    order.reserve(static_cast<size_t>(width_));
    for (int64_t id = 0; id < width_; ++id)
      if (allowed(id)) order.push_back(id);
    const auto likelier = [&](int64_t a, int64_t b) {
      return logits_[a] != logits_[b] ? logits_[a] > logits_[b] : a < b;
    };
    const size_t limit =
        settings_.top_k > 0 ? std::min(order.size(), static_cast<size_t>(settings_.top_k)) : order.size();
    size_t kept = 0;
    double mass = 0, total = 1 - masked_mass_;
    if (limit < order.size()) {
      std::partial_sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(limit), order.end(), likelier);
      total = 0;
      for (size_t i = 0; i < limit; ++i) total += std::exp(logprob(order[i]));
    }
    for (size_t sorted = limit < order.size() ? limit : 0; kept < limit;) {
      if (kept == sorted) {  // sort a few more: the set that top-p keeps is nearly always small
        const size_t next = std::min(limit, std::max<size_t>(64, sorted * 8));
        std::partial_sort(order.begin() + static_cast<ptrdiff_t>(sorted), order.begin() + static_cast<ptrdiff_t>(next),
                          order.end(), likelier);
        sorted = next;
      }
      if (settings_.min_p > 0 && kept > 0 && logprob(order[kept]) < logprob(order[0]) + std::log(settings_.min_p))
        break;
      mass += std::exp(logprob(order[kept++]));
      if (settings_.top_p < 1 && mass >= settings_.top_p * total) break;
    }
    double left = uniform * mass;
    for (size_t i = 0; i < kept; ++i) {
      left -= std::exp(logprob(order[i]));
      if (left < 0) return order[i];
    }
    return order[kept - 1];
  }

  const float* logits_;
  int64_t width_;
  const SamplingSettings& settings_;
  const Forbidden& forbidden_;
  bool greedy_;
  float inverse_temperature_;
  kernels::LogitStats stats_{};
  double masked_mass_ = 0;
};

}  // namespace

Forbidden::Forbidden(std::vector<int64_t> forbidden, int64_t vocabulary)
    : ids(std::move(forbidden)), is(static_cast<size_t>(vocabulary)) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (const int64_t id : ids) is.at(static_cast<size_t>(id)) = true;
  SSL4RL_CHECK(static_cast<int64_t>(ids.size()) < vocabulary, "every id is forbidden");
}

SampledTokens sample_tokens(const Tensor& logits_nV, const SamplingSettings& settings, const Forbidden& forbidden,
                            std::span<const double> uniforms) {
  if (!on_cpu_float(logits_nV)) return sample_tokens_reference(logits_nV, settings, forbidden, uniforms);
  const Tensor logits = logits_nV.contiguous();
  const int64_t rows = logits.size(0), width = logits.size(1);
  SampledTokens result{std::vector<int64_t>(static_cast<size_t>(rows)), std::vector<float>(static_cast<size_t>(rows)),
                       0};
  std::vector<double> masked(static_cast<size_t>(rows));
  const float* const values = logits.const_data_ptr<float>();
  at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const auto i = static_cast<size_t>(r);
      const RowSampler sampler(values + r * width, width, settings, forbidden);
      result.ids[i] = sampler.draw(settings.temperature == 0 ? 0 : uniforms[i]);
      result.logprobs[i] = static_cast<float>(sampler.logprob(result.ids[i]));
      masked[i] = sampler.masked_mass();
    }
  });
  for (const double mass : masked) result.masked_mass = std::max(result.masked_mass, mass);
  return result;
}

SampledTokens sample_tokens_reference(const Tensor& logits_nV, const SamplingSettings& settings,
                                      const Forbidden& forbidden, std::span<const double> uniforms) {
  const bool greedy = settings.temperature == 0;
  const auto wide = logits_nV.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Device device = logits_nV.device();
  const Tensor logp = (logits_nV.to(wide) / (greedy ? 1.0 : settings.temperature)).log_softmax(1);
  const Tensor forbidden_ids = at::tensor(forbidden.ids, at::kLong).to(device);
  const Tensor masked = forbidden.ids.empty() ? at::zeros({logp.size(0)}, logp.options())
                                              : logp.index_select(1, forbidden_ids).exp().sum(1);
  Tensor drawable = forbidden.ids.empty() ? logp : logp.index_fill(1, forbidden_ids, -INFINITY);
  Tensor ids;
  if (greedy) {
    ids = drawable.argmax(1);
  } else {
    auto [sorted, order] = drawable.sort(/*stable=*/true, 1, /*descending=*/true);
    if (settings.top_k > 0 && settings.top_k < sorted.size(1)) sorted = sorted.slice(1, 0, settings.top_k);
    Tensor p = sorted.exp();
    if (settings.top_p < 1) {
      const Tensor before = p.cumsum(1) - p;
      p = p.masked_fill(before >= settings.top_p * p.sum(1, true), 0);
    }
    if (settings.min_p > 0) p = p.masked_fill(p < settings.min_p * p.slice(1, 0, 1), 0);
    const Tensor cumulative = p.cumsum(1);
    const Tensor u = at::tensor(at::ArrayRef<double>(uniforms.data(), uniforms.size()), at::kDouble)
                         .to(device)
                         .to(wide)
                         .unsqueeze(1);
    const Tensor rank = (cumulative <= u * cumulative.slice(1, -1)).sum(1, true).clamp_max(p.size(1) - 1);
    ids = order.gather(1, rank).squeeze(1);
  }
  // All that the host needs in one copy.
  const Tensor chosen = logp.gather(1, ids.unsqueeze(1)).squeeze(1);
  const Tensor results =
      at::stack({ids.to(at::kDouble), chosen.to(at::kDouble), masked.to(at::kDouble)}).cpu().contiguous();
  const auto rows = static_cast<size_t>(results.size(1));
  const std::span<const double> values(results.const_data_ptr<double>(), 3 * rows);
  SampledTokens drawn;
  for (const double id : values.subspan(0, rows)) drawn.ids.push_back(static_cast<int64_t>(id));
  for (const double logprob : values.subspan(rows, rows)) drawn.logprobs.push_back(static_cast<float>(logprob));
  for (const double mass : values.subspan(2 * rows)) drawn.masked_mass = std::max(drawn.masked_mass, mass);
  return drawn;
}

}  // namespace ssl4rl::nn
