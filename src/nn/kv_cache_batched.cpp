// The cache by ATen's operators, for any device and type: a handful of calls a layer, whatever the number of groups.
//
// Groups of about equal prompts and as many samples share a pool: a slot a group for prompts and slots * samples places
// for what the samples generate. A step attends to all prompts of a pool at once and to all its own tokens at once, and
// takes both together: by flash attention over the running rows where the device has it, else by products over all
// places, whose rows are scattered to their places and gathered; places without a running sample are computed and left.
//
// Where rows and slots are, and how far they reach, is put into tensors on the device once a step, so that no layer
// waits for the host. Those tensors lie where they are as long as the pool has its size, and what is done with them
// depends on few numbers that change in steps only: rows are filled up with ones that write where nobody looks (place 0
// and the row behind the last), so that the same work can be recorded once and repeated (nn/graph.h).
// Shape suffixes: n rows, m rows of a pool, g slots, s places, K key heads, N query heads, r query heads of a key head,
// H head dimension, P positions of a prompt, L own positions.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "attention_body.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/nn/kv_cache.h"
#include "ssl4rl/nn/on_device.h"
#include "tensor_kind.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

constexpr int64_t kPromptUnit = 128, kOwnUnit = 128;  // positions that a pool's tensors grow by
constexpr int64_t kReachUnit = 64;                    // positions that a step's work grows by

int64_t rounded_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Lists of numbers that the host knows, each with its place in one tensor on the device, where one copy brings them.
class Table {
 public:
  void reserve(const std::vector<int64_t>& lengths, const at::TensorOptions& options, bool short_too) {
    begins_.assign(1, 0);
    for (const int64_t length : lengths) begins_.push_back(begins_.back() + length);
    all_ = at::zeros({begins_.back()}, options.dtype(at::kLong));
    if (short_too) short_ = at::zeros({begins_.back()}, options.dtype(at::kInt));
  }
  void set(const std::vector<const std::vector<int64_t>*>& lists) {
    std::vector<int64_t> all(static_cast<size_t>(begins_.back()), 0);
    for (size_t i = 0; i < lists.size(); ++i) {
      SSL4RL_CHECK(std::ssize(*lists[i]) <= begins_[i + 1] - begins_[i], "list {} of {} numbers", i, lists[i]->size());
      std::copy(lists[i]->begin(), lists[i]->end(), all.begin() + begins_[i]);
    }
    all_.copy_(on_device(all, all_.device()));
    if (short_.defined()) short_.copy_(all_);
  }
  [[nodiscard]] Tensor get(size_t list, int64_t length) const { return all_.narrow(0, begins_[list], length); }
  [[nodiscard]] Tensor get_short(size_t list, int64_t length) const { return short_.narrow(0, begins_[list], length); }

 private:
  Tensor all_, short_;
  std::vector<int64_t> begins_{0};
};

// Groups that share tensors.
class Pool {
 public:
  /// `versions` counts the times that any pool's tensors were made.
  Pool(const KvShape& shape, const at::TensorOptions& options, int64_t prompt_positions, int64_t samples,
       int64_t& versions)
      : shape_(shape),
        options_(options),
        flash_(flash_takes(options.device(), c10::typeMetaToScalarType(options.dtype()), shape.head_dim)),
        prompt_positions_(prompt_positions),
        samples_(samples),
        versions_(versions) {
    layers_.resize(static_cast<size_t>(shape.layers));
  }

  [[nodiscard]] bool takes(int64_t prompt_tokens, int64_t samples) const {
    return prompt_positions_ == rounded_up(prompt_tokens, kPromptUnit) && samples_ == samples;
  }
  [[nodiscard]] bool empty() const {
    return std::all_of(lengths_.begin(), lengths_.end(), [](int64_t length) { return length == 0; });
  }

  int64_t add(int64_t prompt_tokens) {
    size_t slot = 0;
    while (slot < lengths_.size() && lengths_[slot] > 0) ++slot;
    if (slot == lengths_.size()) lengths_.push_back(0);
    lengths_[slot] = prompt_tokens;
    if (const auto slots = static_cast<int64_t>(lengths_.size()); slots > capacity_)
      resize(std::max(slots, capacity_ + capacity_ / 2), own_positions_);
    return static_cast<int64_t>(slot);
  }
  void drop(int64_t slot) {
    lengths_[static_cast<size_t>(slot)] = 0;
    while (!lengths_.empty() && lengths_.back() == 0) lengths_.pop_back();
  }

