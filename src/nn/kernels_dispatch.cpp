// Chooses the loops for the processor at hand.
#include "kernels.h"

namespace ssl4rl::nn::kernels {

namespace portable {
extern const Table table;
}
#ifdef SSL4RL_X86
namespace avx2 {
extern const Table table;
}
namespace avx512 {
extern const Table table;
}
#endif

int choices(Choice* out) {
  int count = 0;
#ifdef SSL4RL_X86
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    out[count++] = {"avx512", &avx512::table};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) out[count++] = {"avx2", &avx2::table};
#endif
  out[count++] = {"portable", &portable::table};
  return count;
}

const Table& best() {
  static const Table& chosen = []() -> const Table& {
    Choice all[kMostChoices];
    choices(all);
    return *all[0].table;
  }();
  return chosen;
}

}  // namespace ssl4rl::nn::kernels
