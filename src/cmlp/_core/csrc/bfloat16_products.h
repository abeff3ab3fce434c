/* The products of a dense layer whose operands are rounded to bfloat16; see bfloat16.h.
 *
 * Activations and deltas arrive as rows of units, which round_rows wrote.  The weights are float32
 * and are rounded while they are packed.  An update sums over the samples: their pairs are formed
 * from the units of two rows, also while they are packed.
 */
#ifndef CMLP_BFLOAT16_PRODUCTS_H
#define CMLP_BFLOAT16_PRODUCTS_H

#include "flush.h"
#include "tiles.h"

#if CMLP_REAL_BYTES == 4

static void dispatch_unit_tile(int64_t rows, int vecs, const product *p)
{
    dispatch_tile_kind(UNITS, rows, vecs, p);
}

static void dispatch_scaled_tile(int64_t rows, int vecs, const product *p)
{
    dispatch_tile_kind(SCALED_UNITS, rows, vecs, p);
}

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

/* C (m, n) from the units A and the float32 matrix B or, with `transposed`, B^T, where B has
 * `b_rows` rows.  `elements`: length of the sum.  p->k and p->b are not used. */
INLINE void multiply_units(int64_t m, int64_t n, int64_t elements, const int transposed,
                           int64_t b_rows, const REAL *b, int64_t ldb, const product *p)
{
    REAL panel[PANEL_DEPTH * PANEL_COLUMNS] __attribute__((aligned(CMLP_PAD)));
    const int64_t most = m < PACK_MIN_ROWS ? SMALL_UNIT_PANEL_DEPTH : PANEL_DEPTH;
    const int64_t depth = most / UNITS_PER_PAIR * 2;
    for (int64_t t = 0; t < elements; t += depth) {
        const int64_t part_elements = MIN(elements - t, depth);
        for (int64_t j = 0; j < n; j += PANEL_COLUMNS) {
            const int64_t width = MIN(n - j, PANEL_COLUMNS);
            if (transposed)
                pack_transposed_units(part_elements, MIN(b_rows - j, PANEL_COLUMNS),
                                      b + j * ldb + t, ldb, panel);
            else
                pack_units(part_elements, width, b + t * ldb + j, ldb, panel);
            const product part = {.k = count_units(part_elements), .a = p->a + count_units(t),
                                  .a_row = p->a_row, .a_col = 1, .b = panel, .ldb = PANEL_COLUMNS,
                                  .row = t == 0 && p->row ? p->row + j : NULL, .c = p->c + j,
                                  .ldc = p->ldc, .outputs = p->outputs ? p->outputs + j : NULL,
                                  .end = t + part_elements == elements ? p->end : UNCHANGED};
            compute_tiles_by(dispatch_unit_tile,
                             width == PANEL_COLUMNS ? PANEL_TILE_ROWS : TILE_ROWS, m, width, &part);
        }
    }
}

NOINLINE void multiply_forward(int64_t m, int64_t n, int64_t k, const REAL *w, int64_t ldw,
                               const product *p)
{
    multiply_units(m, n, k, 0, 0, w, ldw, p);
}

NOINLINE void multiply_backward(int64_t m, int64_t n, int64_t k, const REAL *w, int64_t ldw,
                                const product *p)
{
    multiply_units(m, (k + LANES - 1) / LANES * LANES, n, 1, k, w, ldw, p);
}

/* C (m, n) = f(A (m, k) W (k, n) + bias (n,)), with A and W rounded, f NULL (none) or fused; A in
 * units, leading dimensions lda (units), ldw, ldc; W, bias and C padded. */
static void bf16_affine(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *w,
                        int64_t ldw, const void *bias, const cmlp_activation *f, void *c,
                        int64_t ldc)
{
    const product p = {.a = a, .a_row = lda, .row = bias, .c = c, .ldc = ldc,
                       .end = f ? ACTIVATED : UNCHANGED};
    const uint64_t mode = begin_flush();
    multiply_forward(m, n, k, w, ldw, &p);
    end_flush(mode);
}

/* C (m, k) = (D (m, n) W (k, n)^T) * f'(O), with D and W rounded, f NULL (none) or fused; D in units,
 * leading dimensions ldd (units), ldw, ldc; O, the outputs of f, laid out like C; the columns of C
 * beyond k up to a whole vector become 0. */
static void bf16_affine_backward(int64_t m, int64_t n, int64_t k, const void *d, int64_t ldd,
                                 const void *w, int64_t ldw, const cmlp_activation *f,
                                 const void *outputs, void *c, int64_t ldc)
{
    const product p = {.a = d, .a_row = ldd, .row = NULL, .c = c, .ldc = ldc,
                       .end = f ? DIFFERENTIATED : UNCHANGED, .outputs = outputs};
    const int64_t width = (k + LANES - 1) / LANES * LANES;
    for (int64_t i = 0; i < m; i++)
        memset((REAL *)c + i * ldc, 0, (size_t)width * sizeof(REAL));
    const uint64_t mode = begin_flush();
    multiply_backward(m, n, k, w, ldw, &p);
    end_flush(mode);
}

/* The update by at most BF16_SAMPLES samples; see bf16_accumulate. */
NOINLINE void update_by_units(int64_t m, int64_t n, int64_t k, const REAL *a, int64_t lda,
                              const REAL *d, int64_t ldd, REAL factor, REAL *w, int64_t ldw)
{
    REAL panel[PANEL_DEPTH * PANEL_COLUMNS] __attribute__((aligned(CMLP_PAD)));
    REAL block[UNIT_BLOCK_REALS + 2 * LANES] __attribute__((aligned(CMLP_PAD)));
    const int64_t units = count_units(m), unit = 2 * LANES;
    const int64_t most = UNIT_BLOCK_REALS / units / unit * unit;
    for (int64_t i = 0; i < k; i += most) {
        const int64_t rows = MIN(k - i, most), ld = (rows + unit - 1) / unit * unit;
        pack_samples(m, rows, a + i / 2 * UNITS_PER_PAIR, lda, block, ld);
        for (int64_t j = 0; j < n; j += PANEL_COLUMNS) {
            const int64_t width = MIN(n - j, PANEL_COLUMNS);
            pack_samples(m, width, d + j / 2 * UNITS_PER_PAIR, ldd, panel, PANEL_COLUMNS);
            const product p = {.k = units, .a = block, .a_row = 1, .a_col = ld, .b = panel,
                               .ldb = PANEL_COLUMNS, .c = w + i * ldw + j, .ldc = ldw,
                               .factor = factor};
            compute_tiles_by(dispatch_scaled_tile,
                             width == PANEL_COLUMNS ? PANEL_TILE_ROWS : TILE_ROWS, rows, width, &p);
        }
    }
}

/* W (k, n) += factor * (A (m, k)^T D (m, n)), with A and D rounded and in units, leading dimensions
 * lda, ldd (units), ldw; W padded.  The sum is over at most BF16_SAMPLES samples at a time: those of
 * a larger batch make several sums, whose multiples are added in order. */
static void bf16_accumulate(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda,
                            const void *d, int64_t ldd, double factor, void *w, int64_t ldw)
{
    const uint64_t mode = begin_flush();
    for (int64_t i = 0; i < m; i += BF16_SAMPLES)
        update_by_units(MIN(m - i, BF16_SAMPLES), n, k, (const REAL *)a + i * lda, lda,
                        (const REAL *)d + i * ldd, ldd, (REAL)factor, w, ldw);
    end_flush(mode);
}

#endif
#endif