  void store_prompt(int64_t slot, int64_t layer, const Tensor& k_PKH, const Tensor& v_PKH) {
    Layer& l = layers_.at(static_cast<size_t>(layer));
    const int64_t tokens = lengths_.at(static_cast<size_t>(slot));
    SSL4RL_CHECK(k_PKH.size(0) == tokens, "a prompt of {} tokens instead of {}", k_PKH.size(0), tokens);
    l.prompt_k[slot].narrow(0, 0, tokens).copy_(k_PKH);
    l.prompt_v[slot].narrow(0, 0, tokens).copy_(v_PKH);
  }

  // One of a step's rows that is here.
  struct Row {
    int64_t number, slot, sample, position;
  };
  /// `all`: these are all rows of the step. `behind`: the number of the row that nobody looks at.
  void begin(const std::vector<Row>& rows, bool all, int64_t behind) {
    all_ = all;
    rows_ = rows.empty() ? 0 : all ? behind : step_rows(std::ssize(rows));
    if (rows_ == 0) return;
    std::vector<int64_t> from, to, places, positions;
    int64_t longest = 1;
    for (const Row& row : rows) {
      from.push_back(row.number);
      to.push_back(row.number);
      places.push_back(1 + row.slot * samples_ + row.sample);
      positions.push_back(row.position);
      longest = std::max(longest, row.position + 1);
    }
    for (auto* list : {&from, &places, &positions}) list->resize(static_cast<size_t>(rows_), 0);
    to.resize(static_cast<size_t>(rows_), behind);
    if (longest > own_positions_) resize(capacity_, rounded_up(longest, kOwnUnit));
    if (flash_) {
      begin_flash(rows, {&from, &to, &places, &positions});
    } else {
      longest_ = rounded_up(longest, kReachUnit);
      begin_products(rows, {&from, &to, &places, &positions});
    }
  }
  [[nodiscard]] int64_t rows() const { return rows_; }
  [[nodiscard]] bool has_all() const { return all_; }
  [[nodiscard]] Tensor from_m() const { return table_.get(kFrom, rows_); }
  [[nodiscard]] Tensor to_m() const { return table_.get(kTo, rows_); }

  // What tells one step's work from another's, the contents of tensors apart.
  void describe(std::vector<int64_t>& layout) const {
    layout.insert(layout.end(), {version_, rows_, all_ ? 1 : 0, slots_, longest_});
  }

  // Appends the keys and values of this pool's rows and gives their results [m, N, H].
  Tensor attend(int64_t layer, const Tensor& q_mNH, const Tensor& k_mKH, const Tensor& v_mKH) {
    const Layer& l = layers_.at(static_cast<size_t>(layer));
    const Tensor places_m = table_.get(kPlaces, rows_), positions_m = table_.get(kPositions, rows_);
    Tensor own_k = l.own_k, own_v = l.own_v;
    own_k.index_put_({places_m, positions_m}, k_mKH);
    own_v.index_put_({places_m, positions_m}, v_mKH);
    return flash_ ? attend_flash(l, q_mNH) : attend_products(l, q_mNH);
  }

 private:
  struct Layer {
    Tensor prompt_k, prompt_v;  // [slots, P, K, H]
    Tensor own_k, own_v;        // [1 + slots * samples, L, K, H]
  };
  using Lists = std::vector<const std::vector<int64_t>*>;
  // Of the rows that are here, filled up; and what each way to attend needs.
  enum : size_t { kFrom, kTo, kPlaces, kPositions, kMore };
  enum : size_t { kGroupRows = kMore, kGroupKeys, kGroupLengths, kOwnRows, kOwnKeys, kOwnLengths };
  enum : size_t { kLengths = kMore, kReach, kSources };

  [[nodiscard]] int64_t query_repeat() const { return shape_.query_heads / shape_.key_heads; }

  // ---- Flash attention: a group's rows are a segment over its prompt, and each row one over its own positions. A
  // segment's keys are given by where they begin in the cache and how many of them count, in any order. The query heads
  // of a key head are rows too, so that keys and values are read once.

