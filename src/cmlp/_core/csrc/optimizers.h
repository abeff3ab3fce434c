/* Optimizers: one entry per optimizer.  Plain gradient descent needs none where the products
 * accumulate its update into the weights.
 *
 * An entry is the name, the number of state arrays (0 to 3), the constants c[i] of step t (from 1)
 * as a function of the learning rate and the hyperparameters h, whose order is that of
 * optimizers.py, and the update of the parameter w and the states s0, s1, s2 by the gradient g,
 * where k0, k1, ... are the constants.  The position in the list is the optimizer's code; Python
 * reads name, code and number of states from the kernel table.  The results are those of PyTorch's
 * optimizers, except for lion, which PyTorch does not have.
 */
#ifndef CMLP_OPTIMIZERS_H
#define CMLP_OPTIMIZERS_H

#include <math.h>

#include "activations.h"
#include "functions.h"
#include "kernels.h"

/* Adam's moment estimates are stored as exponentially decayed sums: the estimate is (1 - beta)
 * times the sum.  This saves two operations per parameter (5.6 us instead of 6.6 us of arithmetic
 * for 784 x 32 parameters on Zen 4).  The factor and the bias corrections are constants of the
 * step. */
#define DECAYED_SUMS s0 = k0 * s0 + g; s1 = k1 * s1 + g * g
#define MEAN_OF_SUM ((1 - h[0]) / (1 - pow(h[0], t)))
#define ROOT_CORRECTION (1 / sqrt(1 - pow(h[1], t)))
#define SUM_CONSTANTS                                                  \
    c[0] = h[0]; c[1] = h[1]; c[2] = sqrt(1 - h[1]) * ROOT_CORRECTION; \
    c[3] = h[2]; c[4] = -rate * MEAN_OF_SUM

/* What decoupled decay leaves of a parameter. */
#define KEPT (1 - optimizer->decay_rate * optimizer->decay)

/* Sources and hyperparameters h:
 *
 * descent: plain gradient descent, where the gradient has a block of its own, as for training on
 *     shards; it leaves the gradient as it is.
 * momentum: Polyak 1964 and, if h[2] is 1, Nesterov 1983, as given by Sutskever et al., ICML 2013;
 *     h: momentum, dampening, nesterov.
 * adam: Kingma and Ba, ICLR 2015, algorithm 1; h: beta1, beta2, epsilon, and 1 if epsilon is added
 *     before the bias correction of the root, as at the end of their section 2.
 * amsgrad: Reddi, Kale and Kumar, ICLR 2018, algorithm 2; h: beta1, beta2, epsilon.
 * adamw: Loshchilov and Hutter, ICLR 2019, algorithm 2; h: beta1, beta2, epsilon.
 * nadam: Dozat, ICLR 2016 workshop, algorithm 8; h: beta1, beta2, epsilon, decay of the momentum.
 * rmsprop: Hinton, Coursera lecture 6e, 2012; centered: Graves, arXiv:1308.0850, 2013, eq. 40;
 *     h: alpha, epsilon, momentum, centered (0 or 1).
 * adagrad: Duchi, Hazan and Singer, JMLR 12, 2011, section 1.1; h: decay of the rate, epsilon.
 * adadelta: Zeiler, arXiv:1212.5701, 2012, algorithm 1; h: rho, epsilon.
 * lion: Chen et al., NeurIPS 2023, program 1; h: beta1, beta2.
 *
 * The decay of amsgrad, adamw and lion is decoupled. */
