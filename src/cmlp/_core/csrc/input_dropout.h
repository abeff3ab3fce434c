/* Input layer "input_dropout": dropout of the network's input. */
#ifndef CMLP_INPUT_DROPOUT_H
#define CMLP_INPUT_DROPOUT_H

#include "dropout_masks.h"

/* Apply dropout of this rate to X (m, n), leading dimension ldx, padded: the samples at offsets
 * sample .. sample + m of the epoch. */
static void drop_input(double rate, const cmlp_rng_key *key, int64_t sample, int64_t m, int64_t n,
                       void *x, int64_t ldx)
{
    const cmlp_dropout dropout = cmlp_dropout_of(rate);
    for (int64_t i = 0; i < m; i++)
        drop_row(&dropout, key, sample + i, 0, n, (REAL *)x + i * ldx, NULL, NULL);
}

/* The same for rows first .. first + m of a sparse batch; an entry gets the factor that its column
 * has in a dense row. */
static void drop_sparse(double rate, const cmlp_rng_key *key, int64_t sample, int64_t first,
                        int64_t m, const cmlp_entries *batch)
{
    const cmlp_dropout dropout = cmlp_dropout_of(rate);
    REAL factors[DROP_BLOCK];
    for (int64_t i = first; i < first + m; i++) {
        int64_t block = -1;
        for (int64_t e = batch->spans[i].begin; e < batch->spans[i].end; e++) {
            const int64_t column = batch->column[e];
            if (column / DROP_BLOCK != block) {
                block = column / DROP_BLOCK;
                compute_dropout_factors(&dropout, key, sample + i - first, block, factors);
            }
            ((REAL *)batch->value)[e] *= factors[column % DROP_BLOCK];
        }
    }
}

#endif
