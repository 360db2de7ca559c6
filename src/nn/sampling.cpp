#include "ssl4rl/nn/sampling.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/nn/on_device.h"
#include "tensor_kind.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

bool filters(const SamplingSettings& settings) {
  return settings.top_k > 0 || settings.top_p < 1 || settings.min_p > 0;
}

constexpr int64_t kRows = 256;  // that ATen's operators draw at a time: they make several copies of the logits
constexpr int64_t kRun = 1024;  // probabilities that are summed before one of them is looked for

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
    return filters(settings_) ? draw_filtered(uniform) : draw_from_all(uniform);
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
    std::vector<double> runs(static_cast<size_t>((width_ + kRun - 1) / kRun));
    kernels::best().run_sums(p.data(), width_, kRun, runs.data());
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

// The first place whose cumulative sum is above u times the whole: p [n, m], u [n, 1], both float64 → [n, 1].
Tensor place_of(const Tensor& p_nm, const Tensor& u_n1) {
  const Tensor sums = p_nm.cumsum(1), whole = sums.slice(1, -1);
  // Rounding may lift u · whole up to the whole.
  const Tensor at = at::minimum(u_n1 * whole, at::nextafter(whole, at::zeros_like(whole)));
  return (sums <= at).sum(1, /*keepdim=*/true).clamp_max(p_nm.size(1) - 1);
}

// Inverts the cumulative distribution in the order of the ids, as RowSampler::draw_from_all does. p [n, V] need not sum
// to 1.
Tensor draw_from(const Tensor& p_nV, const Tensor& u_n1) {
  const int64_t width = p_nV.size(1), whole_runs = width / kRun, rest = width % kRun;
  std::vector<Tensor> sums;
  if (whole_runs > 0)
    sums.push_back(p_nV.narrow(1, 0, whole_runs * kRun).unflatten(1, {whole_runs, kRun}).sum(2, false, at::kDouble));
  if (rest > 0) sums.push_back(p_nV.narrow(1, whole_runs * kRun, rest).sum(1, true, at::kDouble));
  const Tensor runs = at::cat(sums, 1), cumulative = runs.cumsum(1), run = place_of(runs, u_n1);
  const Tensor mass = runs.gather(1, run), before = cumulative.gather(1, run) - mass;
  const Tensor places = run * kRun + at::arange(kRun, run.options());
  const Tensor p_nR = p_nV.gather(1, places.clamp_max(width - 1)).to(at::kDouble).masked_fill(places >= width, 0);
  const Tensor within = ((u_n1 * cumulative.slice(1, -1) - before) / mass).clamp(0, 1);
  return (run * kRun + place_of(p_nR, within)).clamp_max(width - 1);
}

// Inverts it in the order of likelihood, among those that the filters leave; logits [n, V].
Tensor draw_likely(const Tensor& logits_nV, const SamplingSettings& settings, const Tensor& u_n1) {
  const bool few = settings.top_k > 0 && settings.top_k < logits_nV.size(1);
  const auto [sorted, order] =
      few ? logits_nV.topk(settings.top_k, 1) : logits_nV.sort(/*stable=*/true, 1, /*descending=*/true);
  Tensor p = (sorted - sorted.slice(1, 0, 1)).exp().to(at::kDouble);
  if (settings.top_p < 1) p = p.masked_fill(p.cumsum(1) - p >= settings.top_p * p.sum(1, true), 0);
  if (settings.min_p > 0) p = p.masked_fill(p < settings.min_p, 0);
  return order.gather(1, place_of(p, u_n1));
}

}  // namespace

Forbidden::Forbidden(std::vector<int64_t> forbidden, int64_t vocabulary)
    : ids(std::move(forbidden)), is(static_cast<size_t>(vocabulary)) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (const int64_t id : ids) is.at(static_cast<size_t>(id)) = true;
  SSL4RL_CHECK(static_cast<int64_t>(ids.size()) < vocabulary, "every id is forbidden");
}

