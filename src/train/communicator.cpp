#include "ssl4rl/train/communicator.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#ifdef SSL4RL_CUDA
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include "ssl4rl/base/error.h"
#include "ssl4rl/train/rendezvous.h"

namespace ssl4rl::train {

using at::Tensor;

struct Communicator::Connections {
  c10::intrusive_ptr<c10d::Backend> group;
  at::Device device;
};

namespace {

// LibTorch keeps a record of the last 2,000 collectives, which nobody reads here. It is one for all groups of a
// process, and Gloo writes to it without a lock that would hold where ranks are threads of one process, as in tests. A
// setting of the user's own stays.
[[maybe_unused]] const int kNoRecord = setenv("TORCH_FR_BUFFER_SIZE", "0", /*replace=*/0);

c10::intrusive_ptr<c10d::Backend> connect_by_gloo(const c10::intrusive_ptr<c10d::Store>& store, const Place& place,
                                                  std::chrono::seconds timeout) {
  using Gloo = c10d::ProcessGroupGloo;
  auto options = Gloo::Options::create(timeout);
  const char* const interface = std::getenv("GLOO_SOCKET_IFNAME");
  const bool local = place.host == "127.0.0.1" || place.host == "localhost";
  options->devices.push_back(interface ? Gloo::createDeviceForInterface(interface)
                             : local   ? Gloo::createDeviceForHostname("127.0.0.1")
                                       : Gloo::createDefaultDevice());
  return c10::make_intrusive<Gloo>(store, place.rank, place.ranks, options);
}

#ifdef SSL4RL_CUDA
c10::intrusive_ptr<c10d::Backend> connect_by_nccl(const c10::intrusive_ptr<c10d::Store>& store, const Place& place,
                                                  std::chrono::seconds timeout) {
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, place.rank, place.ranks, options);
}
#endif

}  // namespace

Communicator::Communicator() = default;

Communicator::Communicator(const Place& place, std::chrono::seconds patience, const Log& log)
    : place_(place), rendezvous_(std::make_unique<Rendezvous>(place, patience, log)) {}

Communicator::~Communicator() = default;

void Communicator::connect(at::Device device, std::chrono::seconds timeout) {
  if (ranks() == 1) return;
#ifdef SSL4RL_CUDA
  const auto group = device.is_cuda() ? connect_by_nccl(rendezvous_->store(), place_, timeout)
                                      : connect_by_gloo(rendezvous_->store(), place_, timeout);
#else
  SSL4RL_CHECK(device.is_cpu(), "a CUDA device in a build for the CPU");
  const auto group = connect_by_gloo(rendezvous_->store(), place_, timeout);
#endif
  connections_ = std::make_unique<Connections>(Connections{group, device});
}

at::Device Communicator::device() const {
  SSL4RL_CHECK(connections_, "no connections are made");
  return connections_->device;
}

// Runs a collective to its end. Where a connection breaks, some rank has ended: the rendezvous knows which.
template <typename Start>
void Communicator::complete(Start start) const {
  SSL4RL_CHECK(connections_, "a collective before the connections are made");
  try {
    start(*connections_->group)->wait();
  } catch (const std::exception& e) {
    rendezvous_->await_news();
    throw;
  }
}

void Communicator::agree(const InterruptGuard& interrupt) {
  double signal = interrupt.signal();
  max({&signal, 1});
  if (signal == 0) return;
  stopped_ = true;
  InterruptGuard::request(static_cast<int>(signal));
  throw Interrupted{static_cast<int>(signal)};
}

void Communicator::stop_together() {
  if (std::exchange(stopped_, true)) return;
  double signal = InterruptGuard::pending();
  max({&signal, 1});
}

void Communicator::reduce(std::span<double> values, bool largest) const {
  if (ranks() == 1) return;
  std::vector<Tensor> tensors{at::tensor(values, at::kDouble).to(device())};
  c10d::AllreduceOptions options;
  if (largest) options.reduceOp = c10d::ReduceOp::MAX;
  complete([&](c10d::Backend& group) { return group.allreduce(tensors, options); });
  const Tensor result = tensors.front().cpu();
  std::memcpy(values.data(), result.const_data_ptr<double>(), values.size_bytes());
}

void Communicator::sum(std::span<double> values) const { reduce(values, false); }

void Communicator::max(std::span<double> values) const { reduce(values, true); }

double Communicator::sum(double value) const {
  sum({&value, 1});
  return value;
}

double Communicator::norm(double value) const { return ranks() == 1 ? value : std::sqrt(sum(value * value)); }

std::vector<std::string> Communicator::gather(const std::string& bytes) const {
  if (ranks() == 1) return {bytes};
  std::vector<double> lengths(static_cast<size_t>(ranks()));
  lengths[static_cast<size_t>(rank())] = static_cast<double>(bytes.size());
  sum(lengths);
  const auto longest = static_cast<int64_t>(*std::max_element(lengths.begin(), lengths.end()));
  Tensor own = at::zeros({std::max<int64_t>(longest, 1)}, at::kByte);
  std::memcpy(own.data_ptr(), bytes.data(), bytes.size());
  const Tensor all = all_gather(own.to(device())).cpu();
  std::vector<std::string> result;
  for (size_t r = 0; r < lengths.size(); ++r)
    result.emplace_back(static_cast<const char*>(all[static_cast<int64_t>(r)].const_data_ptr()),
                        static_cast<size_t>(lengths[r]));
  return result;
}

Tensor Communicator::reduce_scatter(const Tensor& rows_Rn) const {
  if (ranks() == 1) return rows_Rn[0];
  Tensor input = rows_Rn.contiguous().view({-1}), output = at::empty({rows_Rn.size(1)}, rows_Rn.options());
  complete([&](c10d::Backend& group) { return group._reduce_scatter_base(output, input, {}); });
  return output;
}

Tensor Communicator::all_gather(const Tensor& own_n) const {
  if (ranks() == 1) return own_n.unsqueeze(0);
  // As bytes: every type that a tensor can have.
  Tensor input = own_n.contiguous().view(at::kByte);
  Tensor output = at::empty({ranks() * input.size(0)}, input.options());
  complete([&](c10d::Backend& group) { return group._allgather_base(output, input, {}); });
  return output.view(own_n.scalar_type()).view({ranks(), own_n.size(0)});
}

void Communicator::end(int status, const std::string& message) const { rendezvous_->end(status, message); }

const Communicator& one_process() {
  static const Communicator alone;
  return alone;
}

}  // namespace ssl4rl::train
