/* Activation functions: one line per activation in one of two lists.
 *
 * A line is the name, the number of parameters, the decision threshold of a classifier with a
 * single output, the value f, and the derivative.  In the expressions z is a vector of inputs, a
 * of outputs, and k the parameter.  The position in the lists is the activation's code; Python
 * reads name, code, parameters and threshold from the kernel table.  Sources of the formulas:
 * activations.py.
 *
 * The first list has the activations whose derivative is a function of the output a.  The second
 * list has those whose derivative needs the input z: `activate` stores it, as the slope, when it
 * computes the value, and `multiply` replaces `activate_backward`.
 */
#ifndef CMLP_ACTIVATIONS_H
#define CMLP_ACTIVATIONS_H

#include "functions.h"
#include "kernels.h"

#define SELU_LAMBDA (REAL)1.05070098735548049342
#define SELU_ALPHA (REAL)1.67326324235437728482

#define ELEMENTWISE_ACTIVATIONS(X)                                                              \
    X(identity, 0, 0, z, splat(1))                                                              \
    X(sigmoid, 0, 0.5, v_sigmoid(z), a * (1 - a))                                               \
    X(hard_sigmoid, 0, 0, v_clip(z / 6 + (REAL)0.5, 0, 1),                                      \
      v_select((a > 0) & (a < 1), splat(1 / (REAL)6), splat(0)))                                \
    X(tanh, 0, 0, v_tanh(z), 1 - a * a)                                                         \
    X(hard_tanh, 0, 0, v_clip(z, -1, 1), v_select((a > -1) & (a < 1), splat(1), splat(0)))      \
    X(relu, 0, 0, v_relu(z), v_relu_slope(a))                                                   \
    X(leaky_relu, 1, 0, v_select(z < 0, z * k, z), v_select(a > 0, splat(1), k))                \
    X(elu, 1, 0, v_select(z < 0, k * v_expm1(z), z), v_select(a > 0, splat(1), a + k))          \
    X(selu, 0, 0, SELU_LAMBDA * v_select(z < 0, SELU_ALPHA * v_expm1(z), z),                    \
      v_select(a > 0, splat(SELU_LAMBDA), a + SELU_LAMBDA * SELU_ALPHA))                        \
    X(celu, 1, 0, v_select(z < 0, k * v_expm1(z / k), z), v_select(a > 0, splat(1), a / k + 1)) \
    X(softplus, 0, 0, v_softplus(z), -v_expm1(-a))                                              \
    X(softsign, 0, 0, z / (1 + v_abs(z)), (1 - v_abs(a)) * (1 - v_abs(a)))

#define SLOPED_ACTIVATIONS(X)                                        \
    X(gelu, 0, 0, v_gelu(z, v_normal_tail(z), v_gaussian(z)),        \
      gelu_slope(z, v_normal_tail(z), v_gaussian(z)))                \
    X(gelu_tanh, 0, 0, z * v_sigmoid(GELU_ARGUMENT),                 \
      gated_slope(z, v_sigmoid(GELU_ARGUMENT), GELU_SLOPE))          \
    X(silu, 0, 0, v_silu(z), gated_slope(z, v_sigmoid(z), splat(1))) \
    X(mish, 0, 0, z * tanh_softplus(bounded_exp(z)), mish_slope(z, bounded_exp(z)))

/* The argument of gelu_tanh's sigmoid, u = 2 sqrt(2/pi) (z + 0.044715 z^3), and du/dz. */
#define GELU_ARGUMENT (z * (z * z * (REAL)0.044715 + 1) * (REAL)1.59576912160573071176)
#define GELU_SLOPE ((z * z * (REAL)(3 * 0.044715) + 1) * (REAL)1.59576912160573071176)

/* z Phi(z), where Phi is the normal distribution function and 1 - Phi(|z|) = tail * gaussian.  The
 * order of the products keeps intermediate results normal where the result is. */
INLINE V v_gelu(V z, V tail, V gaussian)
{
    return v_select(z < 0, z * tail * gaussian, z * (1 - tail * gaussian));
}

/* Phi(z) + z phi(z): the derivative of v_gelu. */
INLINE V gelu_slope(V z, V tail, V gaussian)
{
    V below = v_select(z < 0, tail * gaussian, 1 - tail * gaussian);
    return below + z * gaussian * (REAL)0.39894228040143267794;
}

/* z sigmoid(z).  exp(-|z|) is the square of exp(-|z|/2), which is normal where the result is. */
INLINE V v_silu(V z)
{
    V half = v_exp(v_abs(z) * (REAL)-0.5), s = v_reciprocal(half * half + 1);
    return v_select(z < 0, z * half * (half * s), z * s);
}

/* The derivative of z s with s = sigmoid(u(z)) and slope = du/dz. */
INLINE V gated_slope(V z, V s, V slope) { return s + z * s * (1 - s) * slope; }

/* exp(z), bounded where tanh(log(1 + exp(z))) rounds to 1. */
INLINE V bounded_exp(V z) { return v_exp(v_select(z > 20, splat(20), z)); }

/* tanh(log(1 + exp(z))) = e (e + 2) / (e (e + 2) + 2) with e = exp(z). */
INLINE V tanh_softplus(V e)
{
    V f = e * (e + 2);
    return f * v_reciprocal(f + 2);
}

/* The derivative of z tanh(log(1 + exp(z))), t + z sigmoid(z) (1 - t^2), with e = exp(z). */
INLINE V mish_slope(V z, V e)
{
    V t = tanh_softplus(e);
    return t + z * (e * v_reciprocal(e + 1)) * (1 - t * t);
}

