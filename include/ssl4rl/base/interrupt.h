// Stopping on request: the first SIGINT, SIGTERM or SIGUSR1 is noted and polled for at safe points, so that a run can
// save what a resume needs; a second SIGINT ends the process at once (status 130).
#pragma once

namespace ssl4rl {

/// Thrown where work is abandoned because a stop was asked for; not an error.
struct Interrupted {
  int signal;
};

/// While one lives, the signals are noted instead of killing. At most one at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  /// The first signal that came, or 0.
  [[nodiscard]] int signal() const;
  [[nodiscard]] bool requested() const { return signal() != 0; }
  /// Throws Interrupted if a stop was asked for.
  void check() const {
    if (const int s = signal()) throw Interrupted{s};
  }

  /// The same as signal(), for who has no guard at hand, and a request from elsewhere: another process got a signal.
  [[nodiscard]] static int pending();
  static void request(int signal);

  /// 130 for SIGINT, else 75 (EX_TEMPFAIL: start again with --resume auto).
  [[nodiscard]] static int exit_status(int signal);
};

}  // namespace ssl4rl
