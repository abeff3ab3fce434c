/* Vectors of REAL by the GCC/Clang vector extensions.
 *
 * The headers that include this one are written once, for any vector width and real type.
 */
#ifndef CMLP_SIMD_H
#define CMLP_SIMD_H

#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "policy.h"

/* Size of a real in bytes, defined by setup.py: 4 for float, 8 for double. */
#ifndef CMLP_REAL_BYTES
#error "compile with -DCMLP_REAL_BYTES=4 or 8"
#endif

#if CMLP_REAL_BYTES == 4
typedef float REAL;
typedef int32_t INT;
#define REAL_MIN 0x1p-126f /* smallest positive normal number */
#define REAL_MANTISSA 23   /* stored bits of the mantissa */
#define REAL_BIAS 127
#else
typedef double REAL;
typedef int64_t INT;
#define REAL_MIN 0x1p-1022
#define REAL_MANTISSA 52
#define REAL_BIAS 1023
#endif

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

/* Reals per vector. */
#define LANES (VECTOR_BYTES / CMLP_REAL_BYTES)

typedef REAL V __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef INT VI __attribute__((vector_size(VECTOR_BYTES), may_alias));

/* Maximum number of vectors of a row that a kernel keeps in registers. */
#define MAX_VECTORS 8

#define MIN(x, y) ((x) < (y) ? (x) : (y))
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

/* Prevent the compiler from replacing a pointer to a row by one pointer per vector of the row,
 * which would need more registers than there are. */
#define ONE_POINTER(p) __asm__("" : "+r"(p))

/* Addresses must be multiples of VECTOR_BYTES. */
INLINE V load(const REAL *p) { return *(const V *)p; }
INLINE void store(REAL *p, V v) { *(V *)p = v; }

/* A vector at any address. */
typedef REAL unaligned_vector __attribute__((vector_size(VECTOR_BYTES), may_alias, aligned(1)));
INLINE V load_unaligned(const REAL *p) { return *(const unaligned_vector *)p; }

#if HALF_VECTORS
/* Half a vector; `widen` appends zeros. */
typedef REAL H __attribute__((vector_size(VECTOR_BYTES / 2), may_alias));
INLINE H load_half(const REAL *p) { return *(const H *)p; }
INLINE V widen(H x)
{
#if CMLP_REAL_BYTES == 4
    return (V)_mm512_zextps256_ps512((__m256)x);
#else
    return (V)_mm512_zextpd256_pd512((__m256d)x);
#endif
}
#endif

INLINE V splat(REAL x) { return (V){0} + x; }

/* Return the lanes of `yes` where the mask is all ones, and those of `no` where it is all zeros.
 * Comparisons of vectors return such masks. */
INLINE V v_select(VI mask, V yes, V no)
{
    return (V)((mask & (VI)yes) | (~mask & (VI)no));
}

/* Maximum.  A NaN in x is returned, so that a diverged network stays visible. */
INLINE V v_max(V x, V y) { return v_select(x < y, y, x); }

/* Absolute value; -0 is returned unchanged. */
INLINE V v_abs(V x) { return v_select(x < 0, -x, x); }

/* Bound x to [low, high].  NaN is returned unchanged. */
INLINE V v_clip(V x, REAL low, REAL high)
{
    return v_select(x < low, splat(low), v_select(x > high, splat(high), x));
}

/* Sign: -1 or 1; zeros and NaN are returned unchanged. */
#define SIGN(x) v_select((x) > 0, splat(1), v_select((x) < 0, splat(-1), (x)))

/* Replace the lanes whose column is n or greater by `fill`; the column of lane 0 is j. */
INLINE V mask_columns(V v, int64_t j, int64_t n, REAL fill)
{
    if (j + LANES <= n)
        return v;
    VI column;
    for (int i = 0; i < LANES; i++)
        column[i] = (INT)(j + i);
    return v_select(column < (INT)n, v, splat(fill));
}

/* A vector as an array of 16-byte vectors, which every ISA can add and compare. */
typedef REAL V16 __attribute__((vector_size(16), may_alias));
typedef INT VI16 __attribute__((vector_size(16), may_alias));
#define SUBVECTORS (VECTOR_BYTES / 16)
typedef union {
    V whole;
    V16 sub[SUBVECTORS];
} split_vector;

/* Sum of the lanes: pairwise over 16-byte vectors, then in order. */
INLINE REAL sum_lanes(V v)
{
    split_vector p = {.whole = v};
    UNROLL for (int half = SUBVECTORS / 2; half > 0; half /= 2)
        UNROLL for (int i = 0; i < half; i++)
            p.sub[i] += p.sub[i + half];
    REAL s = p.sub[0][0];
    for (int i = 1; i < 16 / CMLP_REAL_BYTES; i++)
        s += p.sub[0][i];
    return s;
}

/* Maximum of the lanes. */
INLINE REAL max_lanes(V v)
{
    split_vector p = {.whole = v};
    UNROLL for (int half = SUBVECTORS / 2; half > 0; half /= 2)
        UNROLL for (int i = 0; i < half; i++) {
            VI16 less = p.sub[i] < p.sub[i + half];
            p.sub[i] = (V16)((less & (VI16)p.sub[i + half]) | (~less & (VI16)p.sub[i]));
        }
    REAL s = p.sub[0][0];
    for (int i = 1; i < 16 / CMLP_REAL_BYTES; i++)
        s = p.sub[0][i] > s ? p.sub[0][i] : s;
    return s;
}

/* Lane indices that interleave the lower halves of two vectors, and the upper halves. */
#if VECTOR_BYTES / CMLP_REAL_BYTES == 2
#define LOWER_LANES 0, 2
#define UPPER_LANES 1, 3
#elif VECTOR_BYTES / CMLP_REAL_BYTES == 4
#define LOWER_LANES 0, 4, 1, 5
#define UPPER_LANES 2, 6, 3, 7
#elif VECTOR_BYTES / CMLP_REAL_BYTES == 8
#define LOWER_LANES 0, 8, 1, 9, 2, 10, 3, 11
#define UPPER_LANES 4, 12, 5, 13, 6, 14, 7, 15
#else
#define LOWER_LANES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define UPPER_LANES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#endif
#ifdef __clang__
#define SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define SHUFFLE(x, y, ...) __builtin_shuffle(x, y, (VI){__VA_ARGS__})
#endif

/* Transpose a square matrix of LANES vectors in place, by log2(LANES) perfect shuffles (Stone,
 * "Parallel processing with the perfect shuffle", IEEE Trans. Computers C-20(2), 1971). */
INLINE void transpose(V square[LANES])
{
    V next[LANES];
    UNROLL for (int round = 1; round < LANES; round *= 2) {
        UNROLL for (int i = 0; i < LANES / 2; i++) {
            next[2 * i] = SHUFFLE(square[i], square[i + LANES / 2], LOWER_LANES);
            next[2 * i + 1] = SHUFFLE(square[i], square[i + LANES / 2], UPPER_LANES);
        }
        UNROLL for (int i = 0; i < LANES; i++)
            square[i] = next[i];
    }
}

#endif
