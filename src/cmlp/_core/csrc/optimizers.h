/* Optimizers that keep state for each parameter: one entry each, the place in the
 * list being the code.  Plain gradient descent is not among them: its update is
 * accumulated into the weights by the products themselves.
 *
 * An entry is a name, the number of its states, the constants c of step t by the
 * learning rate and the hyperparameters h, in the order of optimizers.py, and the
 * update of w and of the states s0, s1, s2 by the gradient g, where k0, k1 ... are
 * the constants.  The numbers are those of PyTorch's optimizers, of which lion is none.
 */
#ifndef CMLP_OPTIMIZERS_H
#define CMLP_OPTIMIZERS_H

#include <math.h>

#include "activations.h"
#include "functions.h"
#include "kernels.h"

/* Adam's running means of the gradient and of its square, as sums: the means are 1 - beta
 * times those, which takes a multiplication and a subtraction less of each parameter.  That
 * factor and the corrections of their bias are constants of the step. */
#define RUNNING_SUMS s0 = k0 * s0 + g; s1 = k1 * s1 + g * g
#define MEAN_OF_SUM ((1 - h[0]) / (1 - pow(h[0], t)))
#define ROOT_CORRECTION (1 / sqrt(1 - pow(h[1], t)))
#define SUM_CONSTANTS                                                  \
    c[0] = h[0]; c[1] = h[1]; c[2] = sqrt(1 - h[1]) * ROOT_CORRECTION; \
    c[3] = h[2]; c[4] = -rate * MEAN_OF_SUM

/* momentum: Polyak 1964 and, where h[2], Nesterov 1983 as Sutskever et al., ICML 2013,
 *     give them; h: momentum, dampening, nesterov.
 * adam: Kingma and Ba, ICLR 2015, algorithm 1; h: beta1, beta2, epsilon; where h[3], epsilon is
 *     added before the root is corrected, as at the end of their section 2.
 * amsgrad: Reddi, Kale and Kumar, ICLR 2018, algorithm 2; h as Adam's.
 * adamw: Loshchilov and Hutter, ICLR 2019, algorithm 2; h[3] is the decay.
 * nadam: Dozat, ICLR 2016 workshop, algorithm 8; h[3] is the momentum's decay.
 * rmsprop: Hinton, Coursera lecture 6e, 2012, centered as Graves, arXiv:1308.0850, eq.
 *     40, 2013; h: alpha, epsilon, momentum, centered.
 * adagrad: Duchi, Hazan and Singer, JMLR 12, 2011, section 1.1; h: the rate's decay, epsilon.
 * adadelta: Zeiler, arXiv:1212.5701, algorithm 1, 2012; h: rho, epsilon.
 * lion: Chen et al., NeurIPS 2023, program 1; h: beta1, beta2, the decay. */
#define OPTIMIZERS(X)                                                             \
    X(momentum, 1,                                                                \
      c[0] = h[0]; c[1] = t > 1 ? 1 - h[1] : 1;                                   \
      c[2] = -rate * (h[2] ? h[0] : 1); c[3] = -rate * h[2],                      \
      s0 = k0 * s0 + k1 * g;                                                      \
      w += k2 * s0 + k3 * g)                                                      \
    X(adam, 2,                                                                    \
      SUM_CONSTANTS; c[3] = h[3] ? h[2] * ROOT_CORRECTION : h[2],                 \
      RUNNING_SUMS;                                                               \
      w += k4 * s0 * v_reciprocal(v_root(s1) * k2 + k3))                          \
    X(amsgrad, 3,                                                                 \
      SUM_CONSTANTS; c[5] = 1 - rate * h[3],                                      \
      w *= k5;                                                                    \
      RUNNING_SUMS;                                                               \
      s2 = v_max(s2, s1);                                                         \
      w += k4 * s0 * v_reciprocal(v_root(s2) * k2 + k3))                          \
    X(adamw, 2,                                                                   \
      SUM_CONSTANTS; c[5] = 1 - rate * h[3],                                      \
      w *= k5;                                                                    \
      RUNNING_SUMS;                                                               \
      w += k4 * s0 * v_reciprocal(v_root(s1) * k2 + k3))                          \
    X(nadam, 2,                                                                   \
      const double now = h[0] * (1 - 0.5 * pow(0.96, t * h[3]));                  \
      const double next = h[0] * (1 - 0.5 * pow(0.96, (t + 1) * h[3]));           \
      optimizer->product = (t > 1 ? optimizer->product : 1) * now;                \
      SUM_CONSTANTS;                                                              \
      c[4] = -rate * next / (1 - optimizer->product * next) * (1 - h[0]);         \
      c[5] = -rate * (1 - now) / (1 - optimizer->product),                        \
      RUNNING_SUMS;                                                               \
      w += (k4 * s0 + k5 * g) * v_reciprocal(v_root(s1) * k2 + k3))               \
    X(rmsprop, 3,                                                                 \
      c[0] = h[0]; c[1] = 1 - h[0]; c[2] = h[1]; c[3] = h[2];                     \
      c[4] = h[3]; c[5] = -rate,                                                  \
      s0 = k0 * s0 + k1 * g * g;                                                  \
      s1 += k1 * (g - s1);                                                        \
      s2 = k3 * s2 + g * v_reciprocal(v_root(s0 - k4 * s1 * s1) + k2);            \
      w += k5 * s2)                                                               \
    X(adagrad, 1,                                                                 \
      c[0] = -rate / (1 + (t - 1) * h[0]); c[1] = h[1],                           \
      s0 += g * g;                                                                \
      w += k0 * g * v_reciprocal(v_root(s0) + k1))                                \
    X(adadelta, 2,                                                                \
      c[0] = h[0]; c[1] = 1 - h[0]; c[2] = h[1]; c[3] = -rate,                    \
      s0 = k0 * s0 + k1 * g * g;                                                  \
      const V change = v_root(s1 + k2) * v_reciprocal(v_root(s0 + k2)) * g;       \
      s1 = k0 * s1 + k1 * change * change;                                        \
      w += k3 * change)                                                           \
    X(lion, 1,                                                                    \
      c[0] = 1 - h[0]; c[1] = 1 - h[1]; c[2] = -rate; c[3] = 1 - rate * h[2],     \
      const V way = s0 + k0 * (g - s0);                                           \
      w = w * k3 + k2 * SIGN(way); \
      s0 += k1 * (g - s0))

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

