// Ranks that are threads of the test.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "ssl4rl/train/communicator.h"

namespace ssl4rl {

/// An open socket at a free port, for rank 0.
inline std::pair<int, int> listen_anywhere() {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  EXPECT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(listen(listener, 16), 0);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  return {listener, ntohs(address.sin_port)};
}

/// work(communicator) on each rank.
template <typename Work>
void with_ranks(int ranks, Work work) {
  using namespace std::chrono_literals;
  const auto [listener, port] = listen_anywhere();
  const Log log(Log::Level::kOff);
  std::vector<std::jthread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank, listener = listener, port = port] {
      train::Place place{
          .rank = rank, .ranks = ranks, .local_rank = rank, .local_ranks = ranks, .host = "127.0.0.1", .port = port};
      if (rank == 0) place.listener = listener;
      train::Communicator communicator(place, 20s, log);
      communicator.connect(at::kCPU, 60s);
      work(communicator);
    });
}

}  // namespace ssl4rl
