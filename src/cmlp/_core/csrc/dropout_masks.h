/* Dropout masks, shared by dropout of hidden layers and of the input. */
#ifndef CMLP_DROPOUT_MASKS_H
#define CMLP_DROPOUT_MASKS_H

#include "random_blocks.h"

/* What the elements of a block are multiplied by: 0, or the scale.  Sixteen bits decide. */
static void drop_factors(const cmlp_dropout *dropout, const cmlp_rng_key *key, int64_t sample,
                         int64_t block, REAL factors[DROP_BLOCK])
{
    uint32_t words[4][COUNTERS];
    const REAL scale = (REAL)dropout->scale;
    const int32_t dropped = (int32_t)dropout->dropped;
    random_words(key, CMLP_DROPOUT, sample, (uint32_t)block, words);
    for (int w = 0; w < 4; w++) {
        REAL *lower = factors + 2 * w * COUNTERS, *upper = lower + COUNTERS;
        for (int c = 0; c < COUNTERS; c++) {
            lower[c] = (int32_t)(words[w][c] & 0xffff) >= dropped ? scale : 0;
            upper[c] = (int32_t)(words[w][c] >> 16) >= dropped ? scale : 0;
        }
    }
}

/* Srivastava et al., JMLR 15, 2014, section 4, the outputs scaled while training.
 * Columns column .. column + n of one row, which is padded; `slopes` may be NULL. */
static void drop_row(const cmlp_dropout *dropout, const cmlp_rng_key *key, int64_t sample,
                     int64_t column, int64_t n, REAL *a, REAL *slopes)
{
    REAL factors[DROP_BLOCK] __attribute__((aligned(64)));
    for (int64_t j = 0; j < n;) {
        const int64_t begin = (column + j) % DROP_BLOCK;
        const int64_t size = MIN(n - j, DROP_BLOCK - begin);
        drop_factors(dropout, key, sample, (column + j) / DROP_BLOCK, factors);
        for (int64_t i = 0; i < size; i += LANES)
            store(a + j + i, load(a + j + i) * load(factors + begin + i));
        for (int64_t i = 0; slopes && i < size; i += LANES)
            store(slopes + j + i, load(slopes + j + i) * load(factors + begin + i));
        j += size;
    }
}

#endif
