/* Vectors of REAL over the GCC/Clang vector extensions, and the block sizes
 * that fit each instruction set's registers.  Everything above this file is
 * written once, for any width.
 */
#ifndef CMLP_SIMD_H
#define CMLP_SIMD_H

#include <stdint.h>
#include <string.h>

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

/* A register tile holds TILE_ROWS x 2 accumulators, or fewer rows of 4 or 8
 * vectors; what is left of the registers takes the operands.  A tile that does
 * not fit spills, and spilling costs more than any blocking wins. */
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define TILE_ROWS 10
#define TILE_ROWS_4 6
#define TILE_ROWS_8 3
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#define TILE_ROWS 6
#define TILE_ROWS_4 2
#define TILE_ROWS_8 1
#elif defined(__aarch64__)
#define VECTOR_BYTES 16
#define TILE_ROWS 8
#define TILE_ROWS_4 5
#define TILE_ROWS_8 2
#else
#define VECTOR_BYTES 16
#define TILE_ROWS 5
#define TILE_ROWS_4 2
#define TILE_ROWS_8 1
#endif

#define LANES (VECTOR_BYTES / CMLP_REAL_BYTES)

typedef REAL V __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef INT VI __attribute__((vector_size(VECTOR_BYTES), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

INLINE V load(const REAL *p) { return *(const V *)p; }
INLINE void store(REAL *p, V v) { *(V *)p = v; }
INLINE V splat(REAL x) { return (V){0} + x; }

/* A comparison of vectors gives all ones or all zeros in each lane. */
INLINE V select(VI mask, V yes, V no)
{
    return (V)((mask & (VI)yes) | (~mask & (VI)no));
}
/* A NaN in x stays, so that a diverged network shows. */
INLINE V v_max(V x, V y) { return select(x < y, y, x); }
INLINE V v_abs(V x) { return select(x < 0, -x, x); }

/* Keeps the lanes whose column, j for the first, is below n. */
INLINE V keep(V v, int64_t j, int64_t n, REAL otherwise)
{
    if (j + LANES <= n)
        return v;
    VI column;
    for (int i = 0; i < LANES; i++)
        column[i] = (INT)(j + i);
    return select(column < (INT)n, v, splat(otherwise));
}

INLINE REAL sum_lanes(V v)
{
    REAL s = 0;
    for (int i = 0; i < LANES; i++)
        s += v[i];
    return s;
}
INLINE REAL max_lanes(V v)
{
    REAL s = v[0];
    for (int i = 1; i < LANES; i++)
        s = v[i] > s ? v[i] : s;
    return s;
}

#endif
