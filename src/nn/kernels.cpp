// Compiled once per instruction set (CMakeLists.txt), each time into a namespace of its own, and chosen when the
// program starts (kernels_dispatch.cpp). The loops are written so that GCC vectorises them; sums may be reassociated.
//
// Nothing here may be an inline function of a header that is shared with other files: the linker would keep one of the
// copies, perhaps one for an instruction set that the processor lacks.
#include "kernels.h"

#define SSL4RL_INLINE static inline __attribute__((always_inline))

namespace ssl4rl::nn::kernels::SSL4RL_ISA {
namespace {

SSL4RL_INLINE float larger(float a, float b) { return a > b ? a : b; }
SSL4RL_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// e^x to about 1e-7 relative: 2^n times a polynomial on [-ln2/2, ln2/2] (Cephes' coefficients). Below -87 it is 0.
SSL4RL_INLINE float exp_approx(float x) {
  const float clamped = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  const float n = __builtin_nearbyintf(clamped * 1.44269504f);
  // ln 2 in two parts; the explicit fused products keep the compiler from adding the parts up first.
  const float r = __builtin_fmaf(n, 2.12194440e-4f, __builtin_fmaf(n, -0.693359375f, clamped));
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t exponent = (static_cast<int32_t>(n) + 127) << 23;
  float power;
  __builtin_memcpy(&power, &exponent, sizeof power);
  return x < -87.0f ? 0.0f : p * power;
}

SSL4RL_INLINE float sigmoid(float x) { return 1.0f / (1.0f + exp_approx(-x)); }

// A score whose probability is 0.
constexpr float kNever = -1e30f;

// Fills a row of scores up to whole vectors, so that the loops over it need no remainder; returns its new length.
SSL4RL_INLINE int64_t whole_vectors(float* scores, int64_t valid) {
  const int64_t width = (valid + kLane - 1) & -kLane;
  for (int64_t i = valid; i < width; ++i) scores[i] = kNever;
  return width;
}

}  // namespace

void rms_norm(const float* x, const float* weight, float* y, float* rstd, int64_t rows, int64_t width, float eps) {
  for (int64_t r = 0; r < rows; ++r, x += width, y += width) {
    float sum = 0;
    for (int64_t i = 0; i < width; ++i) sum += x[i] * x[i];
    const float scale = 1.0f / __builtin_sqrtf(sum / static_cast<float>(width) + eps);
    for (int64_t i = 0; i < width; ++i) y[i] = x[i] * scale * weight[i];
    if (rstd) rstd[r] = scale;
  }
}

void rms_norm_backward(const float* dy, const float* x, const float* weight, const float* rstd, float* dx,
                       float* dweight, int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; ++r, dy += width, x += width, dx += width) {
    const float scale = rstd[r];
    float dot = 0;
    for (int64_t i = 0; i < width; ++i) dot += dy[i] * weight[i] * x[i];
    const float shift = dot * scale * scale * scale / static_cast<float>(width);
    for (int64_t i = 0; i < width; ++i) {
      dx[i] = dy[i] * weight[i] * scale - x[i] * shift;
      dweight[i] += dy[i] * x[i] * scale;
    }
  }
}

void swiglu(const float* gate_up, float* out, int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; ++r, gate_up += 2 * width, out += width)
    for (int64_t i = 0; i < width; ++i) out[i] = gate_up[i] * sigmoid(gate_up[i]) * gate_up[width + i];
}

void swiglu_backward(const float* dout, float* gate_up, int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; ++r, gate_up += 2 * width, dout += width)
    for (int64_t i = 0; i < width; ++i) {
      const float g = gate_up[i], u = gate_up[width + i], s = sigmoid(g), d = dout[i];
      gate_up[i] = d * u * s * (1.0f + g * (1.0f - s));
      gate_up[width + i] = d * g * s;
    }
}

void rope(float* x, int64_t rows, int64_t stride, int64_t heads, int64_t half, const float* cos, const float* sin,
          float direction) {
  for (int64_t r = 0; r < rows; ++r, x += stride, cos += half, sin += half)
    for (int64_t h = 0; h < heads; ++h) {
      float* const a = x + h * 2 * half;
      float* const b = a + half;
      for (int64_t i = 0; i < half; ++i) {
        const float u = a[i], v = b[i], s = direction * sin[i];
        a[i] = u * cos[i] - v * s;
        b[i] = v * cos[i] + u * s;
      }
    }
}

void logit_stats(const float* logits, int64_t rows, int64_t width, float inverse_temperature, LogitStats* stats) {
  for (int64_t r = 0; r < rows; ++r, logits += width) {
    float highest = logits[0];
    for (int64_t i = 1; i < width; ++i) highest = larger(highest, logits[i]);
    float sum = 0, weighted = 0;
    for (int64_t i = 0; i < width; ++i) {
      const float z = (logits[i] - highest) * inverse_temperature, e = exp_approx(z);
      sum += e;
      weighted += e * z;
    }
    const float log_sum = __builtin_logf(sum);
    stats[r] = {highest * inverse_temperature + log_sum, log_sum - weighted / sum};
  }
}

