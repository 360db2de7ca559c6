// A sum of numbers that a device is still computing.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace ssl4rl::rl {

/// Takes its parts without waiting for them, so that the device always has work; who reads it waits.
class PendingSum {
 public:
  PendingSum(double value = 0) : value_(value) {}

  void add(const at::Tensor& part) { parts_.push_back(part.detach()); }  ///< of one element
  [[nodiscard]] double read() const;

 private:
  mutable double value_;
  mutable std::vector<at::Tensor> parts_;
};

}  // namespace ssl4rl::rl