  void begin_flash(const std::vector<Row>& rows, Lists lists) {
    const int64_t repeat = query_repeat();
    std::vector<int64_t> group_rows{0}, group_keys, group_lengths, own_rows(static_cast<size_t>(rows_ + 1)), own_keys,
        own_lengths;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (i == 0 || rows[i].slot != rows[i - 1].slot) {
        group_rows.push_back(group_rows.back());
        group_keys.push_back(rows[i].slot * prompt_positions_);
        group_lengths.push_back(lengths_[static_cast<size_t>(rows[i].slot)]);
      }
      group_rows.back() += repeat;
    }
    group_rows.resize(static_cast<size_t>(capacity_ + 1), group_rows.back());  // empty segments
    for (int64_t i = 0; i <= rows_; ++i) own_rows[static_cast<size_t>(i)] = i * repeat;
    for (const int64_t place : *lists[kPlaces]) own_keys.push_back(place * own_positions_);
    for (const int64_t position : *lists[kPositions]) own_lengths.push_back(position + 1);
    lists.insert(lists.end(), {&group_rows, &group_keys, &group_lengths, &own_rows, &own_keys, &own_lengths});
    table_.set(lists);
  }

  Tensor attend_flash(const Layer& l, const Tensor& q_mNH) const {
    const int64_t heads = shape_.key_heads, repeat = query_repeat();
    SSL4RL_CHECK(q_mNH.size(1) == heads * repeat, "{} query heads instead of {}", q_mNH.size(1), heads * repeat);
    const Tensor q_MKH = q_mNH.unflatten(1, {heads, repeat}).transpose(1, 2).flatten(0, 1);  // M: rows by query heads
    const auto [prompt_out, prompt_lse] =
        cuda_flash_over_cache(q_MKH, l.prompt_k.flatten(0, 1), l.prompt_v.flatten(0, 1),
                              table_.get_short(kGroupRows, capacity_ + 1), table_.get_short(kGroupKeys, capacity_ + 1),
                              table_.get_short(kGroupLengths, capacity_), samples_ * repeat, prompt_positions_);
    const auto [own_out, own_lse] = cuda_flash_over_cache(
        q_MKH, l.own_k.flatten(0, 1), l.own_v.flatten(0, 1), table_.get_short(kOwnRows, rows_ + 1),
        table_.get_short(kOwnKeys, rows_ + 1), table_.get_short(kOwnLengths, rows_), repeat, own_positions_);
    // A softmax over the two parts, as in attention.cpp; float32 until the end.
    const auto by_row = [&](const Tensor& x) { return x.unflatten(0, {rows_, repeat}).transpose(1, 2); };
    const Tensor own_weight = by_row(at::sigmoid(own_lse - prompt_lse).t().unsqueeze(-1));
    const Tensor sum = at::addcmul(by_row(prompt_out), by_row(own_out), own_weight);
    Tensor out = at::empty({rows_, heads, repeat, shape_.head_dim}, q_mNH.options());
    at::addcmul_out(out, sum, by_row(prompt_out), own_weight, -1);
    return out.flatten(1, 2);
  }

  // ---- Products.

  void begin_products(const std::vector<Row>& rows, Lists lists) {
    slots_ = std::min(capacity_, step_rows(std::ssize(lengths_)));
    std::vector<int64_t> reach(static_cast<size_t>(capacity_ * samples_), 0), sources;
    for (const Row& row : rows) {
      sources.push_back(row.slot * samples_ + row.sample);
      reach[static_cast<size_t>(sources.back())] = row.position + 1;
    }
    sources.resize(static_cast<size_t>(rows_), 0);  // place 0 has no result: rows that fill up read the first one
    lists.insert(lists.end(), {&lengths_, &reach, &sources});
    table_.set(lists);
    const auto set_beyond = [&](Tensor& beyond, size_t list) {
      at::ge_out(beyond, positions_.narrow(0, 0, beyond.size(1)), table_.get(list, beyond.size(0)).unsqueeze(1));
    };
    set_beyond(prompt_beyond_gP_, kLengths);
    set_beyond(own_beyond_sL_, kReach);
  }

  Tensor attend_products(const Layer& l, const Tensor& q_mNH) const {
    const int64_t places = slots_ * samples_, heads = shape_.key_heads, d = shape_.head_dim,
                  repeat = q_mNH.size(1) / heads;
    const at::ScalarType wide = wide_type(q_mNH);
    const auto product = [wide](const Tensor& a, const Tensor& b) { return at::bmm(a, b.to(wide)); };
    const Tensor q_sKrH =
        at::empty({1 + places, q_mNH.size(1), d}, q_mNH.options().dtype(wide))
            .index_copy_(0, table_.get(kPlaces, rows_), q_mNH.to(wide) * (1 / std::sqrt(static_cast<double>(d))))
            .narrow(0, 1, places)
            .view({slots_, samples_, heads, repeat, d});
    const auto prompts = [&](const Tensor& x) { return x.narrow(0, 0, slots_).transpose(1, 2).flatten(0, 1); };
    const auto owns = [&](const Tensor& x) {
      return x.narrow(0, 1, places).transpose(1, 2).flatten(0, 1).narrow(1, 0, longest_);
    };
    const auto beyond = [](const Tensor& mask, int64_t rows, int64_t positions) {
      return mask.narrow(0, 0, rows).narrow(1, 0, positions).unsqueeze(1).unsqueeze(1);
    };
    // All samples of a slot and all query heads of a key head against the one prompt, and each sample against its own.
    const Tensor by_prompt = product(q_sKrH.transpose(1, 2).reshape({slots_ * heads, samples_ * repeat, d}),
                                     prompts(l.prompt_k).transpose(1, 2))
                                 .view({slots_, heads, samples_ * repeat, prompt_positions_})
                                 .masked_fill_(beyond(prompt_beyond_gP_, slots_, prompt_positions_), -INFINITY)
                                 .view({slots_, heads, samples_, repeat, prompt_positions_});
    const Tensor by_own = product(q_sKrH.reshape({places * heads, repeat, d}), owns(l.own_k).transpose(1, 2))
                              .view({places, heads, repeat, longest_})
                              .masked_fill_(beyond(own_beyond_sL_, places, longest_), -INFINITY)
                              .view({slots_, samples_, heads, repeat, longest_});
    const Tensor weights = at::cat({by_prompt, by_own.transpose(1, 2)}, -1).softmax(-1);
    const Tensor from_prompt =
        product(
            weights.narrow(-1, 0, prompt_positions_).reshape({slots_ * heads, samples_ * repeat, prompt_positions_}),
            prompts(l.prompt_v))
            .view({slots_, heads, samples_, repeat, d})
            .transpose(1, 2);
    const Tensor from_own =
        product(
            weights.narrow(-1, prompt_positions_, longest_).transpose(1, 2).reshape({places * heads, repeat, longest_}),
            owns(l.own_v))
            .view({slots_, samples_, heads, repeat, d});
    return (from_prompt + from_own)
        .reshape({places, heads * repeat, d})
        .index_select(0, table_.get(kSources, rows_))
        .to(q_mNH.scalar_type());
  }

  void resize(int64_t slots, int64_t own_positions) {
    const auto enlarge = [&](Tensor& tensor, int64_t rows, int64_t positions) {
      // In memory as each way to attend reads it. Zeroed: what is masked still takes part in products, with weight 0.
      Tensor larger = flash_
                          ? at::zeros({rows, positions, shape_.key_heads, shape_.head_dim}, options_)
                          : at::zeros({rows, shape_.key_heads, positions, shape_.head_dim}, options_).transpose(1, 2);
      if (tensor.defined()) larger.narrow(0, 0, tensor.size(0)).narrow(1, 0, tensor.size(1)).copy_(tensor);
      tensor = larger;
    };
    for (Layer& layer : layers_) {
      for (Tensor* tensor : {&layer.prompt_k, &layer.prompt_v})
        if (slots > capacity_) enlarge(*tensor, slots, prompt_positions_);
      for (Tensor* tensor : {&layer.own_k, &layer.own_v}) enlarge(*tensor, 1 + slots * samples_, own_positions);
    }
    capacity_ = slots;
    own_positions_ = own_positions;
    version_ = ++versions_;
    const int64_t rows = step_rows(slots * samples_);
    if (flash_) {
      table_.reserve({rows, rows, rows, rows, slots + 1, slots + 1, slots, rows + 1, rows + 1, rows}, options_, true);
    } else {
      table_.reserve({rows, rows, rows, rows, slots, slots * samples_, rows}, options_, false);
      positions_ = at::arange(std::max(prompt_positions_, own_positions), options_.dtype(at::kLong));
      prompt_beyond_gP_ = at::empty({slots, prompt_positions_}, options_.dtype(at::kBool));
      own_beyond_sL_ = at::empty({slots * samples_, own_positions}, options_.dtype(at::kBool));
    }
  }

  const KvShape shape_;
  const at::TensorOptions options_;
  const bool flash_;
  const int64_t prompt_positions_, samples_;
  int64_t& versions_;
  int64_t capacity_ = 0, own_positions_ = kOwnUnit;
  int64_t version_ = 0;           // of the tensors: another one when they are made anew
  std::vector<int64_t> lengths_;  // of each slot's prompt; 0: free
  std::vector<Layer> layers_;
  // Of the present step.
  bool all_ = false;
  int64_t rows_ = 0;
  int64_t slots_ = 0, longest_ = 0;  // that products reach over
  Table table_;
  Tensor positions_, prompt_beyond_gP_, own_beyond_sL_;  // positions, and which of them hold nothing
};

