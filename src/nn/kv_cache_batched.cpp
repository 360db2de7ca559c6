// The cache by ATen's operators, for any device and type: a handful of calls a layer, whatever the number of groups.
//
// Groups of about equal prompts and as many samples share a pool: [slots, K, positions, H] for prompts and [slots *
// samples, K, positions, H] for what the samples generate. A step scatters its rows' queries to their places,
// multiplies all slots of a pool at once, and gathers the rows' results; places without a running sample are computed
// and left.
//
// Where rows and slots are, and how far they reach, is put into tensors on the device once a step, so that no layer
// waits for the host. Those tensors, and the numbers of rows and positions, change in steps only: rows are filled up
// with ones that read row 0 and write where nobody looks (place 0 and the row behind the last), so that the same work
// can be recorded once and repeated (nn/graph.h).
// Shape suffixes: n rows, m rows of a pool, g slots, s samples, K key heads, r query heads of a key head, H head
// dimension.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "ssl4rl/base/error.h"
#include "ssl4rl/nn/kv_cache.h"
#include "ssl4rl/nn/on_device.h"

namespace ssl4rl::nn {
namespace {

using at::Tensor;

constexpr int64_t kPromptUnit = 128, kOwnUnit = 128;  // positions that a pool's tensors grow by
constexpr int64_t kReachUnit = 64;                    // positions that a step's work grows by

int64_t rounded_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

at::ScalarType wide_type(const Tensor& x) { return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

// a · b, summed and given in float32 (or float64).
Tensor product(const Tensor& a, const Tensor& b) {
  const at::ScalarType wide = wide_type(a);
  if (a.is_cuda() && a.scalar_type() != wide) return at::bmm(a, b, wide);  // CUDA alone has this form
  return at::bmm(a.to(wide), b.to(wide));
}

// Lists of numbers that the host knows, which come to the device in one copy and keep their places there while their
// lengths stay.
class Table {
 public:
  void set(const std::vector<const std::vector<int64_t>*>& lists, at::Device device) {
    std::vector<int64_t> all, lengths;
    for (const auto* list : lists) {
      all.insert(all.end(), list->begin(), list->end());
      lengths.push_back(static_cast<int64_t>(list->size()));
    }
    const Tensor given = on_device(all, device);
    if (parts_.empty() || lengths != lengths_) {
      whole_ = given.is_cpu() ? given.clone() : given;
      parts_ = whole_.split_with_sizes(lengths);
      lengths_ = lengths;
    } else {
      whole_.copy_(given);
    }
  }
  [[nodiscard]] const Tensor& operator[](size_t list) const { return parts_[list]; }
  [[nodiscard]] bool empty() const { return parts_.empty(); }

 private:
  Tensor whole_;
  std::vector<Tensor> parts_;
  std::vector<int64_t> lengths_;
};

// Sets `beyond` [rows, positions], in its place if it has the shape: true from each row's reach on.
void set_beyond(Tensor& beyond, const Tensor& reach, int64_t positions) {
  const Tensor now = at::arange(positions, reach.options()).unsqueeze(0) >= reach.unsqueeze(1);
  if (beyond.defined() && beyond.sizes() == now.sizes()) {
    beyond.copy_(now);
  } else {
    beyond = now;
  }
}

// Groups that share tensors.
class Pool {
 public:
  Pool(const KvShape& shape, const at::TensorOptions& options, int64_t prompt_positions, int64_t samples)
      : shape_(shape), options_(options), prompt_positions_(prompt_positions), samples_(samples) {
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
    l.prompt_k[slot].narrow(1, 0, tokens).copy_(k_PKH.transpose(0, 1));
    l.prompt_v[slot].narrow(1, 0, tokens).copy_(v_PKH.transpose(0, 1));
  }

  // One of a step's rows that is here.
  struct Row {
    int64_t number, slot, sample, position;
  };
  /// `behind`: the number of the row that nobody looks at.
  void begin(const std::vector<Row>& rows, int64_t behind, at::Device device) {
    std::vector<int64_t> from, to, places, positions, reach(lengths_.size() * static_cast<size_t>(samples_), 0);
    int64_t longest = 1;
    for (const Row& row : rows) {
      const int64_t place = row.slot * samples_ + row.sample;
      from.push_back(row.number);
      to.push_back(row.number);
      places.push_back(1 + place);
      positions.push_back(row.position);
      reach[static_cast<size_t>(place)] = row.position + 1;
      longest = std::max(longest, row.position + 1);
    }
    if (!rows.empty()) {
      const auto filled = static_cast<size_t>(step_rows(static_cast<int64_t>(rows.size())));
      from.resize(filled, 0);
      to.resize(filled, behind);
      places.resize(filled, 0);
      positions.resize(filled, 0);
    }
    longest_ = rounded_up(longest, kReachUnit);
    if (longest_ > own_positions_) resize(capacity_, rounded_up(longest_, kOwnUnit));
    table_.set({&from, &to, &places, &positions, &lengths_, &reach}, device);
    set_beyond(prompt_beyond_gP_, table_[kLengths], prompt_positions_);
    set_beyond(own_beyond_sL_, table_[kReach], longest_);
  }
  [[nodiscard]] bool has_rows() const { return !table_.empty() && table_[kFrom].size(0) > 0; }

  // What tells one step's work from another's, the contents of tensors apart.
  void describe(std::vector<int64_t>& layout) const {
    for (const int64_t n : {static_cast<int64_t>(lengths_.size()), longest_, prompt_positions_, samples_})
      layout.push_back(n);
    for (const Tensor& tensor :
         {table_[kFrom], table_[kTo], table_[kPlaces], table_[kPositions], prompt_beyond_gP_, own_beyond_sL_}) {
      layout.push_back(tensor.numel());
      layout.push_back(reinterpret_cast<int64_t>(tensor.const_data_ptr()));
    }
    for (const Tensor* tensor : {&layers_.front().prompt_k, &layers_.front().own_k})
      layout.push_back(reinterpret_cast<int64_t>(tensor->const_data_ptr()));
  }

  // Appends the rows' keys and values, and writes their results to out, which is a row longer than q.
  void attend(int64_t layer, const Tensor& q_nNH, const Tensor& k_nKH, const Tensor& v_nKH, Tensor& out) {
    Layer& l = layers_.at(static_cast<size_t>(layer));
    const Tensor &from_m = table_[kFrom], &places_m = table_[kPlaces], &positions_m = table_[kPositions];
    const auto slots = static_cast<int64_t>(lengths_.size());
    const int64_t places = slots * samples_, heads = shape_.key_heads, d = shape_.head_dim,
                  repeat = q_nNH.size(1) / heads;
    // Advanced indices around a slice: [m, K, H] as the value.
    l.own_k.index_put_({places_m, at::indexing::Slice(), positions_m}, k_nKH.index_select(0, from_m));
    l.own_v.index_put_({places_m, at::indexing::Slice(), positions_m}, v_nKH.index_select(0, from_m));

    const Tensor q_sKrH = at::zeros({1 + places, q_nNH.size(1), d}, q_nNH.options())
                              .index_copy_(0, places_m, q_nNH.index_select(0, from_m))
                              .narrow(0, 1, places)
                              .view({slots, samples_, heads, repeat, d});
    const auto prompts = [&](const Tensor& x) { return x.narrow(0, 0, slots).flatten(0, 1); };
    const auto owns = [&](const Tensor& x) { return x.narrow(0, 1, places).flatten(0, 1).narrow(1, 0, longest_); };
    // All samples of a slot and all query heads of a key head against the one prompt, and each sample against its own.
    const Tensor by_prompt = product(q_sKrH.transpose(1, 2).reshape({slots * heads, samples_ * repeat, d}),
                                     prompts(l.prompt_k).transpose(1, 2))
                                 .view({slots, heads, samples_, repeat, prompt_positions_})
                                 .masked_fill_(prompt_beyond_gP_.view({slots, 1, 1, 1, prompt_positions_}), -INFINITY);
    const Tensor by_own = product(q_sKrH.reshape({places * heads, repeat, d}), owns(l.own_k).transpose(1, 2))
                              .view({places, heads, repeat, longest_})
                              .masked_fill_(own_beyond_sL_.view({places, 1, 1, longest_}), -INFINITY)
                              .view({slots, samples_, heads, repeat, longest_});
    const Tensor weights = at::cat({by_prompt, by_own.transpose(1, 2)}, -1)
                               .mul_(1 / std::sqrt(static_cast<double>(d)))
                               .softmax(-1)
                               .to(q_nNH.scalar_type());
    const Tensor from_prompt =
        product(weights.narrow(-1, 0, prompt_positions_).reshape({slots * heads, samples_ * repeat, prompt_positions_}),
                prompts(l.prompt_v))
            .view({slots, heads, samples_, repeat, d})
            .transpose(1, 2);
    const Tensor from_own =
        product(
            weights.narrow(-1, prompt_positions_, longest_).transpose(1, 2).reshape({places * heads, repeat, longest_}),
            owns(l.own_v))
            .view({slots, samples_, heads, repeat, d});
    const Tensor results = (from_prompt + from_own).reshape({places, heads * repeat, d}).to(out.scalar_type());
    // Place 0 has no result: rows that fill up read the first one.
    out.index_copy_(0, table_[kTo], results.index_select(0, (places_m - 1).clamp_min(0)));
  }

 private:
  struct Layer {
    Tensor prompt_k, prompt_v;  // [slots, K, positions, H]
    Tensor own_k, own_v;        // [1 + slots * samples, K, positions, H]
  };

  void resize(int64_t slots, int64_t own_positions) {
    const auto enlarge = [&](Tensor& tensor, int64_t rows, int64_t positions) {
      // Zeroed: what is masked still takes part in products, with weight 0.
      Tensor larger = at::zeros({rows, shape_.key_heads, positions, shape_.head_dim}, options_);
      if (tensor.defined()) larger.narrow(0, 0, tensor.size(0)).narrow(2, 0, tensor.size(2)).copy_(tensor);
      tensor = larger;
    };
    for (Layer& layer : layers_) {
      for (Tensor* tensor : {&layer.prompt_k, &layer.prompt_v})
        if (slots > capacity_) enlarge(*tensor, slots, prompt_positions_);
      for (Tensor* tensor : {&layer.own_k, &layer.own_v}) enlarge(*tensor, 1 + slots * samples_, own_positions);
    }
    capacity_ = slots;
    own_positions_ = own_positions;
  }

  const KvShape shape_;
  const at::TensorOptions options_;
  const int64_t prompt_positions_, samples_;
  int64_t capacity_ = 0, own_positions_ = kOwnUnit;
  std::vector<int64_t> lengths_;  // of each slot's prompt; 0: free
  std::vector<Layer> layers_;
  // Of the present step.
  int64_t longest_ = 0;
  enum : size_t { kFrom, kTo, kPlaces, kPositions, kLengths, kReach };  // four of the rows that are here, filled up
  Table table_;
  Tensor prompt_beyond_gP_, own_beyond_sL_;  // positions that hold nothing
};

class BatchedKvCache final : public KvCache {
 public:
  BatchedKvCache(const KvShape& shape, const at::TensorOptions& options) : shape_(shape), options_(options) {}

  int64_t add_group(int64_t prompt_tokens, int64_t samples) override {
    auto pool = std::find_if(pools_.begin(), pools_.end(),
                             [&](const auto& other) { return other->takes(prompt_tokens, samples); });
    if (pool == pools_.end())
      pool = pools_.insert(pool,
                           std::make_shared<Pool>(shape_, options_, rounded_up(prompt_tokens, kPromptUnit), samples));
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
      pool->begin(here, behind, options_.device());
      pool->describe(layout_);
    }
  }
  const std::vector<int64_t>& layout() const override { return layout_; }

  Tensor attend(int64_t layer, const Tensor& q_nNH, const Tensor& k_nKH, const Tensor& v_nKH) override {
    const int64_t n = q_nNH.size(0);
    Tensor out = at::zeros({n + 1, q_nNH.size(1), q_nNH.size(2)}, q_nNH.options());
    for (const auto& pool : pools_)
      if (pool->has_rows()) pool->attend(layer, q_nNH, k_nKH, v_nKH, out);
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
};

}  // namespace

int64_t step_rows(int64_t rows) { return rounded_up(rows, rows <= 64 ? 8 : rows <= 256 ? 32 : 64); }

std::unique_ptr<KvCache> make_batched_kv_cache(const KvShape& shape, const at::TensorOptions& options) {
  return std::make_unique<BatchedKvCache>(shape, options);
}

}  // namespace ssl4rl::nn
