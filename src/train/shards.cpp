#include "ssl4rl/train/shards.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "ssl4rl/base/error.h"

namespace ssl4rl::train {

using at::Tensor;

namespace {

constexpr int64_t kBucketValues = 16 << 20;  // a larger tensor travels alone

}  // namespace

Shards::Shards(const Communicator& communicator, const std::vector<Tensor>& tensors) : communicator_(communicator) {
  for (const Tensor& tensor : tensors) {
    const int64_t values = tensor.numel(), stretch = (values + communicator.ranks() - 1) / communicator.ranks();
    SSL4RL_CHECK(communicator.ranks() == 1 || tensor.is_contiguous(), "a tensor that is not contiguous");
    const bool fits = !buckets_.empty() && entries_.back().type == tensor.scalar_type() &&
                      (buckets_.back().n + stretch) * communicator.ranks() <= kBucketValues;
    if (!fits) buckets_.push_back({entries_.size(), entries_.size(), 0});
    entries_.push_back({tensor.sizes().vec(), values, stretch, tensor.scalar_type()});
    ++buckets_.back().end;
    buckets_.back().n += stretch;
  }
}

int64_t Shards::length(const Entry& entry) const {
  return std::clamp<int64_t>(entry.values - communicator_.rank() * entry.stretch, 0, entry.stretch);
}

int64_t Shards::begin(size_t i) const {
  return std::min(entries_[i].values, communicator_.rank() * entries_[i].stretch);
}

Tensor Shards::own(size_t i, const Tensor& whole) const {
  if (communicator_.ranks() == 1) return whole;
  return whole.view({-1}).narrow(0, begin(i), length(entries_[i]));
}

std::vector<Tensor> Shards::reduce(std::vector<Tensor>& gradients) const {
  if (communicator_.ranks() == 1) return std::move(gradients);
  std::vector<double> present;
  for (const Tensor& gradient : gradients) present.push_back(gradient.defined());
  communicator_.sum(present);
  return reduce_present(gradients, present);
}

std::vector<Tensor> Shards::reduce_all(std::vector<Tensor>& gradients) const {
  if (communicator_.ranks() == 1) return std::move(gradients);
  return reduce_present(gradients, std::vector<double>(gradients.size(), 1));
}

std::vector<Tensor> Shards::reduce_present(std::vector<Tensor>& gradients, const std::vector<double>& present) const {
  const at::NoGradGuard no_grad;
  std::vector<Tensor> owns(gradients.size());
  for (const Bucket& bucket : buckets_) {
    const at::ScalarType type = entries_[bucket.first].type == at::kDouble ? at::kDouble : at::kFloat;
    Tensor rows_Rn;
    int64_t at = 0;
    for (size_t i = bucket.first; i < bucket.end; at += entries_[i++].stretch) {
      const Tensor gradient = std::exchange(gradients[i], {});
      if (!gradient.defined()) continue;
      if (!rows_Rn.defined()) rows_Rn = at::zeros({communicator_.ranks(), bucket.n}, gradient.options().dtype(type));
      const Entry& entry = entries_[i];
      const Tensor padded =
          at::constant_pad_nd(gradient.reshape({-1}), {0, communicator_.ranks() * entry.stretch - entry.values});
      rows_Rn.narrow(1, at, entry.stretch).copy_(padded.view({communicator_.ranks(), entry.stretch}));
    }
    if (std::none_of(present.begin() + static_cast<ptrdiff_t>(bucket.first),
                     present.begin() + static_cast<ptrdiff_t>(bucket.end), [](double ranks) { return ranks > 0; }))
      continue;
    if (!rows_Rn.defined())
      rows_Rn = at::zeros({communicator_.ranks(), bucket.n}, at::TensorOptions(communicator_.device()).dtype(type));
    const Tensor sums_n = communicator_.reduce_scatter(rows_Rn);
    at = 0;
    for (size_t i = bucket.first; i < bucket.end; at += entries_[i++].stretch)
      if (present[i] > 0) owns[i] = sums_n.narrow(0, at, length(entries_[i]));
  }
  return owns;
}

void Shards::complete(const std::vector<Tensor>& tensors) const {
  if (communicator_.ranks() == 1) return;
  std::vector<Tensor> owns(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i)
    if (tensors[i].defined()) owns[i] = own(i, tensors[i]);
  gather(owns, tensors);
}

void Shards::gather(const std::vector<Tensor>& owns, const std::vector<Tensor>& wholes) const {
  const at::NoGradGuard no_grad;
  for (const Bucket& bucket : buckets_) {
    const auto first = std::find_if(owns.begin() + static_cast<ptrdiff_t>(bucket.first),
                                    owns.begin() + static_cast<ptrdiff_t>(bucket.end),
                                    [](const Tensor& own) { return own.defined(); });
    if (first == owns.begin() + static_cast<ptrdiff_t>(bucket.end)) continue;
    const Tensor own_n = at::zeros({bucket.n}, first->options());
    int64_t at = 0;
    for (size_t i = bucket.first; i < bucket.end; at += entries_[i++].stretch)
      if (owns[i].defined()) own_n.narrow(0, at, length(entries_[i])).copy_(owns[i]);
    const Tensor all_Rn = communicator_.all_gather(own_n);
    at = 0;
    for (size_t i = bucket.first; i < bucket.end; at += entries_[i++].stretch) {
      if (!owns[i].defined()) continue;
      const Tensor rows = all_Rn.narrow(1, at, entries_[i].stretch);
      if (rows.numel() == entries_[i].values)
        wholes[i].view({communicator_.ranks(), entries_[i].stretch}).copy_(rows);
      else
        wholes[i].view({-1}).copy_(rows.reshape({-1}).narrow(0, 0, entries_[i].values));
    }
  }
}

Tensor Shards::gather(size_t i, const Tensor& own) const {
  if (communicator_.ranks() == 1) return own;
  const Entry& entry = entries_[i];
  const Tensor padded = at::constant_pad_nd(own, {0, entry.stretch - own.size(0)});
  return communicator_.all_gather(padded).view({-1}).narrow(0, 0, entry.values).view(entry.shape);
}

}  // namespace ssl4rl::train
