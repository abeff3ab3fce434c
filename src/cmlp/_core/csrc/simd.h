/* Vectors of REAL over the GCC/Clang vector extensions, and the block sizes
 * that fit each instruction set's registers.  Everything above this file is
 * written once, for any width.
 */
#ifndef CMLP_SIMD_H
#define CMLP_SIMD_H

#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

/* Set by the build: 4 for float, 8 for double. */
#ifndef CMLP_REAL_BYTES
#error "compile with -DCMLP_REAL_BYTES=4 or 8"
#endif

#if CMLP_REAL_BYTES == 4
typedef float REAL;
typedef int32_t INT;
#define REAL_MIN 0x1p-126f
#define REAL_MANTISSA 23
#define REAL_BIAS 127
#else
typedef double REAL;
typedef int64_t INT;
#define REAL_MIN 0x1p-1022
#define REAL_MANTISSA 52
#define REAL_BIAS 1023
#endif

/* Block sizes that fit the registers.  A tile holds TILE_ROWS x 2 accumulators, or
 * fewer rows of 4 or 8 vectors; what is left takes the operands.  A panel is
 * PANEL_VECTORS wide and meets tiles of PANEL_ROWS; where the panel is narrow, the
 * other operand of an update is packed too, GROUP_ROWS at a time (0: it is not).
 * STREAM_VECTORS are what a pass over the weights keeps in registers beside the row
 * that it changes, for STREAM_ROWS samples at most.  What does not fit spills, and
 * spilling costs more than any blocking wins. */
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define TILE_ROWS 12
#define TILE_ROWS_4 6
#define TILE_ROWS_8 3
#define PANEL_VECTORS 4
#define PANEL_ROWS 6
#define GROUP_ROWS 0
#define STREAM_VECTORS 20
#define STREAM_ROWS 10
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#define TILE_ROWS 6
#define TILE_ROWS_4 2
#define TILE_ROWS_8 1
#define PANEL_VECTORS 2
#define PANEL_ROWS 6
#define GROUP_ROWS 96
#define STREAM_VECTORS 10
#define STREAM_ROWS 5
#elif defined(__aarch64__)
#define VECTOR_BYTES 16
#define TILE_ROWS 8
#define TILE_ROWS_4 5
#define TILE_ROWS_8 2
#define PANEL_VECTORS 4
#define PANEL_ROWS 5
#define GROUP_ROWS 96
#define STREAM_VECTORS 20
#define STREAM_ROWS 10
#else
#define VECTOR_BYTES 16
#define TILE_ROWS 5
#define TILE_ROWS_4 2
#define TILE_ROWS_8 1
#define PANEL_VECTORS 2
#define PANEL_ROWS 5
#define GROUP_ROWS 96
#define STREAM_VECTORS 10
#define STREAM_ROWS 5
#endif

#define LANES (VECTOR_BYTES / CMLP_REAL_BYTES)

typedef REAL V __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef INT VI __attribute__((vector_size(VECTOR_BYTES), may_alias));

#define AT_MOST(x, most) ((x) < (most) ? (x) : (most))
#define INLINE static inline __attribute__((always_inline))
/* Keeps the compiler from splitting a pointer to a row into one for each vector of it. */
#define ONE_POINTER(p) __asm__("" : "+r"(p))
#define UNROLL _Pragma("GCC unroll 32")

INLINE V load(const REAL *p) { return *(const V *)p; }
INLINE void store(REAL *p, V v) { *(V *)p = v; }
INLINE V splat(REAL x) { return (V){0} + x; }

/* A comparison of vectors gives all ones or all zeros in each lane. */
INLINE V v_select(VI mask, V yes, V no)
{
    return (V)((mask & (VI)yes) | (~mask & (VI)no));
}
/* A NaN in x stays, so that a diverged network shows. */
INLINE V v_max(V x, V y) { return v_select(x < y, y, x); }
INLINE V v_abs(V x) { return v_select(x < 0, -x, x); }

/* Keeps the lanes whose column, j for the first, is below n. */
INLINE V keep(V v, int64_t j, int64_t n, REAL otherwise)
{
    if (j + LANES <= n)
        return v;
    VI column;
    for (int i = 0; i < LANES; i++)
        column[i] = (INT)(j + i);
    return v_select(column < (INT)n, v, splat(otherwise));
}

/* A vector by its sixteenths of bytes, which every ISA can add and compare. */
typedef REAL V16 __attribute__((vector_size(16), may_alias));
typedef INT VI16 __attribute__((vector_size(16), may_alias));
#define PARTS (VECTOR_BYTES / 16)
typedef union {
    V whole;
    V16 part[PARTS];
} parted;

INLINE REAL sum_lanes(V v)
{
    parted p = {.whole = v};
    UNROLL for (int half = PARTS / 2; half > 0; half /= 2)
        UNROLL for (int i = 0; i < half; i++)
            p.part[i] += p.part[i + half];
    REAL s = p.part[0][0];
    for (int i = 1; i < 16 / CMLP_REAL_BYTES; i++)
        s += p.part[0][i];
    return s;
}
INLINE REAL max_lanes(V v)
{
    parted p = {.whole = v};
    UNROLL for (int half = PARTS / 2; half > 0; half /= 2)
        UNROLL for (int i = 0; i < half; i++) {
            VI16 less = p.part[i] < p.part[i + half];
            p.part[i] = (V16)((less & (VI16)p.part[i + half]) | (~less & (VI16)p.part[i]));
        }
    REAL s = p.part[0][0];
    for (int i = 1; i < 16 / CMLP_REAL_BYTES; i++)
        s = p.part[0][i] > s ? p.part[0][i] : s;
    return s;
}

/* The lanes of x and y in turn: of their lower and of their upper halves. */
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

/* A square of LANES vectors, transposed by log2(LANES) perfect shuffles (Stone,
 * "Parallel processing with the perfect shuffle", IEEE Trans. Computers C-20(2),
 * 1971). */
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
