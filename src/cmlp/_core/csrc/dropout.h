/* Dropout and noise: random numbers that are a function of their place alone, so that
 * neither the threads nor the blocks of a batch change them. */
#ifndef CMLP_DROPOUT_H
#define CMLP_DROPOUT_H

#include "activations.h"
#include "kernels.h"
#include "random.h"

/* Columns are numbered in blocks of this many counters; a counter gives four words. */
#define COUNTERS 16
#define DROP_BLOCK (8 * COUNTERS)
#define NOISE_BLOCK (4 * COUNTERS)

/* Words in lanes of 64 bits, whose upper halves may hold anything: the product of the
 * lower ones is what a multiplier of words gives. */
typedef uint64_t W __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t I32 __attribute__((vector_size(VECTOR_BYTES)));
#define WORDS ((int)(VECTOR_BYTES / sizeof(uint64_t)))

/* The lower halves of the lanes of two of them. */
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

#if VECTOR_BYTES == 64
#define MULTIPLY_WORDS(x, y) ((W)_mm512_mul_epu32((__m512i)(x), (__m512i)(y)))
#elif VECTOR_BYTES == 32
#define MULTIPLY_WORDS(x, y) ((W)_mm256_mul_epu32((__m256i)(x), (__m256i)(y)))
#elif defined(__SSE2__)
#define MULTIPLY_WORDS(x, y) ((W)_mm_mul_epu32((__m128i)(x), (__m128i)(y)))
#else
#define MULTIPLY_WORDS(x, y) (((x) & 0xffffffff) * ((y) & 0xffffffff))
#endif

/* The words of a block, word w of counter c at [w][c]: the formula of cmlp_philox for
 * several counters at a time. */
