/* Blocks of random words and of normal numbers by the counter-based generator of random.h.
 *
 * A block is a pure function of (seed, epoch, layer, stream, sample, block of columns), so
 * that neither the number of threads nor the partition of a batch changes a number.
 */
#ifndef CMLP_RANDOM_BLOCKS_H
#define CMLP_RANDOM_BLOCKS_H

#include "functions.h"
#include "kernels.h"
#include "random.h"

/* Counters per block of columns.  Philox computes four 32-bit words from a counter; dropout takes
 * two columns from a word, noise one.  Not tunable: another value gives other random numbers. */
#define COUNTERS 16
#define DROP_BLOCK (8 * COUNTERS)
#define NOISE_BLOCK (4 * COUNTERS)

/* Vectors of 32-bit words in 64-bit lanes, as the multiplication of words computes 64-bit products.
 * The upper halves of the lanes are arbitrary. */
typedef uint64_t W __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t I32 __attribute__((vector_size(VECTOR_BYTES)));
#define WORDS ((int)(VECTOR_BYTES / sizeof(uint64_t)))

/* The lower halves of the lanes of two such vectors, as one vector of words. */
#if VECTOR_BYTES == 64
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#elif VECTOR_BYTES == 32
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14
#else
#define EVEN 0, 2, 4, 6
#endif
#ifdef __clang__
#define LOWER_HALVES(x, y) __builtin_shufflevector((I32)(x), (I32)(y), EVEN)
#else
#define LOWER_HALVES(x, y) __builtin_shuffle((I32)(x), (I32)(y), (I32){EVEN})
#endif

/* The 64-bit products of the lower halves of the lanes. */
#if VECTOR_BYTES == 64
#define MULTIPLY_WORDS(x, y) ((W)_mm512_mul_epu32((__m512i)(x), (__m512i)(y)))
#elif VECTOR_BYTES == 32
#define MULTIPLY_WORDS(x, y) ((W)_mm256_mul_epu32((__m256i)(x), (__m256i)(y)))
#elif defined(__SSE2__)
#define MULTIPLY_WORDS(x, y) ((W)_mm_mul_epu32((__m128i)(x), (__m128i)(y)))
#else
#define MULTIPLY_WORDS(x, y) (((x) & 0xffffffff) * ((y) & 0xffffffff))
#endif

/* Compute the random words of a block of columns of one sample; words[w][c] is word w of counter c.
 * The same function as cmlp_philox, for several counters at a time.  `stream` is the purpose,
 * `sample` the sample's offset in the epoch. */
INLINE void compute_random_words(const cmlp_rng_key *key, uint32_t stream, int64_t sample,
                                 uint32_t block, uint32_t words[4][COUNTERS])
{
    const W zero = {0}, m0 = zero + CMLP_PHILOX_0, m1 = zero + CMLP_PHILOX_1;
    for (int first = 0; first < COUNTERS; first += 2 * WORDS) {
        uint32_t k0 = (uint32_t)key->seed, k1 = (uint32_t)(key->seed >> 32);
        W x[2][4];
        for (int half = 0; half < 2; half++) {
            W count = zero;
            for (int c = 0; c < WORDS; c++)
                count[c] = (uint64_t)c;
            x[half][0] = count + (block * COUNTERS + (uint32_t)(first + half * WORDS));
            x[half][1] = zero + (uint32_t)sample;
            x[half][2] = zero + key->epoch;
            x[half][3] = zero + (stream | key->layer << 8);
        }
        for (int round = 0; round < 10; round++) {
            UNROLL for (int half = 0; half < 2; half++) {
                W *y = x[half];
                const W p0 = MULTIPLY_WORDS(y[0], m0), p1 = MULTIPLY_WORDS(y[2], m1);
                y[0] = (p1 >> 32) ^ y[1] ^ k0;
                y[1] = p1;
                y[2] = (p0 >> 32) ^ y[3] ^ k1;
                y[3] = p0;
            }
            k0 += CMLP_WEYL_0;
            k1 += CMLP_WEYL_1;
        }
        UNROLL for (int w = 0; w < 4; w++) {
            const I32 lower = LOWER_HALVES(x[0][w], x[1][w]);
            memcpy(words[w] + first, &lower, sizeof lower);
        }
    }
}

/* sin and cos of 2 pi (u - 1/2) for u in [0, 1]: Taylor polynomials for a quarter of the angle,
 * which is then doubled twice. */
INLINE void compute_sine_cosine(V u, V *sine, V *cosine)
{
    V t = (u - (REAL)0.5) * (REAL)1.57079632679489661923, q = t * t;
    V s = ((((q / 72 - 1) * q / 42 + 1) * q / 20 - 1) * q / 6 + 1) * t;
    V c = ((((q / 56 - 1) * q / 30 + 1) * q / 12 - 1) * q / 2 + 1);
    for (int doubling = 0; doubling < 2; doubling++) {
        V doubled = 2 * s * c;
        c = 1 - 2 * s * s;
        s = doubled;
    }
    *sine = s;
    *cosine = c;
}

/* Compute the standard normal numbers of a block of columns of one sample, two from two uniform
 * numbers (Box and Muller, Annals of Mathematical Statistics 29, 1958). */
static void compute_normal_numbers(const cmlp_rng_key *key, int64_t sample, int64_t block,
                                   REAL numbers[NOISE_BLOCK])
{
    const REAL unit = (REAL)0x1p-24; /* a word yields 24 random bits */
    uint32_t words[4][COUNTERS];
    REAL uniform[4][COUNTERS] __attribute__((aligned(64)));
    compute_random_words(key, CMLP_NOISE, sample, (uint32_t)block, words);
    for (int w = 0; w < 4; w++)
        for (int c = 0; c < COUNTERS; c++)
            uniform[w][c] = ((REAL)(int32_t)(words[w][c] >> 8) + (REAL)0.5) * unit;
    for (int w = 0; w < 4; w += 2)
        for (int c = 0; c < COUNTERS; c += LANES) {
            V sine, cosine, radius = v_sqrt(-2 * v_log(load(uniform[w] + c)));
            compute_sine_cosine(load(uniform[w + 1] + c), &sine, &cosine);
            store(numbers + w * COUNTERS + c, radius * sine);
            store(numbers + (w + 1) * COUNTERS + c, radius * cosine);
        }
}

#endif
