/* One line an activation: its name, its value from the input z, and its
 * derivative from its own output a; k is its parameter.  The place in the list is the
 * code by which activations.py, through the kernel table, knows it. */
#ifndef CMLP_ACTIVATIONS_H
#define CMLP_ACTIVATIONS_H

#include "functions.h"
#include "kernels.h"

#define SELU_LAMBDA (REAL)1.05070098735548049342
#define SELU_ALPHA (REAL)1.67326324235437728482

/* The sources stand in activations.py. */
#define ELEMENTWISE_ACTIVATIONS(X)                                                            \
    X(identity, 0, 0, z, splat(1))                                                                  \
    X(sigmoid, 0, 0.5, v_sigmoid(z), a * (1 - a))                                                     \
    X(hard_sigmoid, 0, 0, v_clip(z / 6 + (REAL)0.5, 0, 1),                                          \
      v_select((a > 0) & (a < 1), splat(1 / (REAL)6), splat(0)))                              \
    X(tanh, 0, 0, v_tanh(z), 1 - a * a)                                                             \
    X(hard_tanh, 0, 0, v_clip(z, -1, 1), v_select((a > -1) & (a < 1), splat(1), splat(0)))          \
    X(relu, 0, 0, v_select(z < 0, splat(0), z), v_select(a > 0, splat(1), splat(0)))                \
    X(leaky_relu, 1, 0, v_select(z < 0, z * k, z), v_select(a > 0, splat(1), k))                    \
    X(elu, 1, 0, v_select(z < 0, k * v_expm1(z), z), v_select(a > 0, splat(1), a + k))              \
    X(selu, 0, 0, SELU_LAMBDA * v_select(z < 0, SELU_ALPHA * v_expm1(z), z),                        \
      v_select(a > 0, splat(SELU_LAMBDA), a + SELU_LAMBDA * SELU_ALPHA))                      \
    X(celu, 1, 0, v_select(z < 0, k * v_expm1(z / k), z), v_select(a > 0, splat(1), a / k + 1))     \
    X(softplus, 0, 0, v_softplus(z), -v_expm1(-a))                                                  \
    X(softsign, 0, 0, z / (1 + v_abs(z)), (1 - v_abs(a)) * (1 - v_abs(a)))

/* Those whose derivative takes the input: it is kept, as the slope, when the value is
 * computed, and `multiply` takes the place of activate_backward. */
#define SLOPED_ACTIVATIONS(X)                                                  \
    X(gelu, 0, 0, v_gelu(z, v_tail(z), v_bell(z)), gelu_slope(z, v_tail(z), v_bell(z)))             \
    X(gelu_tanh, 0, 0, z * v_sigmoid(GELU_ARGUMENT), bent(z, v_sigmoid(GELU_ARGUMENT), GELU_SLOPE)) \
    X(silu, 0, 0, v_silu(z), bent(z, v_sigmoid(z), splat(1)))                        \
    X(mish, 0, 0, z * tanh_softplus(z), mish_slope(z))

#define GELU_ARGUMENT (z * (z * z * (REAL)0.044715 + 1) * (REAL)1.59576912160573071176)
#define GELU_SLOPE ((z * z * (REAL)(3 * 0.044715) + 1) * (REAL)1.59576912160573071176)

/* z times the normal distribution function; no part is subnormal where the whole is not. */
INLINE V v_gelu(V z, V tail, V bell)
{
    return v_select(z < 0, z * tail * bell, z * (1 - tail * bell));
}
INLINE V gelu_slope(V z, V tail, V bell)
{
    V below = v_select(z < 0, tail * bell, 1 - tail * bell);
    return below + z * bell * (REAL)0.39894228040143267794;
}

/* z sigmoid(z), by halves of the exponent, of which none is subnormal where the whole is. */
INLINE V v_silu(V z)
{
    V half = v_exp(v_abs(z) * (REAL)-0.5), s = v_reciprocal(half * half + 1);
    return v_select(z < 0, z * half * (half * s), z * s);
}

/* The derivative of z s(u(z)), s being the sigmoid. */
INLINE V bent(V z, V s, V slope) { return s + z * s * (1 - s) * slope; }

