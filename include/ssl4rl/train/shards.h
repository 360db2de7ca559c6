// How tensors are split over the ranks: each rank holds an equal stretch of the values of each, flat; the last ones
// less, or nothing. Tensors travel in buckets, so that many small ones cost one message. Shape suffixes: R ranks, n
// values of a bucket that one rank holds.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "ssl4rl/train/communicator.h"

namespace ssl4rl::train {

class Shards {
 public:
  /// For tensors of these sizes and types, contiguous, equal on all ranks.
  Shards(const Communicator& communicator, const std::vector<at::Tensor>& tensors);

  /// This rank's stretch of tensor i, as a view; the whole tensor, in its shape, in a process alone.
  [[nodiscard]] at::Tensor own(size_t i, const at::Tensor& whole) const;

  /// The stretch's first value in tensor i, flat.
  [[nodiscard]] int64_t begin(size_t i) const;

  /// Sums gradients over the ranks: → each tensor's own stretch, in float32 or float64; undefined where no rank has a
  /// gradient. Takes the gradients out of `gradients` as it goes.
  [[nodiscard]] std::vector<at::Tensor> reduce(std::vector<at::Tensor>& gradients) const;
  /// The same where some rank has a gradient of each, which then need not be asked.
  [[nodiscard]] std::vector<at::Tensor> reduce_all(std::vector<at::Tensor>& gradients) const;
  /// Fills the other ranks' stretches of tensors; undefined ones (on all ranks) are left out.
  void complete(const std::vector<at::Tensor>& tensors) const;
  /// Fills tensors from each rank's own stretches; undefined ones (on all ranks) are left out.
  void gather(const std::vector<at::Tensor>& owns, const std::vector<at::Tensor>& wholes) const;
  /// The whole of tensor i, in its shape, from each rank's own stretch.
  [[nodiscard]] at::Tensor gather(size_t i, const at::Tensor& own) const;

 private:
  struct Entry {
    std::vector<int64_t> shape;
    int64_t values = 0, stretch = 0;  // altogether, and what a rank holds
    at::ScalarType type = at::kFloat;
  };
  struct Bucket {
    size_t first = 0, end = 0;
    int64_t n = 0;
  };
  [[nodiscard]] int64_t length(const Entry& entry) const;  // of the own stretch
  [[nodiscard]] std::vector<at::Tensor> reduce_present(std::vector<at::Tensor>& gradients,
                                                       const std::vector<double>& present) const;

  const Communicator& communicator_;
  std::vector<Entry> entries_;
  std::vector<Bucket> buckets_;
};

}  // namespace ssl4rl::train
