/* Input layer "input_noise": normal noise added to the network's input. */
#ifndef CMLP_INPUT_NOISE_H
#define CMLP_INPUT_NOISE_H

#include "random_blocks.h"

/* Add normal numbers of mean 0 and this standard deviation to X (m, n), leading dimension ldx: the
 * samples at offsets sample .. sample + m of the epoch. */
static void add_noise(double deviation, const cmlp_rng_key *key, int64_t sample, int64_t m,
                      int64_t n, void *x_, int64_t ldx)
{
    REAL numbers[NOISE_BLOCK] __attribute__((aligned(64)));
    for (int64_t i = 0; i < m; i++)
        for (int64_t first = 0; first < n; first += NOISE_BLOCK) {
            REAL *x = (REAL *)x_ + i * ldx + first;
            compute_normal_numbers(key, sample + i, first / NOISE_BLOCK, numbers);
            for (int64_t j = 0; j < MIN(n - first, NOISE_BLOCK); j++)
                x[j] += (REAL)deviation * numbers[j];
        }
}

#endif
