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

// c[R, kTileColumns] = (c or bias or 0) + a[R, k] b[k, kTileColumns].
template <int R>
inline __attribute__((always_inline)) void tile(const float* a, int64_t a_stride, const float* b, int64_t b_stride,
                                                int64_t k, float* c, int64_t c_stride, bool add, const float* bias) {
  Vector left[R], right[R];
  for (int r = 0; r < R; ++r) {
    const float* const begin = add ? c + r * c_stride : bias;
    left[r] = begin ? load(begin) : Vector{};
    right[r] = begin ? load(begin + kLanes) : Vector{};
  }
  for (int64_t i = 0; i < k; ++i, b += b_stride) {
    const Vector b_left = load(b), b_right = load(b + kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const float value = a[r * a_stride + i];
      left[r] += b_left * value;
      right[r] += b_right * value;
    }
  }
  for (int r = 0; r < R; ++r) {
    store(c + r * c_stride, left[r]);
    store(c + r * c_stride + kLanes, right[r]);
  }
}

// The same for any number of rows.
void tile_rows(const float* a, int64_t rows, int64_t a_stride, const float* b, int64_t b_stride, int64_t k, float* c,
               int64_t c_stride, bool add, const float* bias) {
  for (; rows >= kTileRows; rows -= kTileRows, a += kTileRows * a_stride, c += kTileRows * c_stride)
    tile<kTileRows>(a, a_stride, b, b_stride, k, c, c_stride, add, bias);
  switch (rows) {
#define SSL4RL_TILE(n)                                                                         \
  case n:                                                                                      \
    if constexpr (n < kTileRows) tile<n>(a, a_stride, b, b_stride, k, c, c_stride, add, bias); \
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
  for (int64_t first = 0; first < columns; first += kTileColumns) {
    const float* const own_bias = bias ? bias + first : nullptr;
    if (columns - first >= kTileColumns) {
      tile_rows(a, rows, a_stride, b + first, b_stride, k, c + first, c_stride, add, own_bias);
      continue;
    }
    // The last columns of a narrow panel: through a tile of full width.
    const auto width = static_cast<size_t>(columns - first) * sizeof(float);
    float padded_bias[kTileColumns] = {}, result[kTileRows][kTileColumns] = {};
    if (own_bias) __builtin_memcpy(padded_bias, own_bias, width);
    for (int64_t r = 0; r < rows; r += kTileRows) {
      const int64_t count = rows - r < kTileRows ? rows - r : kTileRows;
      if (add)
        for (int64_t i = 0; i < count; ++i) __builtin_memcpy(result[i], c + (r + i) * c_stride + first, width);
      tile_rows(a + r * a_stride, count, a_stride, b + first, b_stride, k, result[0], kTileColumns, add, padded_bias);
      for (int64_t i = 0; i < count; ++i) __builtin_memcpy(c + (r + i) * c_stride + first, result[i], width);
    }
  }
}

}  // namespace ssl4rl::nn::kernels::SSL4RL_ISA
