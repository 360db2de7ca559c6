#include "ssl4rl/rl/conflict.h"

#include <ATen/ATen.h>

#include <cmath>

namespace ssl4rl::rl {
namespace {

double dot(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i].defined() && b[i].defined()) sum += (a[i] * b[i]).sum(at::kDouble).item<double>();
  return sum;
}

}  // namespace

std::map<std::string, double> pairwise_cosines(const std::map<std::string, std::vector<at::Tensor>>& gradients,
                                               const train::Communicator& communicator) {
  std::map<std::string, double> norms, cosines;
  for (const auto& [task, gradient] : gradients) norms[task] = std::sqrt(communicator.sum(dot(gradient, gradient)));
  for (auto a = gradients.begin(); a != gradients.end(); ++a)
    for (auto b = std::next(a); b != gradients.end(); ++b)
      if (const double norm = norms[a->first] * norms[b->first]; norm > 0)
        cosines[a->first + "/" + b->first] = communicator.sum(dot(a->second, b->second)) / norm;
  return cosines;
}

}  // namespace ssl4rl::rl
