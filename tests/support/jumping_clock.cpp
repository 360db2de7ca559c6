// A library for LD_PRELOAD: the clock of the day jumps at every look at it, by up to ten years back and forth. The
// steady clock goes on as ever.
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace {

int64_t jump() {
  static std::atomic<uint64_t> looks{0};
  constexpr int64_t kTenYears = int64_t{10} * 365 * 86400;
  uint64_t mixed = (++looks) * 0x9E3779B97F4A7C15u;
  mixed ^= mixed >> 29;
  return static_cast<int64_t>(mixed % (2 * kTenYears)) - kTenYears;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, struct timespec* time) noexcept {
  const long status = syscall(SYS_clock_gettime, clock, time);
  if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += jump();
  return static_cast<int>(status);
}

int gettimeofday(struct timeval* time, void*) noexcept {
  struct timespec now {};
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  *time = {now.tv_sec, now.tv_nsec / 1000};
  return 0;
}

time_t time(time_t* result) noexcept {
  struct timespec now {};
  clock_gettime(CLOCK_REALTIME, &now);
  if (result) *result = now.tv_sec;
  return now.tv_sec;
}
}
