#include "ssl4rl/nn/attention.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "attention_body.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/nn/on_device.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

void finish(Segments& segments, at::Device device) {
  std::vector<int32_t> queries{0}, keys{0};
  for (const auto& [query, key] : segments.pairs) {
    queries.push_back(queries.back() + static_cast<int32_t>(query.length));
    keys.push_back(keys.back() + static_cast<int32_t>(key.length));
    segments.longest_query = std::max(segments.longest_query, query.length);
    segments.longest_key = std::max(segments.longest_key, key.length);
  }
  segments.query_offsets = on_device(queries, device);
  segments.key_offsets = on_device(keys, device);
}

SegmentBody choose_body(const Tensor& q, AttentionBody body) {
  const auto type = q.scalar_type();
  if (body == AttentionBody::kReference) return reference_body();
  if (q.device().is_cpu()) return type == at::kFloat ? cpu_body() : reference_body();
  return flash_takes(q.device(), type, q.size(2)) ? cuda_flash_body() : reference_body();
}

// Carries the plan through autograd's saved data.
struct HeldPlan : torch::CustomClassHolder {
  explicit HeldPlan(std::shared_ptr<const AttentionPlan> p) : plan(std::move(p)) {}
  std::shared_ptr<const AttentionPlan> plan;
};

struct Attention : torch::autograd::Function<Attention> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& qkv, int64_t heads, int64_t key_heads,
                        const Tensor& cos, const Tensor& sin, const std::shared_ptr<const AttentionPlan>& plan) {
    apply_rope_(qkv, heads + key_heads, {cos, sin});
    const AttentionOutput result = attention_forward(qkv.narrow(1, 0, heads), qkv.narrow(1, heads, key_heads),
                                                     qkv.narrow(1, heads + key_heads, key_heads), *plan);
    ctx->save_for_backward({qkv, cos, sin, result.out_TNH, result.lse_NT});
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["key_heads"] = key_heads;
    ctx->saved_data["plan"] = c10::IValue::make_capsule(c10::make_intrusive<HeldPlan>(plan));
    return result.out_TNH.flatten(1);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor& qkv = saved[0];
    const int64_t heads = ctx->saved_data["heads"].toInt(), key_heads = ctx->saved_data["key_heads"].toInt();
    const auto plan = static_cast<HeldPlan*>(ctx->saved_data["plan"].toCapsule().get())->plan;
    const auto part = [&](const Tensor& x, int index) {
      return index == 0 ? x.narrow(1, 0, heads) : x.narrow(1, heads + (index - 1) * key_heads, key_heads);
    };
    const Tensor grad = grads[0].contiguous().view(saved[3].sizes());
    Tensor dqkv = at::empty_like(qkv);
    attention_backward(grad, part(qkv, 0), part(qkv, 1), part(qkv, 2), {saved[3], saved[4]}, *plan, part(dqkv, 0),
                       part(dqkv, 1), part(dqkv, 2));
    apply_rope_(dqkv, heads + key_heads, {saved[1], saved[2]}, -1);
    return {dqkv, Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

std::shared_ptr<const AttentionPlan> make_plan(const Layout& layout, at::Device device) {
  auto plan = std::make_shared<AttentionPlan>();
  plan->tokens = layout.tokens;
  plan->prompt_tokens = layout.prompt_tokens;
  plan->self.causal = true;
  for (const GroupSpans& group : layout.groups) plan->self.pairs.push_back({group.prompt, group.prompt});
  Segments cross;
  for (const GroupSpans& group : layout.groups) {
    for (const Span response : group.responses) plan->self.pairs.push_back({response, response});
    if (!group.responses.empty()) cross.pairs.push_back({group.answers(), group.prompt});
  }
  finish(plan->self, device);
  if (cross.pairs.empty()) return plan;
  SSL4RL_CHECK(cross.pairs.size() == layout.groups.size(), "a group without responses among groups with responses");
  finish(cross, device);
  plan->cross = std::move(cross);
  return plan;
}

std::shared_ptr<const AttentionPlan> make_plan(const std::vector<int64_t>& lengths, at::Device device) {
  auto plan = std::make_shared<AttentionPlan>();
  for (const int64_t length : lengths) {
    SSL4RL_CHECK(length > 0, "an empty segment");
    const Span span{plan->tokens, length};
    plan->self.pairs.push_back({span, span});
    plan->tokens += length;
  }
  finish(plan->self, device);
  return plan;
}

AttentionOutput attention_forward(const Tensor& q_TNH, const Tensor& k_TKH, const Tensor& v_TKH,
                                  const AttentionPlan& plan, AttentionBody kind) {
  SSL4RL_CHECK(q_TNH.size(0) == plan.tokens && q_TNH.size(1) % k_TKH.size(1) == 0,
               "attention of {} rows and {} heads over {} heads; the plan has {} rows", q_TNH.size(0), q_TNH.size(1),
               k_TKH.size(1), plan.tokens);
  const SegmentBody body = choose_body(q_TNH, kind);
  AttentionOutput result = body.forward(q_TNH, k_TKH, v_TKH, plan.self);
  if (!plan.cross) return result;
  const AttentionOutput cross = body.forward(q_TNH, k_TKH, v_TKH, *plan.cross);
  const int64_t first = plan.prompt_tokens, count = plan.tokens - first;
  Tensor own_out = result.out_TNH.narrow(0, first, count), own_lse = result.lse_NT.narrow(1, first, count);
  // A softmax over the two parts: the own part's weight is sigmoid(own lse − cross lse).
  const Tensor weight_TN1 = at::sigmoid(own_lse - cross.lse_NT).t().unsqueeze(-1);
  const auto wide = own_lse.scalar_type();
  own_out.copy_(at::lerp(cross.out_TNH.to(wide), own_out.to(wide), weight_TN1));
  own_lse.copy_(at::logaddexp(own_lse, cross.lse_NT));
  return result;
}

void attention_backward(const Tensor& grad_TNH, const Tensor& q_TNH, const Tensor& k_TKH, const Tensor& v_TKH,
                        const AttentionOutput& output, const AttentionPlan& plan, const Tensor& dq_TNH,
                        const Tensor& dk_TKH, const Tensor& dv_TKH, AttentionBody kind) {
  const SegmentBody body = choose_body(q_TNH, kind);
  body.backward(grad_TNH, q_TNH, k_TKH, v_TKH, output.out_TNH, output.lse_NT, plan.self, dq_TNH, dk_TKH, dv_TKH,
                /*add=*/false);
  if (plan.cross)
    body.backward(grad_TNH, q_TNH, k_TKH, v_TKH, output.out_TNH, output.lse_NT, *plan.cross, dq_TNH, dk_TKH, dv_TKH,
                  /*add=*/true);
}

Tensor attention(const Tensor& qkv_TEH, int64_t query_heads, int64_t key_heads, const RopeTable& rope,
                 const std::shared_ptr<const AttentionPlan>& plan) {
  if (at::GradMode::is_enabled() && qkv_TEH.requires_grad())
    return Attention::apply(qkv_TEH, query_heads, key_heads, rope.cos_TR, rope.sin_TR, plan);
  apply_rope_(qkv_TEH, query_heads + key_heads, rope);
  return attention_forward(qkv_TEH.narrow(1, 0, query_heads), qkv_TEH.narrow(1, query_heads, key_heads),
                           qkv_TEH.narrow(1, query_heads + key_heads, key_heads), *plan)
      .out_TNH.flatten(1);
}

}  // namespace ssl4rl::nn
