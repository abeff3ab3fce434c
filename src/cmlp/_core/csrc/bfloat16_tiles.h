/* Products of bfloat16 operands by AMX, with the units of AVX512_BF16 (bfloat16.h).
 *
 * TDPBF16PS multiplies a tile of 16 rows of 16 units by one of 16 units of 16 columns.  It adds the
 * products of the even and of the odd elements apart, in float32, each beginning with 0, then both
 * sums, and this to the result:
 *
 *     acc = acc + (even + odd),    for each 32 elements of the sum,
 *
 * with subnormal numbers flushed to zero (Intel 64 and IA-32 Architectures Software Developer's
 * Manual, volume 2, "TDPBF16PS").  The other tables add pair by pair, which gives other bits.  The
 * end of a sum is padded with zeros, which change no sum.
 */
#ifndef CMLP_BFLOAT16_TILES_H
#define CMLP_BFLOAT16_TILES_H

#include "bfloat16_packing.h"
#include "flush.h"

/* Rows, and columns of reals or units, of a tile. */
#define TILE TILE_UNITS

/* Rows of a block of the result: two tiles. */
#define BLOCK_ROWS (2 * TILE)

/* Depth of the panels in units, in whole tiles: 128 KiB, in the L2 cache. */
#define TILE_PANEL_DEPTH 512

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* Prepare the instructions of a product; return the state that end_products restores.  Tiles 0 to 3
 * are sums, 4 and 5 hold A, 6 and 7 hold B. */
INLINE uint64_t begin_products(void)
{
    static const tile_config config = {
        .palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
        .rows = {TILE, TILE, TILE, TILE, TILE, TILE, TILE, TILE}};
    _tile_loadconfig(&config);
    return begin_flush();
}

INLINE void end_products(uint64_t before)
{
    end_flush(before);
    _tile_release();
}

/* Load tile t, a literal, from rows that are `stride` bytes apart.  In GCC 12 the intrinsic does not
 * tell that it reads memory: the barrier keeps the stores before it. */
#define LOAD_TILE(t, from, stride)           \
    do {                                     \
        __asm__ volatile("" ::: "memory");   \
        _tile_loadd(t, from, stride);        \
    } while (0)

/* Copy a tile of units; rows from `rows` on and units from `units` on become 0. */
INLINE void copy_tile(int64_t rows, int64_t units, const REAL *a, int64_t lda, REAL *tile)
{
    const __mmask16 mask = units >= TILE ? 0xffff : (__mmask16)((1u << units) - 1);
    for (int64_t i = 0; i < TILE; i++) {
        const V row = i < rows ? (V)_mm512_maskz_loadu_ps(mask, a + i * lda) : splat(0);
        store(tile + i * TILE, row);
    }
}

/* Load tile t from rows of units; rows and units may end within it. */
#define LOAD_UNITS(t, rows, units, a, lda)                                 \
    do {                                                                   \
        if ((rows) >= TILE && (units) >= TILE) {                           \
            LOAD_TILE(t, a, (lda) * (int64_t)sizeof(REAL));                \
        } else {                                                           \
            copy_tile(rows, units, a, lda, edge);                          \
            LOAD_TILE(t, edge, TILE * sizeof(REAL));                       \
        }                                                                  \
    } while (0)

/* Add the products of A (rows, p->k) and of B to the tiles of sums.  Without `is_tall` there are no
 * tiles 2 and 3, without `is_wide` no tiles 1 and 3. */