/* The codes.  Softmax, which needs a whole row, has no line in the lists and comes last. */
enum activation {
#define X(name, parameters, threshold, value, derivative) ACTIVATION_##name,
    ELEMENTWISE_ACTIVATIONS(X)
    SLOPED_ACTIVATIONS(X)
#undef X
    ACTIVATION_softmax
};

static const cmlp_activation_info activation_infos[] = {
#define X(name, parameters, threshold, value, derivative) {#name, parameters, 0, threshold},
    ELEMENTWISE_ACTIVATIONS(X)
#undef X
#define X(name, parameters, threshold, value, slope) {#name, parameters, 1, threshold},
    SLOPED_ACTIVATIONS(X)
#undef X
    {"softmax", 0, 0, 0.5},
    {NULL, 0, 0, 0}
};

static int32_t stores_slope(int32_t activation)
{
    return activation_infos[activation].stores_slope;
}

/* Return whether the products of a layer can apply f, or multiply by its derivative. */
static int32_t is_fused(int32_t activation) { return activation == ACTIVATION_relu; }

/* Maximum of z (n,), whose padding is ignored. */
INLINE REAL row_max(const REAL *z, int64_t n)
{
    V m = mask_columns(load(z), 0, n, z[0]);
    for (int64_t j = LANES; j < n; j += LANES)
        m = v_max(m, mask_columns(load(z + j), j, n, z[0]));
    return max_lanes(m);
}

/* Softmax of z (n,), in place; the padding becomes 0.  `maximum` is subtracted from z, so that no
 * exponential overflows.  Returns the sum of the exponentials. */
static REAL softmax_row(REAL *z, int64_t n, REAL maximum)
{
    V sums = splat(0);
    for (int64_t j = 0; j < n; j += LANES) {
        V e = mask_columns(v_exp(load(z + j) - maximum), j, n, 0);
        store(z + j, e);
        sums += e;
    }
    REAL sum = sum_lanes(sums);
    for (int64_t j = 0; j < n; j += LANES)
        store(z + j, load(z + j) / sum);
    return sum;
}

/* A (m, n), leading dimension lda, padded: A = f(A) in place.  Slopes, if f stores them and
 * `slopes` is not NULL: f'(A), laid out like A.  `outputs`: columns without the padding, which
 * softmax must ignore. */
static void activate(const cmlp_activation *f, int64_t m, int64_t n, int64_t outputs, void *a_,
                     int64_t lda, void *slopes)
{
    const V k = splat((REAL)f->parameter);
    REAL *a = a_;
    switch (f->kind) {
#define X(name, parameters, threshold, value, derivative) \
    case ACTIVATION_##name:                               \
        for (int64_t i = 0; i < m; i++)                   \
            for (int64_t j = 0; j < n; j += LANES) {      \
                V z = load(a + i * lda + j);              \
                (void)k;                                  \
                store(a + i * lda + j, value);            \
            }                                             \
        break;
        ELEMENTWISE_ACTIVATIONS(X)
#undef X
#define X(name, parameters, threshold, value, slope)            \
    case ACTIVATION_##name:                                     \
        for (int64_t i = 0; i < m; i++)                         \
            for (int64_t j = 0; j < n; j += LANES) {            \
                V z = load(a + i * lda + j);                    \
                store(a + i * lda + j, value);                  \
                if (slopes)                                     \
                    store((REAL *)slopes + i * lda + j, slope); \
            }                                                   \
        break;
        SLOPED_ACTIVATIONS(X)
#undef X
    case ACTIVATION_softmax:
        for (int64_t i = 0; i < m; i++)
            softmax_row(a + i * lda, outputs, row_max(a + i * lda, outputs));
        break;
    }
}

/* D (m, n) *= f'(A), given the outputs A (m, n) of an f that does not store slopes; leading
 * dimensions ldd and lda, padded. */
static void activate_backward(const cmlp_activation *f, int64_t m, int64_t n, const void *a_,
                              int64_t lda, void *d_, int64_t ldd)
{
    const V k = splat((REAL)f->parameter);
    const REAL *outputs = a_;
    REAL *d = d_;
    switch (f->kind) {
#define X(name, parameters, threshold, value, derivative)                     \
    case ACTIVATION_##name:                                                   \
        for (int64_t i = 0; i < m; i++)                                       \
            for (int64_t j = 0; j < n; j += LANES) {                          \
                V a = load(outputs + i * lda + j);                            \
                (void)a, (void)k;                                             \
                store(d + i * ldd + j, load(d + i * ldd + j) * (derivative)); \
            }                                                                 \
        break;
        ELEMENTWISE_ACTIVATIONS(X)
#undef X
    case ACTIVATION_softmax: /* J^T g = a (g - <a, g>), as the Jacobian J is diag(a) - a a^T */
        for (int64_t i = 0; i < m; i++) {
            V dots = splat(0);
            for (int64_t j = 0; j < n; j += LANES)
                dots += load(outputs + i * lda + j) * load(d + i * ldd + j);
            REAL dot = sum_lanes(dots);
            for (int64_t j = 0; j < n; j += LANES)
                store(d + i * ldd + j,
                      load(outputs + i * lda + j) * (load(d + i * ldd + j) - dot));
        }
        break;
    }
}

/* D (m, n) *= S (m, n), the slopes; leading dimensions ldd and lds, padded. */
static void multiply(int64_t m, int64_t n, const void *s, int64_t lds, void *d_, int64_t ldd)
{
    REAL *d = d_;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j += LANES)
            store(d + i * ldd + j, load(d + i * ldd + j) * load((const REAL *)s + i * lds + j));
}

#endif
