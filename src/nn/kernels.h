// Fused float32 loops for the CPU, on plain pointers. Each works on a range of rows, so that callers can spread the
// rows over threads; no result depends on how the rows are cut. Compiled for several instruction sets; the best that
// the processor has is chosen when the program starts. Knows nothing of tensors.
#pragma once

#include <cstdint>

namespace ssl4rl::nn::kernels {

/// Statistics of one row of logits.
struct LogitStats {
  float log_sum_exp;  ///< of logits / temperature
  float entropy;      ///< of the distribution, in nats
};

/// Columns of a panel of a product, positions in a block of keys or values.
inline constexpr int64_t kBlock = 32;
/// Values of the widest vector.
inline constexpr int64_t kLane = 16;

struct Table {
  /// y = x / rms(x) * weight, row by row; x, y [rows, width]. rstd (may be null) [rows] = 1 / rms(x).
  void (*rms_norm)(const float* x, const float* weight, float* y, float* rstd, int64_t rows, int64_t width, float eps);
  /// dx, and dweight [width] += the rows' part.
  void (*rms_norm_backward)(const float* dy, const float* x, const float* weight, const float* rstd, float* dx,
                            float* dweight, int64_t rows, int64_t width);

  /// out = silu(gate) * up; gate_up [rows, 2 * width] holds gate then up, out [rows, width].
  void (*swiglu)(const float* gate_up, float* out, int64_t rows, int64_t width);
  /// Turns gate_up into its gradient.
  void (*swiglu_backward)(const float* dout, float* gate_up, int64_t rows, int64_t width);

  /// Rotates the first `heads` heads of each row in place: pairs (i, i + half) by the angle whose cosine and sine stand
  /// at [row, i]; direction +1, or -1 for the inverse. x [rows, stride], heads of 2 * half values.
  void (*rope)(float* x, int64_t rows, int64_t stride, int64_t heads, int64_t half, const float* cos, const float* sin,
               float direction);

  /// Softmax statistics of rows of logits / temperature, in one pass: logits [rows, width].
  void (*logit_stats)(const float* logits, int64_t rows, int64_t width, float inverse_temperature, LogitStats* stats);
  /// logits ← scale[row] * softmax(logits / temperature), given the log-sum-exp of each row.
  void (*scaled_softmax)(float* logits, int64_t rows, int64_t width, float inverse_temperature,
                         const float* log_sum_exp, const float* scale);
  /// Sums of `width` values in runs of `run`, the last of which may be shorter.
  void (*run_sums)(const float* values, int64_t width, int64_t run, double* sums);

  /// Softmax of scale * scores, row by row, in place. Row r has `first + r * step` valid columns (step 1: causal, 0:
  /// not); the rest of its `columns`, a multiple of kLane, becomes 0. lse [rows] = log-sum-exp of each row.
  void (*attention_softmax)(float* scores, int64_t rows, int64_t stride, int64_t first, int64_t step, int64_t columns,
                            float scale, float* lse);
  /// The same probabilities from scores and a log-sum-exp that is known.
  void (*attention_probabilities)(float* scores, int64_t rows, int64_t stride, int64_t first, int64_t step,
                                  int64_t columns, float scale, const float* lse);
  /// dscores ← scale * probabilities * (dscores − Σ dout · out), row by row; out and dout are rows of d values at
  /// out_stride.
  void (*attention_dscores)(const float* probabilities, float* dscores, int64_t rows, int64_t stride, int64_t columns,
                            float scale, const float* out, const float* dout, int64_t out_stride, int64_t d);

  /// c[r, j] = (c if add, else bias (may be null)) + Σ_i a[r, i] b[i, j] over k inputs in their order, for j < columns
  /// ≤ kBlock. Where columns is no multiple of kLane, rows of b may be read up to the next one.
  void (*multiply_panel)(const float* a, int64_t rows, int64_t a_stride, const float* b, int64_t b_stride, int64_t k,
                         float* c, int64_t c_stride, int64_t columns, bool add, const float* bias);
  /// The same of the transpose of a [k, rows]; a_stride lies between inputs.
  void (*multiply_panel_transposed)(const float* a, int64_t rows, int64_t a_stride, const float* b, int64_t b_stride,
                                    int64_t k, float* c, int64_t c_stride, int64_t columns, bool add);
  /// panel [k, kBlock] = the transpose of weight [rows ≤ kBlock, k]; zero where there are no rows.
  void (*pack_panel)(const float* weight, int64_t rows, int64_t stride, int64_t k, float* panel);
  /// Softmax over scores[0, first) and scores[second_begin, second_begin + second) together, in place; the rest becomes
  /// 0.
  void (*split_softmax)(float* scores, int64_t first, int64_t second_begin, int64_t second);
};

/// The loops for this processor.
[[nodiscard]] const Table& best();
/// All that this processor can run, the best one first; for tests.
struct Choice {
  const char* name;
  const Table* table;
};
inline constexpr int kMostChoices = 3;
int choices(Choice* out);

}  // namespace ssl4rl::nn::kernels
