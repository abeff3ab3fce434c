/* Counter-based random number generator.  The numbers are a pure function of (seed, stream, epoch)
 * and the position, independent of threads and of earlier calls. */
#ifndef CMLP_RANDOM_H
#define CMLP_RANDOM_H

#include <stdint.h>

/* One stream per purpose. */
enum cmlp_stream { CMLP_SHUFFLE, CMLP_DROPOUT, CMLP_NOISE, CMLP_DISTORTION };

/* Philox's multipliers and key increments. */
#define CMLP_PHILOX_0 0xD2511F53
#define CMLP_PHILOX_1 0xCD9E8D57
#define CMLP_WEYL_0 0x9E3779B9
#define CMLP_WEYL_1 0xBB67AE85

/* A generator that returns the words of a stream one by one. */
typedef struct {
    uint32_t key[2], counter[4], words[4];
    int left; /* words that have not been returned yet */
} cmlp_random;

/* Philox4x32-10: compute four random words from a counter (Salmon, Moraes, Dror and Shaw, "Parallel
 * random numbers: as easy as 1, 2, 3", SC11, section 3.3). */
static inline void cmlp_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
    uint32_t k0 = key[0], k1 = key[1];
    uint32_t x0 = counter[0], x1 = counter[1], x2 = counter[2], x3 = counter[3];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)CMLP_PHILOX_0 * x0, p1 = (uint64_t)CMLP_PHILOX_1 * x2;
        x0 = (uint32_t)(p1 >> 32) ^ x1 ^ k0;
        x1 = (uint32_t)p1;
        x2 = (uint32_t)(p0 >> 32) ^ x3 ^ k1;
        x3 = (uint32_t)p0;
        k0 += CMLP_WEYL_0;
        k1 += CMLP_WEYL_1;
    }
    out[0] = x0, out[1] = x1, out[2] = x2, out[3] = x3;
}

/* Return a generator at the start of a stream. */
static inline cmlp_random cmlp_random_at(uint64_t seed, uint32_t stream, uint32_t epoch)
{
    return (cmlp_random){.key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
                         .counter = {0, 0, epoch, stream}};
}

/* Return the next word. */
static inline uint32_t cmlp_random_word(cmlp_random *r)
{
    if (r->left == 0) {
        cmlp_philox(r->key, r->counter, r->words);
        r->counter[0]++;
        r->counter[1] += r->counter[0] == 0;
        r->left = 4;
    }
    return r->words[--r->left];
}

/* Return a uniform integer in [0, n), without bias (Lemire, "Fast random integer generation in an
 * interval", ACM TOMACS 29(1), 2019, algorithm 5). */
static inline uint32_t cmlp_random_below(cmlp_random *r, uint32_t n)
{
    uint64_t product = (uint64_t)cmlp_random_word(r) * n;
    if ((uint32_t)product < n) {
        const uint32_t least = -n % n;
        while ((uint32_t)product < least)
            product = (uint64_t)cmlp_random_word(r) * n;
    }
    return (uint32_t)(product >> 32);
}

/* Write a uniformly random permutation of 0 .. n - 1 to order (n,), as a function of (seed, epoch)
 * (Durstenfeld, CACM 7(7), 1964, algorithm 235). */
static inline void cmlp_shuffle(uint32_t *order, uint32_t n, uint64_t seed, uint32_t epoch)
{
    cmlp_random r = cmlp_random_at(seed, CMLP_SHUFFLE, epoch);
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        const uint32_t j = cmlp_random_below(&r, i), last = order[i - 1];
        order[i - 1] = order[j];
        order[j] = last;
    }
}

#endif
