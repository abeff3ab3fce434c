/* The three products of a layer: forward, backward, and the update accumulated
 * into the weights.
 *
 * All rest on one register tile: rows x vecs accumulators that run over the
 * summed index in order.  Every element of a result is thus one chain of
 * multiply-adds in a fixed order, and how a product is cut into tiles, blocks
 * or threads does not change its bits.
 */
#ifndef CMLP_PRODUCTS_H
#define CMLP_PRODUCTS_H

#include "simd.h"

/* What a tile's accumulators begin with. */
enum start { FROM_ROW, FROM_RESULT };

typedef struct {
    int64_t k;             /* length of the sum */
    const REAL *a;         /* element (i, t) at a[i * a_row + t * a_col] */
    int64_t a_row, a_col;
    const REAL *b;         /* row t at b + t * ldb */
    int64_t ldb;
    const REAL *row;       /* FROM_ROW: the row to begin with */
    REAL *c;
    int64_t ldc;
} tile_args;

INLINE void tile(const int rows, const int vecs, const enum start start, const tile_args *p)
{
    V acc[TILE_ROWS][8];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vecs; j++)
            acc[i][j] = load(start == FROM_ROW ? p->row + j * LANES
                                               : p->c + i * p->ldc + j * LANES);
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
#define AT_MOST(rows, most) ((rows) < (most) ? (rows) : (most))
#define TILE_CASE(rows)                                                              \
    case rows:                                                                       \
        if (vecs == 8) tile(AT_MOST(rows, TILE_ROWS_8), 8, start, p);                \
        else if (vecs == 4) tile(AT_MOST(rows, TILE_ROWS_4), 4, start, p);           \
        else if (vecs == 2) tile(AT_MOST(rows, TILE_ROWS), 2, start, p);             \
        else tile(AT_MOST(rows, TILE_ROWS), 1, start, p);                            \
        break;

INLINE void any_tile(int64_t rows, int vecs, const enum start start, const tile_args *p)
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

/* C (m, n) from tiles; rows are shared out evenly, 12 as 6 + 6, not 10 + 2. */
INLINE void tiles(int64_t m, int64_t n, const enum start start, tile_args p)
{
    const int64_t blocks = (m + TILE_ROWS - 1) / TILE_ROWS, vectors = n / LANES;
    const REAL *a = p.a, *b = p.b, *row = p.row;
    REAL *c = p.c;
    for (int64_t block = 0, i = 0; block < blocks; block++) {
        const int64_t rows = (m - i) / (blocks - block);
        for (int64_t v = 0; v < vectors;) {
            const int vecs = tile_vectors(rows, vectors - v);
            p.a = a + i * p.a_row;
            p.b = b + v * LANES;
            p.row = row + v * LANES;
            p.c = c + i * p.ldc + v * LANES;
            any_tile(rows, vecs, start, &p);
            v += vecs;
        }
        i += rows;
    }
}

static void affine(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *w,
                   int64_t ldw, const void *bias, void *c, int64_t ldc)
{
    tiles(m, n, FROM_ROW,
          (tile_args){.k = k, .a = a, .a_row = lda, .a_col = 1, .b = w, .ldb = ldw,
                      .row = bias, .c = c, .ldc = ldc});
}

/* Summed over the batch, in blocks that keep the rows of D in the cache. */
static void accumulate(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda,
                       const void *d, int64_t ldd, void *w, int64_t ldw)
{
    tiles(k, n, FROM_RESULT,
          (tile_args){.k = m, .a = a, .a_row = 1, .a_col = lda, .b = d, .ldb = ldd,
                      .row = d, .c = w, .ldc = ldw});
}

static void accumulate_bias(int64_t m, int64_t n, const void *d_, int64_t ldd, void *bias_)
{
    const REAL *d = d_;
    REAL *bias = bias_;
    for (int64_t j = 0; j < n; j += LANES) {
        V sum = load(bias + j);
        for (int64_t i = 0; i < m; i++)
            sum += load(d + i * ldd + j);
        store(bias + j, sum);
    }
}

/* The rows of W are the columns of W^T: a block of them is transposed into a
 * panel that the tile can stream. */
#define PANEL_COLUMNS (2 * LANES)
#define PANEL_DEPTH 256

static void transpose_panel(int64_t depth, int64_t columns, const REAL *w, int64_t ldw,
                            REAL *panel)
{
    for (int64_t t = 0; t < depth; t++)
        for (int64_t j = 0; j < PANEL_COLUMNS; j++)
            panel[t * PANEL_COLUMNS + j] = j < columns ? w[j * ldw + t] : 0;
}

static void affine_backward(int64_t m, int64_t n, int64_t k, const void *d_, int64_t ldd,
                            const void *w_, int64_t ldw, void *c_, int64_t ldc)
{
    const REAL *d = d_, *w = w_;
    REAL *c = c_;
    REAL panel[PANEL_DEPTH * PANEL_COLUMNS] __attribute__((aligned(VECTOR_BYTES)));
    const REAL zeros[PANEL_COLUMNS] __attribute__((aligned(VECTOR_BYTES))) = {0};
    for (int64_t j = 0; j < k; j += PANEL_COLUMNS) {
        /* The last panel may end at the padding of C, one vector earlier. */
        const int64_t left = (k - j + LANES - 1) / LANES * LANES;
        const int64_t width = left < PANEL_COLUMNS ? left : PANEL_COLUMNS;
        for (int64_t t = 0; t < n; t += PANEL_DEPTH) {
            const int64_t depth = n - t < PANEL_DEPTH ? n - t : PANEL_DEPTH;
            transpose_panel(depth, k - j, w + j * ldw + t, ldw, panel);
            const tile_args p = {.k = depth, .a = d + t, .a_row = ldd, .a_col = 1, .b = panel,
                                 .ldb = PANEL_COLUMNS, .row = zeros, .c = c + j, .ldc = ldc};
            if (t == 0)
                tiles(m, width, FROM_ROW, p);
            else
                tiles(m, width, FROM_RESULT, p);
        }
    }
}

#endif
