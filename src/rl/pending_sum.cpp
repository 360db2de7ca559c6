#include "ssl4rl/rl/pending_sum.h"

#include <ATen/ATen.h>

namespace ssl4rl::rl {

double PendingSum::read() const {
  if (parts_.empty()) return value_;
  std::vector<at::Tensor> wide;
  for (const at::Tensor& part : parts_) wide.push_back(part.to(at::kDouble));
  const at::Tensor parts = at::stack(wide).cpu();
  for (int64_t i = 0; i < parts.size(0); ++i) value_ += parts.const_data_ptr<double>()[i];
  parts_.clear();
  return value_;
}

}  // namespace ssl4rl::rl
