/* Measurement of the core's peak rate of multiply-adds, for the benchmarks. */
#ifndef CMLP_PROBE_H
#define CMLP_PROBE_H

#include "simd.h"

/* Run `rounds` rounds of independent chains of multiply-adds, long enough to hide their latency;
 * return the number of multiply-adds of single reals. */
static int64_t multiply_adds(int64_t rounds)
{
    enum { CHAINS = 2 * TILE_ROWS };
    V sum[CHAINS], x = splat((REAL)0.5), y = splat((REAL)0.25);
    UNROLL for (int i = 0; i < CHAINS; i++)
        sum[i] = splat((REAL)i);
    for (int64_t r = 0; r < rounds; r++)
        UNROLL for (int i = 0; i < CHAINS; i++)
            sum[i] = sum[i] * x + y;
    for (int i = 0; i < CHAINS; i++)
        __asm__ volatile("" ::"m"(sum[i]));
    return rounds * CHAINS * LANES;
}

#endif