void scaled_softmax(float* logits, int64_t rows, int64_t width, float inverse_temperature, const float* log_sum_exp,
                    const float* scale) {
  for (int64_t r = 0; r < rows; ++r, logits += width)
    for (int64_t i = 0; i < width; ++i)
      logits[i] = scale[r] * exp_approx(logits[i] * inverse_temperature - log_sum_exp[r]);
}

void run_sums(const float* values, int64_t width, int64_t run, double* sums) {
  for (int64_t begin = 0; begin < width; begin += run) {
    const int64_t end = smaller(width, begin + run);
    double sum = 0;
    for (int64_t i = begin; i < end; ++i) sum += static_cast<double>(values[i]);
    *sums++ = sum;
  }
}

void attention_softmax(float* scores, int64_t rows, int64_t stride, int64_t first, int64_t step, int64_t columns,
                       float scale, float* lse) {
  for (int64_t r = 0; r < rows; ++r, scores += stride) {
    const int64_t width = whole_vectors(scores, first + r * step);
    float highest = kNever, sum = 0;
    for (int64_t i = 0; i < width; ++i) highest = larger(highest, scores[i]);
    for (int64_t i = 0; i < width; ++i) {
      scores[i] = exp_approx((scores[i] - highest) * scale);
      sum += scores[i];
    }
    const float share = 1.0f / sum;
    for (int64_t i = 0; i < width; ++i) scores[i] *= share;
    for (int64_t i = width; i < columns; ++i) scores[i] = 0;
    lse[r] = highest * scale + __builtin_logf(sum);
  }
}

void attention_probabilities(float* scores, int64_t rows, int64_t stride, int64_t first, int64_t step, int64_t columns,
                             float scale, const float* lse) {
  for (int64_t r = 0; r < rows; ++r, scores += stride) {
    const int64_t width = whole_vectors(scores, first + r * step);
    for (int64_t i = 0; i < width; ++i) scores[i] = exp_approx(scores[i] * scale - lse[r]);
    for (int64_t i = width; i < columns; ++i) scores[i] = 0;
  }
}

void attention_dscores(const float* probabilities, float* dscores, int64_t rows, int64_t stride, int64_t columns,
                       float scale, const float* out, const float* dout, int64_t out_stride, int64_t d) {
  for (int64_t r = 0; r < rows;
       ++r, probabilities += stride, dscores += stride, out += out_stride, dout += out_stride) {
    float delta = 0;
    for (int64_t i = 0; i < d; ++i) delta += out[i] * dout[i];
    for (int64_t i = 0; i < columns; ++i) dscores[i] = scale * probabilities[i] * (dscores[i] - delta);
  }
}

void split_softmax(float* scores, int64_t first, int64_t second_begin, int64_t second) {
  float highest = -3e38f, sum = 0;
  for (int64_t p = 0; p < first; ++p) highest = larger(highest, scores[p]);
  for (int64_t p = second_begin; p < second_begin + second; ++p) highest = larger(highest, scores[p]);
  for (int64_t p = 0; p < first; ++p) {
    scores[p] = exp_approx(scores[p] - highest);
    sum += scores[p];
  }
  for (int64_t p = first; p < second_begin; ++p) scores[p] = 0;
  for (int64_t p = second_begin; p < second_begin + second; ++p) {
    scores[p] = exp_approx(scores[p] - highest);
    sum += scores[p];
  }
  const float scale = 1.0f / sum;
  for (int64_t p = 0; p < second_begin + second; ++p) scores[p] *= scale;
}

// kernels_product.cpp
void multiply_panel(const float* a, int64_t rows, int64_t a_stride, const float* b, int64_t b_stride, int64_t k,
                    float* c, int64_t c_stride, int64_t columns, bool add, const float* bias);
void multiply_panel_transposed(const float* a, int64_t rows, int64_t a_stride, const float* b, int64_t b_stride,
                               int64_t k, float* c, int64_t c_stride, int64_t columns, bool add);
void pack_panel(const float* weight, int64_t rows, int64_t stride, int64_t k, float* panel);

extern const Table table;
const Table table{rms_norm,
                  rms_norm_backward,
                  swiglu,
                  swiglu_backward,
                  rope,
                  logit_stats,
                  scaled_softmax,
                  run_sums,
                  attention_softmax,
                  attention_probabilities,
                  attention_dscores,
                  multiply_panel,
                  multiply_panel_transposed,
                  pack_panel,
                  split_softmax};

}  // namespace ssl4rl::nn::kernels::SSL4RL_ISA