/* tanh(log(1 + exp(z))) = e (e + 2) / (e (e + 2) + 2) with e = exp(z); it is 1 beyond 20. */
INLINE V tanh_softplus(V z)
{
    V e = v_exp(v_select(z > 20, splat(20), z)), f = e * (e + 2);
    return f / (f + 2);
}
INLINE V mish_slope(V z)
{
    V t = tanh_softplus(z);
    return t + z * v_sigmoid(z) * (1 - t * t);
}

/* NaN stays. */
INLINE V v_clip(V x, REAL least, REAL most)
{
    return v_select(x < least, splat(least), v_select(x > most, splat(most), x));
}

/* Softmax looks at a whole row and so stands apart; it comes last. */
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

/* The row's greatest value; the padding does not count. */
INLINE REAL row_max(const REAL *z, int64_t n)
{
    V m = keep(load(z), 0, n, z[0]);
    for (int64_t j = LANES; j < n; j += LANES)
        m = v_max(m, keep(load(z + j), j, n, z[0]));
    return max_lanes(m);
}

/* Softmax of one row, in place, shifted by the row's greatest value so that no
 * exponential overflows.  Returns the sum of the shifted exponentials. */
static REAL softmax_row(REAL *z, int64_t n, REAL greatest)
{
    V sums = splat(0);
    for (int64_t j = 0; j < n; j += LANES) {
        V e = keep(v_exp(load(z + j) - greatest), j, n, 0);
        store(z + j, e);
        sums += e;
    }
    REAL sum = sum_lanes(sums);
    for (int64_t j = 0; j < n; j += LANES)
        store(z + j, load(z + j) / sum);
    return sum;
}

static void activate(const cmlp_activation *f, int64_t m, int64_t n, int64_t outputs, void *a_,
                     int64_t lda, void *slopes)
{
    const V k = splat((REAL)f->parameter);
    REAL *a = a_;
    switch (f->kind) {
#define X(name, parameters, threshold, value, derivative)                   \
    case ACTIVATION_##name:                          \
        for (int64_t i = 0; i < m; i++)              \
            for (int64_t j = 0; j < n; j += LANES) { \
                V z = load(a + i * lda + j);         \
                (void)k;                             \
                store(a + i * lda + j, value);       \
            }                                        \
        break;
        ELEMENTWISE_ACTIVATIONS(X)
#undef X
#define X(name, parameters, threshold, value, slope)                                            \
    case ACTIVATION_##name:                                              \
        for (int64_t i = 0; i < m; i++)                                  \
            for (int64_t j = 0; j < n; j += LANES) {                     \
                V z = load(a + i * lda + j);                             \
                store(a + i * lda + j, value);                           \
                if (slopes)                                              \
                    store((REAL *)slopes + i * lda + j, slope);          \
            }                                                            \
        break;
        SLOPED_ACTIVATIONS(X)
#undef X
    case ACTIVATION_softmax:
        for (int64_t i = 0; i < m; i++)
            softmax_row(a + i * lda, outputs, row_max(a + i * lda, outputs));
        break;
    }
}

static void activate_backward(const cmlp_activation *f, int64_t m, int64_t n, const void *a_,
                              int64_t lda, void *d_, int64_t ldd)
{
    const V k = splat((REAL)f->parameter);
    const REAL *outputs = a_;
    REAL *d = d_;
    switch (f->kind) {
#define X(name, parameters, threshold, value, derivative)                                         \
    case ACTIVATION_##name:                                                \
        for (int64_t i = 0; i < m; i++)                                    \
            for (int64_t j = 0; j < n; j += LANES) {                       \
                V a = load(outputs + i * lda + j);                         \
                (void)a, (void)k;                                          \
                store(d + i * ldd + j, load(d + i * ldd + j) * (derivative)); \
            }                                                              \
        break;
        ELEMENTWISE_ACTIVATIONS(X)
#undef X
    case ACTIVATION_softmax: /* J^T g = a (g - <a, g>), the Jacobian being diag(a) - a a^T */
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

static void multiply(int64_t m, int64_t n, const void *s, int64_t lds, void *d_, int64_t ldd)
{
    REAL *d = d_;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j += LANES)
            store(d + i * ldd + j, load(d + i * ldd + j) * load((const REAL *)s + i * lds + j));
}

#endif
