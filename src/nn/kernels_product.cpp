// The small matrix product of decoding, compiled like kernels.cpp once per instruction set: a register tile of some
// rows and two vectors of columns. Each sum runs over the inputs in their order, whatever the tile.
#include <cstddef>

#include "kernels.h"

namespace ssl4rl::nn::kernels::SSL4RL_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64, kTileRows = 12;
#elif defined(__AVX__)
constexpr int kBytes = 32, kTileRows = 6;
#else
constexpr int kBytes = 16, kTileRows = 6;
#endif
constexpr int kLanes = kBytes / 4, kTileColumns = 2 * kLanes;
typedef float Vector __attribute__((vector_size(kBytes), aligned(4), may_alias));

inline __attribute__((always_inline)) Vector load(const float* at) { return *reinterpret_cast<const Vector*>(at); }
inline __attribute__((always_inline)) void store(float* at, Vector value) { *reinterpret_cast<Vector*>(at) = value; }

// c[R, V vectors] = (c or bias or 0) + a b over k inputs; a [R, k], or [k, R] where it is transposed.
template <int R, int V, bool kTransposed>
inline __attribute__((always_inline)) void tile(const float* a, int64_t a_stride, const float* b, int64_t b_stride,
                                                int64_t k, float* c, int64_t c_stride, bool add, const float* bias) {
  Vector sum[R][V];
  for (int r = 0; r < R; ++r) {
    const float* const begin = add ? c + r * c_stride : bias;
    for (int v = 0; v < V; ++v) sum[r][v] = begin ? load(begin + v * kLanes) : Vector{};
  }
  for (int64_t i = 0; i < k; ++i, b += b_stride) {
    Vector row[V];
    for (int v = 0; v < V; ++v) row[v] = load(b + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const float value = kTransposed ? a[i * a_stride + r] : a[r * a_stride + i];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) sum[r][v] += row[v] * value;
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) store(c + r * c_stride + v * kLanes, sum[r][v]);
}

// The same for any number of rows.
template <int V, bool kTransposed>
void tile_rows(const float* a, int64_t rows, int64_t a_stride, const float* b, int64_t b_stride, int64_t k, float* c,
               int64_t c_stride, bool add, const float* bias) {
  const int64_t a_next = kTransposed ? 1 : a_stride;
  for (; rows >= kTileRows; rows -= kTileRows, a += kTileRows * a_next, c += kTileRows * c_stride)
    tile<kTileRows, V, kTransposed>(a, a_stride, b, b_stride, k, c, c_stride, add, bias);
  switch (rows) {
#define SSL4RL_TILE(n)                                                                                         \
  case n:                                                                                                      \
    if constexpr (n < kTileRows) tile<n, V, kTransposed>(a, a_stride, b, b_stride, k, c, c_stride, add, bias); \
    break;
    SSL4RL_TILE(1)
    SSL4RL_TILE(2)
    SSL4RL_TILE(3)
    SSL4RL_TILE(4)
    SSL4RL_TILE(5)
    SSL4RL_TILE(6)
    SSL4RL_TILE(7)
    SSL4RL_TILE(8)
    SSL4RL_TILE(9)
    SSL4RL_TILE(10)
    SSL4RL_TILE(11)
#undef SSL4RL_TILE
    default:
      break;
  }
}

template <bool kTransposed>
void multiply(const float* a, int64_t rows, int64_t a_stride, const float* b, int64_t b_stride, int64_t k, float* c,
              int64_t c_stride, int64_t columns, bool add, const float* bias) {
  int64_t first = 0;
  const auto own_bias = [&] { return bias ? bias + first : nullptr; };
  for (; columns - first >= kTileColumns; first += kTileColumns)
    tile_rows<2, kTransposed>(a, rows, a_stride, b + first, b_stride, k, c + first, c_stride, add, own_bias());
  for (; columns - first >= kLanes; first += kLanes)
    tile_rows<1, kTransposed>(a, rows, a_stride, b + first, b_stride, k, c + first, c_stride, add, own_bias());
  if (first == columns) return;
  // The last columns of a narrow panel: through a tile of full width.
  const auto width = static_cast<size_t>(columns - first) * sizeof(float);
  float padded_bias[kLanes] = {}, result[kTileRows][kLanes] = {};
  if (bias) __builtin_memcpy(padded_bias, own_bias(), width);
  for (int64_t r = 0; r < rows; r += kTileRows) {
    const int64_t count = rows - r < kTileRows ? rows - r : kTileRows;
    if (add)
      for (int64_t i = 0; i < count; ++i) __builtin_memcpy(result[i], c + (r + i) * c_stride + first, width);
    tile_rows<1, kTransposed>(a + r * (kTransposed ? 1 : a_stride), count, a_stride, b + first, b_stride, k, result[0],
                              kLanes, add, padded_bias);
    for (int64_t i = 0; i < count; ++i) __builtin_memcpy(c + (r + i) * c_stride + first, result[i], width);
  }
}

}  // namespace

void pack_panel(const float* weight, int64_t rows, int64_t stride, int64_t k, float* panel) {
  if (rows < kBlock) __builtin_memset(panel, 0, static_cast<size_t>(k * kBlock) * sizeof(float));
  constexpr int64_t kStep = 16;  // inputs at a time, so that whole cache lines are read and written
  for (int64_t begin = 0; begin < k; begin += kStep) {
    const int64_t end = begin + kStep < k ? begin + kStep : k;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = begin; i < end; ++i) panel[i * kBlock + r] = weight[r * stride + i];
  }
}

void multiply_panel(const float* a, int64_t rows, int64_t a_stride, const float* b, int64_t b_stride, int64_t k,
                    float* c, int64_t c_stride, int64_t columns, bool add, const float* bias) {
  multiply<false>(a, rows, a_stride, b, b_stride, k, c, c_stride, columns, add, bias);
}

void multiply_panel_transposed(const float* a, int64_t rows, int64_t a_stride, const float* b, int64_t b_stride,
                               int64_t k, float* c, int64_t c_stride, int64_t columns, bool add) {
  multiply<true>(a, rows, a_stride, b, b_stride, k, c, c_stride, columns, add, nullptr);
}

}  // namespace ssl4rl::nn::kernels::SSL4RL_ISA
