/* Parametric activations: an activation f with a learned factor alpha for each unit.
 *
 * A "blend" is z + alpha (f(z) - z): Holzmueller, Grinsztajn and Steinwart, NeurIPS 2024, section 3
 * (RealMLP).  An "inverse blend" is f(z) + alpha (z - f(z)), which for f = relu is PReLU: He et al.,
 * ICCV 2015, eq. 1.  Both are u + alpha v, where v is the derivative with respect to alpha.
 */
#ifndef CMLP_PARAMETRIC_H
#define CMLP_PARAMETRIC_H

#include "activations.h"

/* Columns that are computed at a time: whole vectors, which the first-level cache holds. */
#define PARAMETRIC_COLUMNS 256

/* Compute f and f' of z (n,), in place, into `slopes` (n,). */
INLINE void activate_with_slope(const cmlp_activation *f, int64_t n, REAL *z, REAL *slopes)
{
    activate(f, 1, n, n, z, n, slopes);
    if (!stores_slope(f->kind)) {
        for (int64_t j = 0; j < n; j += LANES)
            store(slopes + j, splat(1));
        activate_backward(f, 1, n, z, n, slopes, n);
    }
}

/* The same function of a row: z (n,) in place; slopes and factors (n,), the derivatives with respect
 * to z and alpha, may both be NULL. */
static void activate_parametric_row(const cmlp_activation *f, int64_t n, const REAL *alpha,
                                    REAL *z_, REAL *slopes, REAL *factors)
{
    REAL values[PARAMETRIC_COLUMNS] __attribute__((aligned(64)));
    REAL derivatives[PARAMETRIC_COLUMNS] __attribute__((aligned(64)));
    for (int64_t first = 0; first < n; first += PARAMETRIC_COLUMNS) {
        const int64_t size = MIN(n - first, PARAMETRIC_COLUMNS);
        for (int64_t j = 0; j < size; j += LANES)
            store(values + j, load(z_ + first + j));
        if (slopes)
            activate_with_slope(f, size, values, derivatives);
        else
            activate(f, 1, size, size, values, size, NULL);
        for (int64_t j = 0; j < size; j += LANES) {
            const V z = load(z_ + first + j), a = load(values + j), k = load(alpha + first + j);
            const V v = f->parametric == CMLP_BLEND ? a - z : z - a;
            store(z_ + first + j, (f->parametric == CMLP_BLEND ? z : a) + k * v);
            if (slopes) {
                const V s = load(derivatives + j);
                store(slopes + first + j, f->parametric == CMLP_BLEND ? 1 + k * (s - 1)
                                                                      : s + k * (1 - s));
                store(factors + first + j, v);
            }
        }
    }
}

/* A (m, n) = g(A) in place for the parametric activation g of f and alpha (n,).  Slopes = dg/dA and
 * factors = dg/dalpha, laid out like A; both or none are NULL. */
static void activate_parametric(const cmlp_activation *f, int64_t m, int64_t n,
                                const void *alpha, void *a, int64_t lda, void *slopes,
                                void *factors)
{
    for (int64_t i = 0; i < m; i++)
        activate_parametric_row(f, n, alpha, (REAL *)a + i * lda,
                                slopes ? (REAL *)slopes + i * lda : NULL,
                                factors ? (REAL *)factors + i * lda : NULL);
}

#endif
