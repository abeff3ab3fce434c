/* What the core can do at most, for the benchmarks. */
#ifndef CMLP_PROBE_H
#define CMLP_PROBE_H

#include "simd.h"

/* So many rounds of multiply-adds that wait for nothing but themselves; returns how
 * many single ones they were. */
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
