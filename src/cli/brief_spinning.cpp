// OpenMP's threads spin while they wait for each other. The system library's default is so long that on a shared
// machine, where a thread may have to wait for its core, every small operation costs a scheduler's slice. A short spin
// is as fast on a machine of one's own and several times faster beside other work (docs/performance.md). The library
// reads its settings while it is loaded, so the program starts itself again with the setting, before any library is
// initialised. A setting of the user's own (GOMP_SPINCOUNT or OMP_WAIT_POLICY) is left alone.
#include <unistd.h>

namespace {

constexpr int kMostVariables = 4096;

// No library is initialised yet: nothing but system calls.
__attribute__((no_sanitize("address", "undefined"))) bool begins_with(const char* text, const char* prefix) {
  while (*prefix)
    if (*text++ != *prefix++) return false;
  return true;
}

__attribute__((no_sanitize("address", "undefined"))) void spin_briefly(int, char** argv, char** environment) {
  static const char* extended[kMostVariables + 2];
  int count = 0;
  for (; environment[count]; ++count) {
    if (count == kMostVariables || begins_with(environment[count], "GOMP_SPINCOUNT=") ||
        begins_with(environment[count], "OMP_WAIT_POLICY="))
      return;
    extended[count] = environment[count];
  }
  extended[count] = "GOMP_SPINCOUNT=1000";
  execve("/proc/self/exe", argv, const_cast<char**>(extended));  // where it fails the program goes on as it is
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const start_again)(int, char**, char**) = spin_briefly;

}  // namespace