class BatchedKvCache final : public KvCache {
 public:
  BatchedKvCache(const KvShape& shape, const at::TensorOptions& options) : shape_(shape), options_(options) {}

  int64_t add_group(int64_t prompt_tokens, int64_t samples) override {
    auto pool = std::find_if(pools_.begin(), pools_.end(),
                             [&](const auto& other) { return other->takes(prompt_tokens, samples); });
    if (pool == pools_.end())
      pool = pools_.insert(
          pool, std::make_shared<Pool>(shape_, options_, rounded_up(prompt_tokens, kPromptUnit), samples, versions_));
    size_t number = 0;
    while (number < groups_.size() && groups_[number].pool) ++number;
    if (number == groups_.size()) groups_.emplace_back();
    groups_[number] = {*pool, (*pool)->add(prompt_tokens)};
    return static_cast<int64_t>(number);
  }

  void store_prompt(int64_t group, int64_t layer, const Tensor& k_PKH, const Tensor& v_PKH) override {
    const Place& place = groups_.at(static_cast<size_t>(group));
    place.pool->store_prompt(place.slot, layer, k_PKH, v_PKH);
  }

  void begin(std::span<const DecodeRow> rows, int64_t computed_rows) override {
    const int64_t behind = computed_rows > 0 ? computed_rows : static_cast<int64_t>(rows.size());
    layout_ = {behind};
    for (const auto& pool : pools_) {
      std::vector<Pool::Row> here;
      for (size_t i = 0; i < rows.size(); ++i) {
        const Place& place = groups_.at(static_cast<size_t>(rows[i].group));
        if (place.pool == pool) here.push_back({static_cast<int64_t>(i), place.slot, rows[i].sample, rows[i].position});
      }
      pool->begin(here, here.size() == rows.size(), behind);
      if (pool->rows() > 0) pool->describe(layout_);
    }
  }
  const std::vector<int64_t>& layout() const override { return layout_; }

