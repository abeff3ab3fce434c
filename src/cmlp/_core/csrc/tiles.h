/* The register tile that all dense products rest on, and matrices made of tiles.
 *
 * A tile is rows x vecs accumulators that run over the summed index in order.
 * Every element of a result is thus one chain of multiply-adds in a fixed order,
 * and how a product is cut into tiles, panels or threads does not change its bits.
 */
#ifndef CMLP_TILES_H
#define CMLP_TILES_H

#include "simd.h"

typedef struct {
    int64_t k;             /* length of the sum */
    const REAL *a;         /* element (i, t) at a[i * a_row + t * a_col] */
    int64_t a_row, a_col;
    const REAL *b;         /* row t at b + t * ldb */
    int64_t ldb;
    const REAL *row;       /* what each row of the result begins with; NULL: itself */
    REAL *c;
    int64_t ldc;
} product;

INLINE void tile(const int rows, const int vecs, const product *p)
{
    V acc[TILE_ROWS][8];
    const REAL *begin = p->row ? p->row : p->c;
    const int64_t step = p->row ? 0 : p->ldc;
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vecs; j++)
            acc[i][j] = load(begin + i * step + j * LANES);
    const REAL *a = p->a, *b = p->b;
    const int64_t a_row = p->a_row, a_col = p->a_col, ldb = p->ldb;
    for (int64_t t = p->k; t > 0; t--) {
        V row[8];
        UNROLL for (int j = 0; j < vecs; j++)
            row[j] = load(b + j * LANES);
        UNROLL for (int i = 0; i < rows; i++) {
            REAL x = a[i * a_row];
            UNROLL for (int j = 0; j < vecs; j++)
                acc[i][j] += x * row[j];
        }
        a += a_col;
        b += ldb;
    }
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vecs; j++)
            store(p->c + i * p->ldc + j * LANES, acc[i][j]);
}

/* Chooses the compiled tile.  A size that TILE_ROWS* of this ISA excludes is
 * never asked for, and its case folds into the one below it. */
#define TILE_CASE(rows)                                                       \
    case rows:                                                                \
        if (vecs == 8) tile(AT_MOST(rows, TILE_ROWS_8), 8, p);                \
        else if (vecs == 4) tile(AT_MOST(rows, TILE_ROWS_4), 4, p);           \
        else if (vecs == 2) tile(AT_MOST(rows, TILE_ROWS), 2, p);             \
        else tile(AT_MOST(rows, TILE_ROWS), 1, p);                            \
        break;

static void any_tile(int64_t rows, int vecs, const product *p)
{
    switch (rows) {
        TILE_CASE(1)
        TILE_CASE(2)
        TILE_CASE(3)
        TILE_CASE(4)
        TILE_CASE(5)
#if TILE_ROWS > 5
        TILE_CASE(6)
#endif
#if TILE_ROWS > 6
        TILE_CASE(7)
        TILE_CASE(8)
#endif
#if TILE_ROWS > 8
        TILE_CASE(9)
        TILE_CASE(10)
        TILE_CASE(11)
        TILE_CASE(12)
#endif
    }
}

/* Few rows leave registers for wider tiles, which hide the latency of the
 * multiply-add.  Returns the vectors of the next tile of `left` vectors. */
INLINE int tile_vectors(int64_t rows, int64_t left)
{
    if (rows <= TILE_ROWS_8 && left >= 8)
        return 8;
    if (rows <= TILE_ROWS_4 && left >= 4)
        return 4;
    return left >= 2 ? 2 : 1;
}

/* C (m, n) from tiles; rows are shared out evenly, 14 as 7 + 7, not 12 + 2. */
static void tiles(int64_t m, int64_t n, product p)
{
    const int64_t blocks = (m + TILE_ROWS - 1) / TILE_ROWS, vectors = n / LANES;
    const product all = p;
    for (int64_t block = 0, i = 0; block < blocks; block++) {
        const int64_t rows = (m - i) / (blocks - block);
        for (int64_t v = 0; v < vectors;) {
            const int vecs = tile_vectors(rows, vectors - v);
            p.a = all.a + i * all.a_row;
            p.b = all.b + v * LANES;
            p.row = all.row ? all.row + v * LANES : NULL;
            p.c = all.c + i * all.ldc + v * LANES;
            any_tile(rows, vecs, &p);
            v += vecs;
        }
        i += rows;
    }
}

/* A panel is two vectors' columns of B, packed so that a tile streams them:
 * whatever the stride of B, its lines then share the first cache. */
#define PANEL_COLUMNS (2 * LANES)
#define PANEL_DEPTH 256

INLINE void pack(int64_t depth, int64_t columns, const REAL *b, int64_t ldb, REAL *panel)
{
    for (int64_t t = 0; t < depth; t++)
        for (int64_t j = 0; j < columns; j += LANES)
            store(panel + t * PANEL_COLUMNS + j, load(b + t * ldb + j));
}

/* The same of the transpose of B, whose rows are then the columns of the panel. */
INLINE void pack_transposed(int64_t depth, int64_t columns, const REAL *b, int64_t ldb,
                            REAL *panel)
{
    for (int64_t j = 0; j < PANEL_COLUMNS && j < columns; j += LANES)
        for (int64_t t = 0; t < depth; t += LANES) {
            V square[LANES];
            UNROLL for (int i = 0; i < LANES; i++)
                square[i] = j + i < columns ? load(b + (j + i) * ldb + t) : splat(0);
            transpose(square);
            UNROLL for (int i = 0; i < LANES; i++)
                store(panel + (t + i) * PANEL_COLUMNS + j, square[i]);
        }
}

/* C (m, n) from panels of B, or of its transpose, which has `columns` rows. */
INLINE void paneled(int64_t m, int64_t n, const int transposed, int64_t columns, const product *p)
{
    REAL panel[PANEL_DEPTH * PANEL_COLUMNS] __attribute__((aligned(CMLP_PAD)));
    for (int64_t t = 0; t < p->k; t += PANEL_DEPTH) {
        const int64_t depth = AT_MOST(p->k - t, PANEL_DEPTH);
        for (int64_t j = 0; j < n; j += PANEL_COLUMNS) {
            const int64_t width = AT_MOST(n - j, PANEL_COLUMNS);
            if (transposed)
                pack_transposed(depth, columns - j, p->b + j * p->ldb + t, p->ldb, panel);
            else
                pack(depth, width, p->b + t * p->ldb + j, p->ldb, panel);
            tiles(m, width,
                  (product){.k = depth, .a = p->a + t * p->a_col, .a_row = p->a_row,
                            .a_col = p->a_col, .b = panel, .ldb = PANEL_COLUMNS,
                            .row = t == 0 && p->row ? p->row + j : NULL,
                            .c = p->c + j, .ldc = p->ldc});
        }
    }
}

#endif
