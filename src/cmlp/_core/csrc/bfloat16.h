/* bfloat16: rounding, and the units in which its products are computed.
 *
 * The operands of a product are rounded to bfloat16 (to nearest, ties to even; subnormal numbers
 * to zero); the products and sums are float32.  The summed index goes in pairs, the odd element
 * before the even one:
 *
 *     acc = fma(x[2t], y[2t], fma(x[2t + 1], y[2t + 1], acc)),    t = 0, 1, ...
 *
 * with subnormal results flushed to zero.  This is what one vdpbf16ps (AVX512_BF16) computes in
 * each lane.  The other ISAs compute it by float32 multiply-adds, with the same bits.
 *
 * A unit is the element of an operand that one multiply-add of a tile takes, 32 bits:
 *
 * - with AVX512_BF16, a pair of bfloat16, the even element in the lower half;
 * - otherwise, a float32 that was rounded to bfloat16.  The units of a pair are stored in the
 *   order in which they are summed, the odd element first.
 *
 * So both have the same tiles (tiles.h).  If the length of a sum is odd, its last odd element is 0.
 */
#ifndef CMLP_BFLOAT16_H
#define CMLP_BFLOAT16_H

#include "simd.h"

#if CMLP_REAL_BYTES == 4

/* Units of a row of a tile of AMX. */
#define TILE_UNITS 16

typedef uint32_t VU __attribute__((vector_size(VECTOR_BYTES), may_alias));

/* Round to bfloat16 as vcvtneps2bf16 does: Intel 64 and IA-32 Architectures Software Developer's
 * Manual, volume 2, "VCVTNEPS2BF16". */
INLINE uint32_t round_bits(uint32_t bits)
{
    const uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude < 0x00800000)
        return bits & 0x80000000;
    if (magnitude > 0x7f800000)
        return (bits | 0x00400000) & 0xffff0000;
    return (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
}

/* The same for the lanes of a vector. */
INLINE V round_reals(V x)
{
#ifdef __AVX512BF16__
    const __m256i halves = (__m256i)_mm512_cvtneps_pbh((__m512)x);
    return (V)_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
#else
    const VU bits = (VU)x, magnitude = bits & 0x7fffffff;
    const VU rounded = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
    const VI is_nan = magnitude > 0x7f800000, is_tiny = magnitude < 0x00800000;
    const V finite = v_select(is_tiny, (V)(bits & 0x80000000), (V)rounded);
    return v_select(is_nan, (V)((bits | 0x00400000) & 0xffff0000), finite);
#endif
}

#ifdef __AVX512BF16__

#define HAS_PAIR_UNITS
#define UNITS_PER_PAIR 1

/* Return acc + the products of the pairs x and of those in `row`. */
INLINE V add_pair_products(V acc, REAL x, V row)
{
    return (V)_mm512_dpbf16_ps((__m512)acc, (__m512bh)_mm512_set1_ps(x), (__m512bh)row);
}

/* Indices that interleave the words of two halves of a vector. */
#define INTERLEAVED_WORDS(i) (i), (i) + 16, (i) + 1, (i) + 17, (i) + 2, (i) + 18, (i) + 3, (i) + 19

/* Indices that interleave the words i .. i + 16 of two vectors. */
#define INTERLEAVED_EIGHT(i)                                                                \
    (i), (i) + 32, (i) + 1, (i) + 33, (i) + 2, (i) + 34, (i) + 3, (i) + 35, (i) + 4,        \
        (i) + 36, (i) + 5, (i) + 37, (i) + 6, (i) + 38, (i) + 7, (i) + 39
#define INTERLEAVED_HALVES(i) INTERLEAVED_EIGHT(i), INTERLEAVED_EIGHT((i) + 8)

typedef int16_t words __attribute__((vector_size(64), may_alias));

/* Return the units whose even and odd elements are the lanes of `even` and `odd`. */
INLINE V make_units(V even, V odd)
{
    const words interleaved = {INTERLEAVED_WORDS(0), INTERLEAVED_WORDS(4), INTERLEAVED_WORDS(8),
                               INTERLEAVED_WORDS(12)};
    const __m512bh both = _mm512_cvtne2ps_pbh((__m512)odd, (__m512)even);
    return (V)_mm512_permutexvar_epi16((__m512i)interleaved, (__m512i)both);
}

/* Store the units of 2 * LANES consecutive elements of a row. */
INLINE void store_row_units(V first, V second, REAL *units)
{
    _mm512_storeu_ps(units, (__m512)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first));
}

#else

#define UNITS_PER_PAIR 2

/* Exchange the lanes of each pair. */
#if VECTOR_BYTES == 64
#define EXCHANGED_LANES 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14
#elif VECTOR_BYTES == 32
#define EXCHANGED_LANES 1, 0, 3, 2, 5, 4, 7, 6
#else
#define EXCHANGED_LANES 1, 0, 3, 2
#endif
INLINE V exchange_pairs(V x) { return SHUFFLE(x, x, EXCHANGED_LANES); }

/* Store the units of 2 * LANES consecutive elements of a row. */
INLINE void store_row_units(V first, V second, REAL *units)
{
    *(unaligned_vector *)units = exchange_pairs(round_reals(first));
    *(unaligned_vector *)(units + LANES) = exchange_pairs(round_reals(second));
}
#endif

/* Rows of units: OUT (m, ...) of the rows A (m, n), leading dimensions lda and ldout, in units.  If n
 * is odd, the last pair has the odd element 0.  No other units are written. */
static void round_rows(int64_t m, int64_t n, const void *a_, int64_t lda, void *out_, int64_t ldout)
{
    const int64_t whole = n / (2 * LANES) * (2 * LANES);
    for (int64_t i = 0; i < m; i++) {
        const REAL *a = (const REAL *)a_ + i * lda;
        REAL *out = (REAL *)out_ + i * ldout;
        for (int64_t j = 0; j < whole; j += 2 * LANES, out += LANES * UNITS_PER_PAIR)
            store_row_units(load_unaligned(a + j), load_unaligned(a + j + LANES), out);
        if (whole < n) {
            REAL rest[2 * LANES] __attribute__((aligned(CMLP_PAD))) = {0};
            REAL units[2 * LANES];
            memcpy(rest, a + whole, (size_t)(n - whole) * sizeof(REAL));
            store_row_units(load(rest), load(rest + LANES), units);
            memcpy(out, units, (size_t)(n - whole + 1) / 2 * UNITS_PER_PAIR * sizeof(REAL));
        }
    }
}

#endif
#endif