  Tensor attend(int64_t layer, const Tensor& q_nNH, const Tensor& k_nKH, const Tensor& v_nKH) override {
    const int64_t n = q_nNH.size(0);
    Tensor out;
    for (const auto& pool : pools_) {
      if (pool->rows() == 0) continue;
      if (pool->has_all()) return pool->attend(layer, q_nNH, k_nKH, v_nKH).flatten(1);
      const auto here = [from_m = pool->from_m()](const Tensor& x) { return x.index_select(0, from_m); };
      if (!out.defined()) out = at::empty({n + 1, q_nNH.size(1), q_nNH.size(2)}, q_nNH.options());
      out.index_copy_(0, pool->to_m(), pool->attend(layer, here(q_nNH), here(k_nKH), here(v_nKH)));
    }
    return out.narrow(0, 0, n).flatten(1);
  }

  void drop_sample(int64_t, int64_t) override {}
  void drop_group(int64_t group) override {
    const Place place = std::exchange(groups_.at(static_cast<size_t>(group)), {});
    place.pool->drop(place.slot);
    std::erase_if(pools_, [](const auto& pool) { return pool->empty(); });
  }

 private:
  struct Place {
    std::shared_ptr<Pool> pool;  // none: the number is free
    int64_t slot = 0;
  };

  KvShape shape_;
  at::TensorOptions options_;
  std::vector<std::shared_ptr<Pool>> pools_;
  std::vector<Place> groups_;
  std::vector<int64_t> layout_;
  int64_t versions_ = 0;
};

}  // namespace

int64_t step_rows(int64_t rows) { return rounded_up(rows, rows <= 64 ? 8 : rows <= 256 ? 32 : 64); }

std::unique_ptr<KvCache> make_batched_kv_cache(const KvShape& shape, const at::TensorOptions& options) {
  return std::make_unique<BatchedKvCache>(shape, options);
}

}  // namespace ssl4rl::nn
