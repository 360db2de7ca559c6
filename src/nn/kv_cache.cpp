#include "ssl4rl/nn/kv_cache.h"

namespace ssl4rl::nn {

std::unique_ptr<KvCache> make_block_kv_cache(const KvShape& shape);  // kv_cache_cpu.cpp

std::unique_ptr<KvCache> make_kv_cache(const KvShape& shape, const at::TensorOptions& options) {
  if (options.device().is_cpu() && c10::typeMetaToScalarType(options.dtype()) == at::kFloat)
    return make_block_kv_cache(shape);
  return make_batched_kv_cache(shape, options);
}

}  // namespace ssl4rl::nn