/* What may be done to a gradient: nothing; decay of the weights alone, which is common; and
 * whatever there is: it is scaled for its norm (Pascanu, Mikolov and Bengio, ICML 2013,
 * algorithm 1), clipped element by element, and decayed. */
enum { PLAIN, DECAYED, SHAPED };

#define ROW(states, update, shape)                                          \
    for (int64_t j = 0; j < n; j += LANES) {                                \
        V s0 = load(a0 + j), s1 = states > 1 ? load(a1 + j) : s0,           \
          s2 = states > 2 ? load(a2 + j) : s0, w = load(p + j),             \
          g = load(q + j);                                                  \
        if (shape == SHAPED) {                                              \
            g *= scale;                                                     \
            if (clip > 0)                                                   \
                g = v_clip(g, -clip, clip);                                 \
        }                                                                   \
        if (shape != PLAIN)                                                 \
            g += l2 * w;                                                    \
        if (shape == SHAPED)                                                \
            if (optimizer->l1 != 0)                                         \
                g += l1 * SIGN(w);                                       \
        update;                                                             \
        store(p + j, w);                                                    \
        store(a0 + j, s0);                                                  \
        if (states > 1)                                                     \
            store(a1 + j, s1);                                              \
        if (states > 2)                                                     \
            store(a2 + j, s2);                                              \
        store(q + j, splat(0));                                             \
    }

#define CONSTANT(i) const V k##i = splat((REAL)optimizer->constant[i]); (void)k##i

static void optimize(const cmlp_optimizer *optimizer, int64_t rows, int64_t n, int64_t ld,
                     void *parameters, void *gradient, void *const *state)
{
    const V l1 = splat((REAL)optimizer->l1), l2 = splat((REAL)optimizer->l2);
    const REAL scale = (REAL)optimizer->scale, clip = (REAL)optimizer->clip_value;
    const int shape = optimizer->l1 != 0 || scale != 1 || clip > 0 ? SHAPED
                    : optimizer->l2 != 0 ? DECAYED : PLAIN;
    CONSTANT(0); CONSTANT(1); CONSTANT(2); CONSTANT(3); CONSTANT(4); CONSTANT(5);
    if (n == ld) { /* the rows are one */
        n *= rows;
        rows = 1;
    }
    for (int64_t i = 0; i < rows; i++) {
        REAL *restrict p = (REAL *)parameters + i * ld, *restrict q = (REAL *)gradient + i * ld;
        REAL *restrict a0 = (REAL *)state[0] + i * ld;
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

static double sum_of_squares(int64_t rows, int64_t n, int64_t ld, const void *gradient)
{
    double sum = 0;
    for (int64_t i = 0; i < rows; i++) {
        V squares = splat(0);
        for (int64_t j = 0; j < n; j += LANES) {
            V g = load((const REAL *)gradient + i * ld + j);
            squares += g * g;
        }
        sum += (double)sum_lanes(squares);
    }
    return sum;
}

static void average(int64_t rows, int64_t n, int64_t ld, double part_, const void *w, void *mean)
{
    const V part = splat((REAL)part_);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j += LANES) {
            REAL *at = (REAL *)mean + i * ld + j;
            store(at, load(at) + part * (load((const REAL *)w + i * ld + j) - load(at)));
        }
}

/* Srivastava et al., JMLR 15, 2014, section 5.1: the weights into a unit are kept in a ball. */
static void limit_norms(int64_t k, int64_t n, double limit_, void *w_, int64_t ldw)
{
    const V limit = splat((REAL)limit_);
    for (int64_t j = 0; j < n; j += LANES) {
        REAL *w = (REAL *)w_ + j;
        V squares = splat(0);
        for (int64_t i = 0; i < k; i++)
            squares += load(w + i * ldw) * load(w + i * ldw);
        V norm = v_sqrt(squares), factor = v_select(norm > limit, limit / norm, splat(1));
        if (-max_lanes(-factor) < 1)
            for (int64_t i = 0; i < k; i++)
                store(w + i * ldw, load(w + i * ldw) * factor);
    }
}

#endif
