// Chooses the loops for the processor at hand.
#include <cstdlib>

#include "kernels.h"

// MKL, inside LibTorch, asks who made the processor before it asks what it can do, and gives every vendor but Intel a
// path for AVX2: half the speed of an AMD processor with AVX-512 (docs/performance.md). This definition takes the place
// of its own; which instructions the processor has is still read from the processor.
extern "C" int mkl_serv_intel_cpu_true() { return 1; }

namespace {

// Its products then have the same bits for every number of threads, at no cost that could be measured
// (docs/performance.md). MKL reads this at its first product; a setting of the user's own stays.
[[maybe_unused]] const int kSameForAllThreads = setenv("MKL_CBWR", "AUTO,STRICT", /*replace=*/0);

}  // namespace

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
