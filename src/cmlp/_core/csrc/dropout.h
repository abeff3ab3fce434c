/* Dropout of a hidden layer's outputs, and the derivative through it. */
#ifndef CMLP_DROPOUT_H
#define CMLP_DROPOUT_H

#include "activations.h"
#include "dropout_masks.h"

/* Apply dropout to the outputs A (m, n) of f, leading dimension lda, padded: columns column ..
 * column + n of the samples at offsets sample .. sample + m of the epoch.  The slopes, laid out
 * like A, become the derivative of the dropped outputs.  If f does not store slopes, they are
 * computed here, from the outputs before dropout, as activate_backward could not compute them
 * from the dropped outputs.  `factors`, laid out like A: the derivative of the outputs with respect to
 * the factors of a parametric f, whose slopes are stored; NULL for others. */
static void drop(const cmlp_activation *f, const cmlp_dropout *dropout, const cmlp_rng_key *key,
                 int64_t sample, int64_t column, int64_t m, int64_t n, void *a_, int64_t lda,
                 void *slopes_, void *factors_)
{
    for (int64_t i = 0; i < m; i++) {
        REAL *a = (REAL *)a_ + i * lda, *slopes = (REAL *)slopes_ + i * lda;
        REAL *factors = factors_ ? (REAL *)factors_ + i * lda : NULL;
        if (!f->parametric && !stores_slope(f->kind)) {
            for (int64_t j = 0; j < n; j += LANES)
                store(slopes + j, splat(1));
            activate_backward(f, 1, n, a, lda, slopes, lda);
        }
        drop_row(dropout, key, sample + i, column, n, a, slopes, factors);
    }
}

#endif