INLINE void random_words(const cmlp_noise *noise, uint32_t stream, int64_t place, uint32_t block,
                         uint32_t words[4][COUNTERS])
{
    const W zero = {0}, m0 = zero + CMLP_PHILOX_0, m1 = zero + CMLP_PHILOX_1;
    for (int first = 0; first < COUNTERS; first += 2 * WORDS) {
        uint32_t k0 = (uint32_t)noise->seed, k1 = (uint32_t)(noise->seed >> 32);
        W x[2][4];
        for (int half = 0; half < 2; half++) {
            W count = zero;
            for (int c = 0; c < WORDS; c++)
                count[c] = (uint64_t)c;
            x[half][0] = count + (block * COUNTERS + (uint32_t)(first + half * WORDS));
            x[half][1] = zero + (uint32_t)place;
            x[half][2] = zero + noise->epoch;
            x[half][3] = zero + (stream | noise->layer << 8);
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

/* What the elements of a block are multiplied by: 0, or the scale.  Sixteen bits decide. */
static void drop_factors(const cmlp_dropout *dropout, const cmlp_noise *noise, int64_t place,
                         int64_t block, REAL factors[DROP_BLOCK])
{
    uint32_t words[4][COUNTERS];
    const REAL scale = (REAL)dropout->scale;
    const int32_t dropped = (int32_t)dropout->dropped;
    random_words(noise, CMLP_DROPOUT, place, (uint32_t)block, words);
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
static void drop_row(const cmlp_dropout *dropout, const cmlp_noise *noise, int64_t place,
                     int64_t column, int64_t n, REAL *a, REAL *slopes)
{
    REAL factors[DROP_BLOCK] __attribute__((aligned(64)));
    for (int64_t j = 0; j < n;) {
        const int64_t begin = (column + j) % DROP_BLOCK;
        const int64_t size = AT_MOST(n - j, DROP_BLOCK - begin);
        drop_factors(dropout, noise, place, (column + j) / DROP_BLOCK, factors);
        for (int64_t i = 0; i < size; i += LANES)
            store(a + j + i, load(a + j + i) * load(factors + begin + i));
        for (int64_t i = 0; slopes && i < size; i += LANES)
            store(slopes + j + i, load(slopes + j + i) * load(factors + begin + i));
        j += size;
    }
}

static void drop(const cmlp_activation *f, const cmlp_dropout *dropout, const cmlp_noise *noise,
                 int64_t place, int64_t column, int64_t m, int64_t n, void *a_, int64_t lda,
                 void *slopes_)
{
    for (int64_t i = 0; i < m; i++) {
        REAL *a = (REAL *)a_ + i * lda, *slopes = (REAL *)slopes_ + i * lda;
        if (!keeps_slope(f->kind)) {
            for (int64_t j = 0; j < n; j += LANES)
                store(slopes + j, splat(1));
            activate_backward(f, 1, n, a, lda, slopes, lda);
        }
        drop_row(dropout, noise, place + i, column, n, a, slopes);
    }
}

static void drop_input(const cmlp_dropout *dropout, const cmlp_noise *noise, int64_t place,
                       int64_t m, int64_t n, void *x, int64_t ldx)
{
    for (int64_t i = 0; i < m; i++)
        drop_row(dropout, noise, place + i, 0, n, (REAL *)x + i * ldx, NULL);
}

static void drop_sparse(const cmlp_dropout *dropout, const cmlp_noise *noise, int64_t place,
                        int64_t first, int64_t m, const cmlp_entries *batch)
{
    REAL factors[DROP_BLOCK];
    for (int64_t i = first; i < first + m; i++) {
        int64_t block = -1;
        for (int64_t e = batch->spans[i].begin; e < batch->spans[i].end; e++) {
            const int64_t column = batch->column[e];
            if (column / DROP_BLOCK != block) {
                block = column / DROP_BLOCK;
                drop_factors(dropout, noise, place + i - first, block, factors);
            }
            ((REAL *)batch->value)[e] *= factors[column % DROP_BLOCK];
        }
    }
}

/* The sine and cosine of a turn's part u in [0, 1], by their Taylor polynomials for a
 * quarter of the angle, which is then doubled twice. */
INLINE void sine_cosine(V u, V *sine, V *cosine)
{
    V t = (u - (REAL)0.5) * (REAL)1.57079632679489661923, q = t * t;
    V s = ((((q / 72 - 1) * q / 42 + 1) * q / 20 - 1) * q / 6 + 1) * t;
    V c = ((((q / 56 - 1) * q / 30 + 1) * q / 12 - 1) * q / 2 + 1);
    for (int twice = 0; twice < 2; twice++) {
        V doubled = 2 * s * c;
        c = 1 - 2 * s * s;
        s = doubled;
    }
    *sine = s;
    *cosine = c;
}

/* Normal numbers of a block, two from two words (Box and Muller, Annals of Mathematical
 * Statistics 29, 1958). */
static void normal_numbers(const cmlp_noise *noise, int64_t place, int64_t block,
                           REAL numbers[NOISE_BLOCK])
{
    const REAL unit = (REAL)0x1p-24; /* of which a word gives so many */
    uint32_t words[4][COUNTERS];
    REAL uniform[4][COUNTERS] __attribute__((aligned(64)));
    random_words(noise, CMLP_NOISE, place, (uint32_t)block, words);
    for (int w = 0; w < 4; w++)
        for (int c = 0; c < COUNTERS; c++)
            uniform[w][c] = ((REAL)(int32_t)(words[w][c] >> 8) + (REAL)0.5) * unit;
    for (int w = 0; w < 4; w += 2)
        for (int c = 0; c < COUNTERS; c += LANES) {
            V sine, cosine, radius = v_sqrt(-2 * v_log(load(uniform[w] + c)));
            sine_cosine(load(uniform[w + 1] + c), &sine, &cosine);
            store(numbers + w * COUNTERS + c, radius * sine);
            store(numbers + (w + 1) * COUNTERS + c, radius * cosine);
        }
}

static void add_noise(double deviation, const cmlp_noise *noise, int64_t place, int64_t m,
                      int64_t n, void *x_, int64_t ldx)
{
    REAL numbers[NOISE_BLOCK] __attribute__((aligned(64)));
    for (int64_t i = 0; i < m; i++)
        for (int64_t first = 0; first < n; first += NOISE_BLOCK) {
            REAL *x = (REAL *)x_ + i * ldx + first;
            normal_numbers(noise, place + i, first / NOISE_BLOCK, numbers);
            for (int64_t j = 0; j < AT_MOST(n - first, NOISE_BLOCK); j++)
                x[j] += (REAL)deviation * numbers[j];
        }
}

#endif
