/* Dropout masks, shared by dropout of hidden layers and of the input. */
#ifndef CMLP_DROPOUT_MASKS_H
#define CMLP_DROPOUT_MASKS_H

#include "random_blocks.h"

/* Compute the factors of a block of columns of one sample: 0, where 16 random bits are less than
 * `dropped`, or the scale. */
static void compute_dropout_factors(const cmlp_dropout *dropout, const cmlp_rng_key *key,
                                    int64_t sample, int64_t block, REAL factors[DROP_BLOCK])
{
    uint32_t words[4][COUNTERS];
    const REAL scale = (REAL)dropout->scale;
    const int32_t dropped = (int32_t)dropout->dropped;
    compute_random_words(key, CMLP_DROPOUT, sample, (uint32_t)block, words);
    for (int w = 0; w < 4; w++) {
        REAL *lower = factors + 2 * w * COUNTERS, *upper = lower + COUNTERS;
        for (int c = 0; c < COUNTERS; c++) {
            lower[c] = (int32_t)(words[w][c] & 0xffff) >= dropped ? scale : 0;
            upper[c] = (int32_t)(words[w][c] >> 16) >= dropped ? scale : 0;
        }
    }
}

/* Apply dropout to columns column .. column + n of one sample: a (n,) and, if not NULL, its
 * derivatives, slopes and factors (n,), padded (Srivastava et al., JMLR 15, 2014, section 4).  Outputs are scaled during training,
 * so that inference does not scale. */
static void drop_row(const cmlp_dropout *dropout, const cmlp_rng_key *key, int64_t sample,
                     int64_t column, int64_t n, REAL *a, REAL *slopes, REAL *factors)
{
    REAL masks[DROP_BLOCK] __attribute__((aligned(64)));
    for (int64_t j = 0; j < n;) {
        const int64_t begin = (column + j) % DROP_BLOCK;
        const int64_t size = MIN(n - j, DROP_BLOCK - begin);
        compute_dropout_factors(dropout, key, sample, (column + j) / DROP_BLOCK, masks);
        for (int64_t i = 0; i < size; i += LANES)
            store(a + j + i, load(a + j + i) * load(masks + begin + i));
        for (int64_t i = 0; slopes && i < size; i += LANES)
            store(slopes + j + i, load(slopes + j + i) * load(masks + begin + i));
        for (int64_t i = 0; factors && i < size; i += LANES)
            store(factors + j + i, load(factors + j + i) * load(masks + begin + i));
        j += size;
    }
}

#endif
