/* Packing of operands into units of bfloat16 (bfloat16.h), shared by the products of all ISAs.
 *
 * Activations and deltas arrive as rows of units, which round_rows wrote.  The weights are float32
 * and are rounded while they are packed.  An update sums over the samples: their pairs are formed
 * from the units of two rows, also while they are packed.
 */
#ifndef CMLP_BFLOAT16_PACKING_H
#define CMLP_BFLOAT16_PACKING_H

#include "tiles.h"

#if CMLP_REAL_BYTES == 4

/* Number of units of a sum of n products. */
INLINE int64_t count_units(int64_t n) { return (n + 1) / 2 * UNITS_PER_PAIR; }

/* Round rows of B (elements, columns), leading dimension ldb, to units of a panel: row 2t and row
 * 2t + 1 make pair t. */
INLINE void pack_units(int64_t elements, int64_t columns, const REAL *b, int64_t ldb, REAL *panel)
{
    for (int64_t t = 0; t < elements; t += 2, b += 2 * ldb)
        for (int64_t j = 0; j < columns; j += LANES) {
            const V even = load(b + j), odd = t + 1 < elements ? load(b + ldb + j) : splat(0);
            REAL *to = panel + t / 2 * UNITS_PER_PAIR * PANEL_COLUMNS + j;
#ifdef HAS_PAIR_UNITS
            store(to, make_units(even, odd));
#else
            store(to, round_reals(odd));
            store(to + PANEL_COLUMNS, round_reals(even));
#endif
            __builtin_prefetch(b + j + PANEL_COLUMNS, 0, 2);
            __builtin_prefetch(b + ldb + j + PANEL_COLUMNS, 0, 2);
        }
}

/* Round B (columns, elements), leading dimension ldb, to units of a panel of its transpose. */
INLINE void pack_transposed_units(int64_t elements, int64_t columns, const REAL *b, int64_t ldb,
                                  REAL *panel)
{
    const int64_t units = count_units(elements), step = LANES / UNITS_PER_PAIR * 2;
    for (int64_t j = 0; j < columns; j += LANES)
        for (int64_t t = 0; t < elements; t += step) {
            REAL *to = panel + t / 2 * UNITS_PER_PAIR * PANEL_COLUMNS + j;
            V square[LANES];
            UNROLL for (int i = 0; i < LANES; i++) {
                const REAL *row = b + (j + i) * ldb + t;
                V unit = splat(0);
                if (j + i < columns) {
#ifdef HAS_PAIR_UNITS
                    const V next = t + LANES < elements ? load(row + LANES) : splat(0);
                    unit = (V)_mm512_cvtne2ps_pbh((__m512)next, (__m512)load(row));
#else
                    unit = exchange_pairs(round_reals(load(row)));
#endif
                }
                square[i] = unit;
            }
            transpose(square);
            const int64_t left = units - t / 2 * UNITS_PER_PAIR;
            for (int64_t i = 0; i < MIN(left, LANES); i++)
                store(to + i * PANEL_COLUMNS, square[i]);
        }
}

/* Form the pairs of samples: from the rows of units A (samples, columns), leading dimension lda, the
 * units of A^T, whose summed index is the sample; `ldout` units between two units of a column.
 * Writes up to 2 * LANES - 1 columns more. */
INLINE void pack_samples(int64_t samples, int64_t columns, const REAL *a, int64_t lda, REAL *out,
                         int64_t ldout)
{
    for (int64_t s = 0; s < samples; s += 2, a += 2 * lda, out += UNITS_PER_PAIR * ldout) {
        const int has_odd = s + 1 < samples;
#ifdef HAS_PAIR_UNITS
        const words low = {INTERLEAVED_HALVES(0)}, high = {INTERLEAVED_HALVES(16)};
        for (int64_t j = 0; j < columns; j += 2 * LANES) {
            const V even = load_unaligned(a + j / 2);
            const V odd = has_odd ? load_unaligned(a + lda + j / 2) : splat(0);
            store(out + j, (V)_mm512_permutex2var_epi16((__m512i)even, (__m512i)low, (__m512i)odd));
            store(out + j + LANES,
                  (V)_mm512_permutex2var_epi16((__m512i)even, (__m512i)high, (__m512i)odd));
        }
#else
        for (int64_t j = 0; j < columns; j += LANES) {
            const V even = load_unaligned(a + j);
            const V odd = has_odd ? load_unaligned(a + lda + j) : splat(0);
            store(out + j, exchange_pairs(odd));
            store(out + ldout + j, exchange_pairs(even));
        }
#endif
    }
}

#endif
#endif