SampledTokens Sampler::draw(const Tensor& logits_nV, std::span<const double> uniforms) {
  if (!on_cpu_float(logits_nV)) return draw_by_operators(logits_nV, uniforms);
  const Tensor logits = logits_nV.contiguous();
  const int64_t rows = logits.size(0), width = logits.size(1);
  SampledTokens result{std::vector<int64_t>(static_cast<size_t>(rows)), std::vector<float>(static_cast<size_t>(rows)),
                       0};
  std::vector<double> masked(static_cast<size_t>(rows));
  const float* const values = logits.const_data_ptr<float>();
  at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const auto i = static_cast<size_t>(r);
      const RowSampler sampler(values + r * width, width, settings_, forbidden_);
      result.ids[i] = sampler.draw(settings_.temperature == 0 ? 0 : uniforms[i]);
      result.logprobs[i] = static_cast<float>(sampler.logprob(result.ids[i]));
      masked[i] = sampler.masked_mass();
    }
  });
  for (const double mass : masked) result.masked_mass = std::max(result.masked_mass, mass);
  return result;
}

SampledTokens Sampler::draw_by_operators(const Tensor& logits_nV, std::span<const double> uniforms) {
  // All that the host needs in one copy.
  std::vector<Tensor> results_3n;
  for (int64_t begin = 0; begin < logits_nV.size(0); begin += kRows) {
    const int64_t rows = std::min(kRows, logits_nV.size(0) - begin);
    results_3n.push_back(draw_rows(
        logits_nV.narrow(0, begin, rows),
        uniforms.empty() ? uniforms : uniforms.subspan(static_cast<size_t>(begin), static_cast<size_t>(rows))));
  }
  const Tensor results = at::cat(results_3n, 1).cpu();
  const auto rows = static_cast<size_t>(results.size(1));
  const std::span<const double> values(results.const_data_ptr<double>(), 3 * rows);
  SampledTokens drawn;
  for (const double id : values.subspan(0, rows)) drawn.ids.push_back(static_cast<int64_t>(id));
  for (const double logprob : values.subspan(rows, rows)) drawn.logprobs.push_back(static_cast<float>(logprob));
  for (const double mass : values.subspan(2 * rows)) drawn.masked_mass = std::max(drawn.masked_mass, mass);
  return drawn;
}

// Ids, their log-probs and the forbidden ids' mass: [3, n] float64.
Tensor Sampler::draw_rows(const Tensor& logits_nV, std::span<const double> uniforms) {
  const bool greedy = settings_.temperature == 0;
  const at::Device device = logits_nV.device();
  Tensor x = logits_nV.to(wide_type(logits_nV)) / (greedy ? 1.0 : settings_.temperature);
  const Tensor lse = x.logsumexp(1, /*keepdim=*/true);
  Tensor masked = at::zeros({x.size(0)}, x.options());
  if (!forbidden_.ids.empty()) {
    if (!forbidden_ids_.defined() || forbidden_ids_.device() != device)
      forbidden_ids_ = on_device(forbidden_.ids, device);
    masked = (x.index_select(1, forbidden_ids_) - lse).exp().sum(1);
    x.index_fill_(1, forbidden_ids_, -INFINITY);
  }
  Tensor ids_n1;
  if (greedy) {
    ids_n1 = x.argmax(1, /*keepdim=*/true);
  } else {
    const Tensor u_n1 = on_device(std::vector<double>(uniforms.begin(), uniforms.end()), device).unsqueeze(1);
    ids_n1 = filters(settings_) ? draw_likely(x, settings_, u_n1)
                                : draw_from((x - x.amax(1, /*keepdim=*/true)).exp_(), u_n1);
  }
  const Tensor chosen = (x.gather(1, ids_n1) - lse).squeeze(1);
  return at::stack({ids_n1.squeeze(1).to(at::kDouble), chosen.to(at::kDouble), masked.to(at::kDouble)});
}

}  // namespace ssl4rl::nn
