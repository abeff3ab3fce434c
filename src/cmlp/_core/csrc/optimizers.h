/* Optimizers that keep state for each parameter: one line each, the place in the
 * list being the code.  Plain gradient descent is not among them: its update is
 * accumulated into the weights by the products themselves. */
#ifndef CMLP_OPTIMIZERS_H
#define CMLP_OPTIMIZERS_H

#include <math.h>

#include "functions.h"
#include "kernels.h"

/* A name, the constants of a step `t` with the learning rate `rate` and the
 * hyperparameters h, and the update of w and of the states s0, s1 by the
 * gradient g.
 *
 * Adam: Kingma and Ba, ICLR 2015, algorithm 1; h are beta1, beta2, epsilon.  Its
 * bias corrections are put into the constants, as PyTorch does. */
#define OPTIMIZERS(X)                                                                 \
    X(adam,                                                                           \
      const V b1 = splat((REAL)(1 - h[0])); const V b2 = splat((REAL)h[1]);           \
      const V c2 = splat((REAL)(1 - h[1])); const V epsilon = splat((REAL)h[2]);      \
      const V root = splat((REAL)(1 / sqrt(1 - pow(h[1], (double)t))));               \
      const V step = splat((REAL)(-rate / (1 - pow(h[0], (double)t)))),               \
      s0 += b1 * (g - s0);                                                            \
      s1 = b2 * s1 + c2 * g * g;                                                      \
      w += step * s0 * v_reciprocal(v_sqrt(s1) * root + epsilon))

enum optimizer {
#define X(name, constants, update) OPTIMIZER_##name,
    OPTIMIZERS(X)
#undef X
};

static const char *const optimizer_names[] = {
#define X(name, constants, update) #name,
    OPTIMIZERS(X)
#undef X
    NULL
};

static void optimize(const cmlp_optimizer *optimizer, int64_t rows, int64_t n, int64_t ld,
                     void *parameters, void *gradient, void *const *states)
{
    const double *h = optimizer->hyper, rate = optimizer->rate;
    const int64_t t = optimizer->step;
    switch (optimizer->kind) {
#define X(name, constants, update)                            \
    case OPTIMIZER_##name: {                                  \
        constants;                                            \
        for (int64_t i = 0; i < rows; i++)                    \
            for (int64_t j = 0; j < n; j += LANES) {          \
                const int64_t at = i * ld + j;                \
                const V g = load((REAL *)gradient + at);      \
                V w = load((REAL *)parameters + at);          \
                V s0 = load((REAL *)states[0] + at);          \
                V s1 = load((REAL *)states[1] + at);          \
                update;                                       \
                store((REAL *)parameters + at, w);            \
                store((REAL *)states[0] + at, s0);            \
                store((REAL *)states[1] + at, s1);            \
                store((REAL *)gradient + at, splat(0));       \
            }                                                 \
        break;                                                \
    }
        OPTIMIZERS(X)
#undef X
    }
}

#endif