#define OPTIMIZERS(X)                                                         \
    X(descent, 0, c[0] = -rate, w += k0 * g)                                  \
    X(momentum, 1,                                                            \
      c[0] = h[0]; c[1] = t > 1 ? 1 - h[1] : 1;                               \
      c[2] = -rate * (h[2] != 0 ? h[0] : 1); c[3] = -rate * h[2],             \
      s0 = k0 * s0 + k1 * g;                                                  \
      w += k2 * s0 + k3 * g)                                                  \
    X(adam, 2,                                                                \
      SUM_CONSTANTS; c[3] = h[3] != 0 ? h[2] * ROOT_CORRECTION : h[2],        \
      DECAYED_SUMS;                                                           \
      w += k4 * s0 * v_reciprocal(v_root(s1) * k2 + k3))                      \
    X(amsgrad, 3,                                                             \
      SUM_CONSTANTS; c[5] = KEPT,                                               \
      w *= k5;                                                                \
      DECAYED_SUMS;                                                           \
      s2 = v_max(s2, s1);                                                     \
      w += k4 * s0 * v_reciprocal(v_root(s2) * k2 + k3))                      \
    X(adamw, 2,                                                               \
      SUM_CONSTANTS; c[5] = KEPT,                                               \
      w *= k5;                                                                \
      DECAYED_SUMS;                                                           \
      w += k4 * s0 * v_reciprocal(v_root(s1) * k2 + k3))                      \
    X(nadam, 2,                                                               \
      const double now = h[0] * (1 - 0.5 * pow(0.96, t * h[3]));              \
      const double next = h[0] * (1 - 0.5 * pow(0.96, (t + 1) * h[3]));       \
      optimizer->product = (t > 1 ? optimizer->product : 1) * now;            \
      SUM_CONSTANTS;                                                          \
      c[4] = -rate * next / (1 - optimizer->product * next) * (1 - h[0]);     \
      c[5] = -rate * (1 - now) / (1 - optimizer->product),                    \
      DECAYED_SUMS;                                                           \
      w += (k4 * s0 + k5 * g) * v_reciprocal(v_root(s1) * k2 + k3))           \
    X(rmsprop, 3,                                                             \
      c[0] = h[0]; c[1] = 1 - h[0]; c[2] = h[1]; c[3] = h[2];                 \
      c[4] = h[3]; c[5] = -rate,                                              \
      s0 = k0 * s0 + k1 * g * g;                                              \
      s1 += k1 * (g - s1);                                                    \
      s2 = k3 * s2 + g * v_reciprocal(v_root(s0 - k4 * s1 * s1) + k2);        \
      w += k5 * s2)                                                           \
    X(adagrad, 1,                                                             \
      c[0] = -rate / (1 + (t - 1) * h[0]); c[1] = h[1],                       \
      s0 += g * g;                                                            \
      w += k0 * g * v_reciprocal(v_root(s0) + k1))                            \
    X(adadelta, 2,                                                            \
      c[0] = h[0]; c[1] = 1 - h[0]; c[2] = h[1]; c[3] = -rate,                \
      s0 = k0 * s0 + k1 * g * g;                                              \
      const V change = v_root(s1 + k2) * v_reciprocal(v_root(s0 + k2)) * g;   \
      s1 = k0 * s1 + k1 * change * change;                                    \
      w += k3 * change)                                                       \
    X(lion, 1,                                                                \
      c[0] = 1 - h[0]; c[1] = 1 - h[1]; c[2] = -rate; c[3] = KEPT,            \
      const V blend = s0 + k0 * (g - s0);                                     \
      w = w * k3 + k2 * SIGN(blend);                                          \
      s0 += k1 * (g - s0))

/* The codes. */
enum optimizer {
#define X(name, states, constants, update) OPTIMIZER_##name,
    OPTIMIZERS(X)
#undef X
};

static const cmlp_optimizer_info optimizer_infos[] = {
#define X(name, states, constants, update) {#name, states},
    OPTIMIZERS(X)
#undef X
    {NULL, 0}
};

/* Increment the step counter and compute the constants of the step. */
static void begin_step(cmlp_optimizer *optimizer)
{
    const double *h = optimizer->hyper, rate = optimizer->rate, t = (double)++optimizer->step;
    double *c = optimizer->constant;
    switch (optimizer->kind) {
#define X(name, states, constants, update) \
    case OPTIMIZER_##name: {               \
        constants;                         \
        break;                             \
    }
        OPTIMIZERS(X)
#undef X
    }
}

/* Changes of the gradient before the update: none; L2 penalty alone, which is common; or all of
 * scaling to a norm (Pascanu, Mikolov and Bengio, ICML 2013, algorithm 1), clipping by value, L2
 * and L1 penalty.  Each has a loop of its own.  The loop for L2 alone, together with the iteration
 * of v_root, reduced the pass of Adam in float64 from 6.4 us to 5.3 us of a step of 31 us. */
enum { PLAIN, DECAYED, SHAPED };

/* Update one row of n parameters p, with gradient q and states a0, a1, a2.  If there are states, q
 * becomes 0. */
#define ROW(states, update, shape)                                \
    for (int64_t j = 0; j < n; j += LANES) {                      \
        V w = load(p + j), g = load(q + j),                       \
          s0 = states > 0 ? load(a0 + j) : g,                     \
          s1 = states > 1 ? load(a1 + j) : g,                     \
          s2 = states > 2 ? load(a2 + j) : g;                     \
        (void)s0; (void)s1; (void)s2;                             \
        if (shape == SHAPED) {                                    \
            g *= scale;                                           \
            if (clip > 0)                                         \
                g = v_clip(g, -clip, clip);                       \
        }                                                         \
        if (shape != PLAIN)                                       \
            g += l2 * w;                                          \
        if (shape == SHAPED)                                      \
            if (optimizer->l1 != 0)                               \
                g += l1 * SIGN(w);                                \
        update;                                                   \
        store(p + j, w);                                          \
        if (states > 0)                                           \
            store(a0 + j, s0);                                    \
        if (states > 1)                                           \
            store(a1 + j, s1);                                    \
        if (states > 2)                                           \
            store(a2 + j, s2);                                    \
        if (states > 0)                                           \
            store(q + j, splat(0));                               \
    }