INLINE void add_products(const int is_tall, const int is_wide, int64_t rows, const product *p)
{
    REAL edge[TILE * TILE] __attribute__((aligned(CMLP_PAD)));
    const int64_t stride = p->ldb * (int64_t)sizeof(REAL);
    for (int64_t t = 0; t < p->k; t += TILE) {
        const REAL *a = p->a + t, *b = p->b + t * p->ldb;
        const int64_t units = p->k - t;
        LOAD_TILE(6, b, stride);
        LOAD_UNITS(4, rows, units, a, p->a_row);
        _tile_dpbf16ps(0, 4, 6);
        if (is_wide) {
            LOAD_TILE(7, b + TILE, stride);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (is_tall) {
            LOAD_UNITS(5, rows - TILE, units, a + TILE * p->a_row, p->a_row);
            _tile_dpbf16ps(2, 5, 6);
            if (is_wide)
                _tile_dpbf16ps(3, 5, 7);
        }
    }
}

/* Load the tiles of sums from rows that are `ld` reals apart. */
INLINE void load_sums(const int is_tall, const int is_wide, const REAL *from, int64_t ld)
{
    const int64_t stride = ld * (int64_t)sizeof(REAL);
    const REAL *below = from + TILE * ld;
    LOAD_TILE(0, from, stride);
    if (is_wide)
        LOAD_TILE(1, from + TILE, stride);
    if (is_tall)
        LOAD_TILE(2, below, stride);
    if (is_tall && is_wide)
        LOAD_TILE(3, below + TILE, stride);
}

/* Store the tiles of sums to rows that are `ld` reals apart. */
INLINE void store_sums(const int is_tall, const int is_wide, REAL *to, int64_t ld)
{
    const int64_t stride = ld * (int64_t)sizeof(REAL);
    REAL *below = to + TILE * ld;
    _tile_stored(0, to, stride);
    if (is_wide)
        _tile_stored(1, to + TILE, stride);
    if (is_tall)
        _tile_stored(2, below, stride);
    if (is_tall && is_wide)
        _tile_stored(3, below + TILE, stride);
}

/* Begin the tiles of sums: with 0 for SCALED_UNITS, else with p->row or C (rows, ...).  `copy` holds
 * the rows of C if they do not fill the tiles. */
INLINE void begin_sums(const tile_kind kind, const int is_tall, const int is_wide, int64_t rows,
                       const product *p, REAL *copy)
{
    if (kind == SCALED_UNITS) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else if (p->row) {
        load_sums(is_tall, is_wide, p->row, 0);
    } else if (rows == (is_tall ? BLOCK_ROWS : TILE)) {
        load_sums(is_tall, is_wide, p->c, p->ldc);
    } else {
        for (int64_t i = 0; i < rows; i++)
            for (int j = 0; j <= is_wide; j++)
                store(copy + (2 * i + j) * TILE, load(p->c + i * p->ldc + j * TILE));
        load_sums(is_tall, is_wide, copy, 2 * TILE);
    }
}

/* Store the tiles of sums to C (rows, ...), as end_tile does; by way of `copy`, if they are changed
 * or the rows do not fill them. */
INLINE void end_sums(const tile_kind kind, const int is_tall, const int is_wide, int64_t rows,
                     const product *p, REAL *copy)
{
    const int is_full = rows == (is_tall ? BLOCK_ROWS : TILE);
    if (kind == UNITS && p->end == UNCHANGED && is_full) {
        store_sums(is_tall, is_wide, p->c, p->ldc);
        return;
    }
    store_sums(is_tall, is_wide, copy, 2 * TILE);
    for (int64_t i = 0; i < rows; i++)
        for (int j = 0; j <= is_wide; j++) {
            V x = load(copy + (2 * i + j) * TILE);
            REAL *c = p->c + i * p->ldc + j * TILE;
            if (kind == SCALED_UNITS)
                x = load(c) + p->factor * x;
            else if (p->end == ACTIVATED)
                x = v_relu(x);
            else if (p->end == DIFFERENTIATED)
                x *= v_relu_slope(load(p->outputs + i * p->ldc + j * TILE));
            store(c, x);
        }
}

/* Compute at most two by two tiles of C. */
INLINE void compute_block_of(const tile_kind kind, const int is_tall, const int is_wide,
                             int64_t rows, const product *p)
{
    REAL copy[BLOCK_ROWS * 2 * TILE] __attribute__((aligned(CMLP_PAD)));
    begin_sums(kind, is_tall, is_wide, rows, p, copy);
    /* The block of A of an update is padded. */
    add_products(is_tall, is_wide, kind == SCALED_UNITS ? BLOCK_ROWS : rows, p);
    end_sums(kind, is_tall, is_wide, rows, p, copy);
}

/* Compute C (m, n), n whole vectors, from a panel whose rows are whole tiles. */
INLINE void compute_blocks(const tile_kind kind, int64_t m, int64_t n, const product *all)
{
    product p = *all;
    for (int64_t j = 0; j < n; j += 2 * TILE) {
        const int is_wide = n - j > TILE;
        p.b = all->b + j;
        p.row = all->row ? all->row + j : NULL;
        for (int64_t i = 0; i < m; i += BLOCK_ROWS) {
            const int64_t rows = MIN(m - i, BLOCK_ROWS);
            p.a = all->a + i * all->a_row;
            p.c = all->c + i * all->ldc + j;
            p.outputs = all->outputs ? all->outputs + i * all->ldc + j : NULL;
            if (rows > TILE)
                is_wide ? compute_block_of(kind, 1, 1, rows, &p)
                        : compute_block_of(kind, 1, 0, rows, &p);
            else
                is_wide ? compute_block_of(kind, 0, 1, rows, &p)
                        : compute_block_of(kind, 0, 0, rows, &p);
        }
    }
}

/* Pad a panel of `width` columns with rows of 0 to whole tiles. */
INLINE void pad_panel(int64_t units, int64_t width, int64_t ld, REAL *panel)
{
    for (int64_t t = units; t % TILE != 0; t++)
        for (int64_t j = 0; j < width; j += LANES)
            store(panel + t * ld + j, splat(0));
}

/* C (m, n) from p->row, the units A and the float32 matrix B or, with `transposed`, from zeros and
 * B^T, where B has `b_rows` rows; n is whole vectors.  `elements`: length of the sum.  p->k and p->b
 * are not used. */
INLINE void multiply_rounded(int64_t m, int64_t n, int64_t elements, const int transposed,
                             int64_t b_rows, const REAL *b, int64_t ldb, const product *p)
{
    static const REAL zeros[PANEL_COLUMNS] __attribute__((aligned(CMLP_PAD)));
    REAL panel[TILE_PANEL_DEPTH * PANEL_COLUMNS] __attribute__((aligned(CMLP_PAD)));
    const int64_t depth = 2 * TILE_PANEL_DEPTH;
    for (int64_t t = 0; t < elements; t += depth) {
        const int64_t part_elements = MIN(elements - t, depth), units = count_units(part_elements);
        for (int64_t j = 0; j < n; j += PANEL_COLUMNS) {
            const int64_t width = MIN(n - j, PANEL_COLUMNS);
            if (transposed)
                pack_transposed_units(part_elements, MIN(b_rows - j, PANEL_COLUMNS),
                                      b + j * ldb + t, ldb, panel);
            else
                pack_units(part_elements, width, b + t * ldb + j, ldb, panel);
            pad_panel(units, width, PANEL_COLUMNS, panel);
            const product part = {.k = units, .a = p->a + count_units(t), .a_row = p->a_row,
                                  .b = panel, .ldb = PANEL_COLUMNS,
                                  .row = t > 0 ? NULL : transposed ? zeros : p->row + j,
                                  .c = p->c + j, .ldc = p->ldc,
                                  .outputs = p->outputs ? p->outputs + j : NULL,
                                  .end = t + part_elements == elements ? p->end : UNCHANGED};
            compute_blocks(UNITS, m, width, &part);
        }
    }
}

/* Form the pairs of samples of A^T: rows of `ld` units, from the rows of units A (samples, rows),
 * leading dimension lda; `ld` is whole tiles.  Rows are written in twos of tiles. */
INLINE void pack_sample_rows(int64_t samples, int64_t rows, const REAL *a, int64_t lda, REAL *out,
                             int64_t ld)
{
    REAL strip[BF16_SAMPLES / 2 * 2 * TILE] __attribute__((aligned(CMLP_PAD)));
    for (int64_t i = 0; i < rows; i += 2 * TILE) {
        pack_samples(samples, 2 * TILE, a + i / 2, lda, strip, 2 * TILE);
        pad_panel(count_units(samples), 2 * TILE, 2 * TILE, strip);
        for (int64_t t = 0; t < ld; t += TILE)
            for (int64_t half = 0; half < 2; half++) {
                V square[LANES];
                UNROLL for (int r = 0; r < LANES; r++)
                    square[r] = load(strip + (2 * (t + r) + half) * TILE);
                transpose(square);
                UNROLL for (int r = 0; r < LANES; r++)
                    store(out + (i + half * TILE + r) * ld + t, square[r]);
            }
    }
}

/* The update by at most BF16_SAMPLES samples; see cmlp_bf16_kernels.  Reads up to 2 * LANES elements of
 * each row of units beyond its columns, so the last row must be followed by that padding. */
NOINLINE void update_rounded(int64_t m, int64_t n, int64_t k, const REAL *a, int64_t lda,
                             const REAL *d, int64_t ldd, REAL factor, REAL *w, int64_t ldw)
{
    REAL panel[BF16_SAMPLES / 2 * PANEL_COLUMNS] __attribute__((aligned(CMLP_PAD)));
    REAL block[UNIT_BLOCK_REALS] __attribute__((aligned(CMLP_PAD)));
    const int64_t units = count_units(m), ld = (units + TILE - 1) / TILE * TILE;
    const int64_t most = UNIT_BLOCK_REALS / ld / BLOCK_ROWS * BLOCK_ROWS;
    for (int64_t i = 0; i < k; i += most) {
        const int64_t rows = MIN(k - i, most);
        pack_sample_rows(m, rows, a + i / 2, lda, block, ld);
        for (int64_t j = 0; j < n; j += PANEL_COLUMNS) {
            const int64_t width = MIN(n - j, PANEL_COLUMNS);
            pack_samples(m, width, d + j / 2, ldd, panel, PANEL_COLUMNS);
            pad_panel(units, width, PANEL_COLUMNS, panel);
            const product p = {.k = ld, .a = block, .a_row = ld, .b = panel, .ldb = PANEL_COLUMNS,
                               .c = w + i * ldw + j, .ldc = ldw, .factor = factor};
            compute_blocks(SCALED_UNITS, rows, width, &p);
        }
    }
}

#endif
