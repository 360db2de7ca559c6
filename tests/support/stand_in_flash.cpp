#include <ATen/ATen.h>

#include <cmath>

#include "support/stand_in_tensors.h"

namespace ssl4rl::stand_in_cuda {
namespace {

using at::Tensor;

struct Varlen {
  struct Rows {
    int64_t begin, count;
  };
  Tensor q, k, v;
  std::vector<Rows> queries, keys;  // of each segment

  // `used`: how many keys count, from each first offset on.
  Varlen(const Tensor& q_, const Tensor& k_, const Tensor& v_, const Tensor& q_off, const Tensor& k_off, int64_t max_q,
         int64_t max_k, const Tensor& used = {})
      : q(near(q_)), k(near(k_)), v(near(v_)) {
    for (const Tensor& x : {q_, k_, v_}) {
      TORCH_CHECK(x.is_cuda() && x.dim() == 3 && x.stride(-1) == 1, "flash attention: a tensor of another form");
      TORCH_CHECK(x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf, "flash attention: 16 bits only");
      TORCH_CHECK(x.size(2) % 8 == 0 && x.size(2) <= 256, "flash attention: head dimension ", x.size(2));
    }
    const std::vector<int32_t> q_offsets = numbers(q_off), k_offsets = numbers(k_off);
    const auto segments = q_offsets.size() - 1;
    TORCH_CHECK(k_offsets.size() == segments + 1, "flash attention: offsets of other segments");
    const std::vector<int32_t> counts = used.defined() ? numbers(used) : std::vector<int32_t>{};
    TORCH_CHECK(counts.empty() || counts.size() == segments, "flash attention: lengths of other segments");
    TORCH_CHECK(max_q > 1 || q.size(1) == k.size(1) || q.size(0) == static_cast<int64_t>(segments),
                "flash attention: one query a segment, and rows of no segment");
    TORCH_CHECK(!counts.empty() || (q_offsets.back() == q.size(0) && k_offsets.back() == k.size(0)),
                "flash attention: offsets of other tensors");
    for (size_t s = 0; s < segments; ++s) {
      queries.push_back({q_offsets[s], q_offsets[s + 1] - q_offsets[s]});
      keys.push_back({k_offsets[s], counts.empty() ? k_offsets[s + 1] - k_offsets[s] : counts[s]});
      check(queries.back(), q.size(0), max_q);
      if (queries.back().count > 0) check(keys.back(), k.size(0), max_k);
    }
  }
  static std::vector<int32_t> numbers(const Tensor& x) {
    TORCH_CHECK(x.is_cuda() && x.scalar_type() == at::kInt && x.is_contiguous(), "flash attention: offsets");
    const Tensor host = near(x).contiguous();
    return {host.const_data_ptr<int32_t>(), host.const_data_ptr<int32_t>() + host.numel()};
  }
  static void check(const Rows& rows, int64_t all, int64_t longest) {
    TORCH_CHECK(rows.begin >= 0 && rows.count >= 0 && rows.begin + rows.count <= all && rows.count <= longest,
                "flash attention: a segment of ", rows.count, " rows from ", rows.begin, " on, of ", all,
                ", and at most ", longest, " together");
  }
  static Tensor part(const Tensor& x, const Rows& rows) {  // [1, heads, rows, H] float32
    return x.narrow(0, rows.begin, rows.count).transpose(0, 1).unsqueeze(0).to(at::kFloat);
  }
  static void put(Tensor& x, const Rows& rows, const Tensor& part) {
    x.narrow(0, rows.begin, rows.count).copy_(part.squeeze(0).transpose(0, 1));
  }
};

void check_causal(const Varlen& a, bool causal) {
  for (size_t s = 0; causal && s < a.queries.size(); ++s)
    TORCH_CHECK(a.queries[s].count == a.keys[s].count,
                "flash attention: causal segments of unequal lengths are aligned at their ends");
}

// Rows of no segment are left as they were: whoever reads them shall notice.

}  // namespace

void flash_forward(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto arguments = torch::jit::pop(*stack, op.schema().arguments().size());
  const auto x = [&](size_t i) { return arguments[i].isTensor() ? arguments[i].toTensor() : Tensor(); };
  const Varlen a(x(0), x(1), x(2), x(3), x(4), arguments[5].toInt(), arguments[6].toInt(), x(13));
  const bool causal = arguments[8].toBool();
  check_causal(a, causal);
  Tensor out = at::full(a.q.sizes(), NAN, a.q.options());
  const Tensor lse = at::full({a.q.size(1), a.q.size(0)}, NAN, a.q.options().dtype(at::kFloat));
  for (size_t s = 0; s < a.queries.size(); ++s) {
    if (a.queries[s].count == 0) continue;
    const auto [o, l] = at::_scaled_dot_product_flash_attention_for_cpu(
        Varlen::part(a.q, a.queries[s]), Varlen::part(a.k, a.keys[s]), Varlen::part(a.v, a.keys[s]), 0.0, causal);
    Varlen::put(out, a.queries[s], o);
    lse.narrow(1, a.queries[s].begin, a.queries[s].count).copy_(l.squeeze(0));
  }
  const Tensor nothing = far_like(at::zeros({2}, at::kLong));
  for (const Tensor& result : {far_like(out), far_like(lse), nothing, nothing, far_like(at::empty({0}, out.options()))})
    stack->emplace_back(result);
}

void flash_backward(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto arguments = torch::jit::pop(*stack, op.schema().arguments().size());
  const auto x = [&](size_t i) { return arguments[i].toTensor(); };
  const Varlen a(x(1), x(2), x(3), x(6), x(7), arguments[8].toInt(), arguments[9].toInt());
  const bool causal = arguments[11].toBool();
  check_causal(a, causal);
  TORCH_CHECK(x(0).scalar_type() == x(1).scalar_type() && x(4).scalar_type() == x(1).scalar_type(),
              "flash attention: gradient and output of another type");
  TORCH_CHECK(x(5).is_contiguous() && x(5).scalar_type() == at::kFloat && x(5).size(1) == a.q.size(0),
              "flash attention: lse of another form");
  TORCH_CHECK(x(12).is_cuda() && x(13).is_cuda(), "flash attention: the random state is elsewhere");
  const Tensor grad = near(x(0)), out = near(x(4)), lse = near(x(5));
  Tensor dq = at::empty(a.q.sizes(), a.q.options()), dk = at::empty(a.k.sizes(), a.k.options()),
         dv = at::empty(a.v.sizes(), a.v.options());
  for (size_t s = 0; s < a.queries.size(); ++s) {
    const Varlen::Rows &queries = a.queries[s], &keys = a.keys[s];
    const Tensor l = lse.narrow(1, queries.begin, queries.count).unsqueeze(0).contiguous();
    const auto [gq, gk, gv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
        Varlen::part(grad, queries), Varlen::part(a.q, queries), Varlen::part(a.k, keys), Varlen::part(a.v, keys),
        Varlen::part(out, queries), l, 0.0, causal);
    Varlen::put(dq, queries, gq);
    Varlen::put(dk, keys, gk);
    Varlen::put(dv, keys, gv);
  }
  for (const Tensor& result : {far_like(dq), far_like(dk), far_like(dv)}) stack->emplace_back(result);
}

}  // namespace ssl4rl::stand_in_cuda
