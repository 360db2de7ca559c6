#include "ssl4rl/base/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "ssl4rl/base/error.h"

namespace ssl4rl {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGUSR1};
std::atomic<int> first_signal{0};
std::atomic<bool> installed{false};
struct sigaction previous[3];

void note(int signal) {
  int expected = 0;
  if (!first_signal.compare_exchange_strong(expected, signal) && signal == SIGINT) _exit(130);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  SSL4RL_CHECK(!installed.exchange(true), "two interrupt guards");
  first_signal = 0;
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;
  for (int i = 0; i < 3; ++i) sigaction(kSignals[i], &action, &previous[i]);
}

InterruptGuard::~InterruptGuard() {
  for (int i = 0; i < 3; ++i) sigaction(kSignals[i], &previous[i], nullptr);
  installed = false;
}

int InterruptGuard::signal() const { return pending(); }

int InterruptGuard::pending() { return first_signal.load(std::memory_order_relaxed); }

void InterruptGuard::request(int signal) {
  int expected = 0;
  first_signal.compare_exchange_strong(expected, signal);
}

int InterruptGuard::exit_status(int signal) { return signal == SIGINT ? 130 : 75; }

}  // namespace ssl4rl
