/* Products of bfloat16 operands by multiply-adds of units, in register tiles (tiles.h). */
#ifndef CMLP_BFLOAT16_UNITS_H
#define CMLP_BFLOAT16_UNITS_H

#include "bfloat16_packing.h"
#include "flush.h"

#if CMLP_REAL_BYTES == 4

/* Prepare the instructions of a product; return the state that end_products restores. */
INLINE uint64_t begin_products(void) { return begin_flush(); }

INLINE void end_products(uint64_t before) { end_flush(before); }

static void dispatch_unit_tile(int64_t rows, int vecs, const product *p)
{
    dispatch_tile_kind(UNITS, rows, vecs, p);
}

static void dispatch_scaled_tile(int64_t rows, int vecs, const product *p)
{
    dispatch_tile_kind(SCALED_UNITS, rows, vecs, p);
}

/* C (m, n) from p->row, the units A and the float32 matrix B or, with `transposed`, from zeros and
 * B^T, where B has `b_rows` rows.  `elements`: length of the sum.  p->k and p->b are not used. */
INLINE void multiply_rounded(int64_t m, int64_t n, int64_t elements, const int transposed,
                             int64_t b_rows, const REAL *b, int64_t ldb, const product *p)
{
    static const REAL zeros[PANEL_COLUMNS] __attribute__((aligned(CMLP_PAD)));
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
                                  .row = t > 0 ? NULL : transposed ? zeros : p->row + j,
                                  .c = p->c + j, .ldc = p->ldc,
                                  .outputs = p->outputs ? p->outputs + j : NULL,
                                  .end = t + part_elements == elements ? p->end : UNCHANGED};
            compute_tiles_by(dispatch_unit_tile,
                             width == PANEL_COLUMNS ? PANEL_TILE_ROWS : TILE_ROWS, m, width, &part);
        }
    }
}

/* The update by at most BF16_SAMPLES samples; see bf16_accumulate. */
NOINLINE void update_rounded(int64_t m, int64_t n, int64_t k, const REAL *a, int64_t lda,
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

#endif
#endif