#define CONSTANT(i) const V k##i = splat((REAL)optimizer->constant[i]); (void)k##i

/* The optimizer's step over parameters (rows, n), leading dimension ld, padded; the gradient, which
 * becomes 0 if there are states, and the states are laid out like them. */
static void optimize(const cmlp_optimizer *optimizer, int64_t rows, int64_t n, int64_t ld,
                     void *parameters, void *gradient, void *const *state)
{
    const V l1 = splat((REAL)optimizer->l1), l2 = splat((REAL)optimizer->l2);
    const REAL scale = (REAL)optimizer->scale, clip = (REAL)optimizer->clip_value;
    const int shape = optimizer->l1 != 0 || scale != 1 || clip > 0 ? SHAPED
                    : optimizer->l2 != 0 ? DECAYED : PLAIN;
    CONSTANT(0); CONSTANT(1); CONSTANT(2); CONSTANT(3); CONSTANT(4); CONSTANT(5);
    if (n == ld) { /* the rows are contiguous */
        n *= rows;
        rows = 1;
    }
    for (int64_t i = 0; i < rows; i++) {
        REAL *restrict p = (REAL *)parameters + i * ld, *restrict q = (REAL *)gradient + i * ld;
        REAL *restrict a0 = state[0] ? (REAL *)state[0] + i * ld : NULL;
        REAL *restrict a1 = state[1] ? (REAL *)state[1] + i * ld : NULL;
        REAL *restrict a2 = state[2] ? (REAL *)state[2] + i * ld : NULL;
        switch (optimizer->kind) {
#define X(name, states, constants, update) \
    case OPTIMIZER_##name:                 \
        if (shape == SHAPED) {             \
            ROW(states, update, SHAPED)    \
        } else if (shape == DECAYED) {     \
            ROW(states, update, DECAYED)   \
        } else {                           \
            ROW(states, update, PLAIN)     \
        }                                  \
        break;
            OPTIMIZERS(X)
#undef X
        }
    }
}

/* Return the sum of squares of x (n,), computed in float64. */
static double sum_squares_in_double(const REAL *x, int64_t n)
{
    double sum = 0;
    for (int64_t j = 0; j < n; j++)
        sum += (double)x[j] * (double)x[j];
    return sum;
}

/* Return the sum of squares of (rows, n) elements, leading dimension ld, padded.  A row whose sum
 * overflows float32 is summed in float64. */
static double sum_of_squares(int64_t rows, int64_t n, int64_t ld, const void *gradient)
{
    double sum = 0;
    for (int64_t i = 0; i < rows; i++) {
        const REAL *row = (const REAL *)gradient + i * ld;
        V squares = splat(0);
        for (int64_t j = 0; j < n; j += LANES) {
            V g = load(row + j);
            squares += g * g;
        }
        const double sum_of_row = (double)sum_lanes(squares);
        sum += isfinite(sum_of_row) ? sum_of_row : sum_squares_in_double(row, n);
    }
    return sum;
}

/* mean += fraction * (w - mean) for parameters (rows, n), leading dimension ld, padded. */
static void average(int64_t rows, int64_t n, int64_t ld, double fraction_, const void *w,
                    void *mean)
{
    const V fraction = splat((REAL)fraction_);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j += LANES) {
            REAL *at = (REAL *)mean + i * ld + j;
            store(at, load(at) + fraction * (load((const REAL *)w + i * ld + j) - load(at)));
        }
}

/* Max-norm constraint: scale down those columns of W (k, n), leading dimension ldw, padded, whose
 * norm exceeds the limit (Srivastava et al., JMLR 15, 2014, section 5.1).  A column whose sum of
 * squares overflows becomes NaN, so that training reports it, instead of 0. */
static void limit_norms(int64_t k, int64_t n, double limit_, void *w_, int64_t ldw)
{
    const V limit = splat((REAL)limit_);
    for (int64_t j = 0; j < n; j += LANES) {
        REAL *w = (REAL *)w_ + j;
        V squares = splat(0);
        for (int64_t i = 0; i < k; i++)
            squares += load(w + i * ldw) * load(w + i * ldw);
        V norm = v_sqrt(squares), invalid = norm - norm; /* 0, or NaN if the norm is infinite */
        V factor = v_select(norm > limit, limit / norm + invalid, splat(1));
        if (max_lanes(norm) > (REAL)limit_)
            for (int64_t i = 0; i < k; i++)
                store(w + i * ldw, load(w + i * ldw) * factor);
    }
}

#endif
