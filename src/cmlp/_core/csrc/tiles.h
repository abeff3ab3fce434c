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

/* C (m, n) from tiles of at most so many rows, which are shared out evenly: 14 as
 * 7 + 7, not 12 + 2. */
static void tiles(int64_t most, int64_t m, int64_t n, const product *all)
{
    const int64_t blocks = (m + most - 1) / most;
    product p = *all;
    for (int64_t block = 0, i = 0; block < blocks; block++) {
        const int64_t rows = (m - i) / (blocks - block);
        p.a = all->a + i * all->a_row;
        for (int64_t j = 0; j < n;) {
            const int vecs = tile_vectors(rows, (n - j) / LANES);
            p.b = all->b + j;
            p.row = all->row ? all->row + j : NULL;
            p.c = all->c + i * all->ldc + j;
            any_tile(rows, vecs, &p);
            j += vecs * LANES;
        }
        i += rows;
    }
}

/* The rows of a B that no second cache holds are taken in blocks, so that few pages
 * of memory are in use, and while one chunk of their columns is computed with, the
 * next is asked for. */
#define BLOCK_ROWS 64
#define LARGE_BYTES (1 << 21)

INLINE int64_t block_rows(int64_t k, int64_t n)
{
    return k * n * CMLP_REAL_BYTES > LARGE_BYTES ? BLOCK_ROWS : k;
}

INLINE void touch_chunk(int64_t rows, int64_t columns, const REAL *b, int64_t ldb)
{
    for (int64_t t = 0; t < rows; t++)
        for (int64_t j = 0; j < columns; j += CMLP_PAD / CMLP_REAL_BYTES)
            __builtin_prefetch(b + t * ldb + j, 0, 2);
}

/* C (m, n) from tiles of a B that is read where it lies. */
static void in_place(int64_t m, int64_t n, const product *all)
{
    const int64_t most = block_rows(all->k, n), blocks = (m + TILE_ROWS - 1) / TILE_ROWS;
    product p = *all;
    for (int64_t t = 0; t < all->k; t += most) {
        p.k = AT_MOST(all->k - t, most);
        for (int64_t j = 0; j < n;) {
            const int vecs = tile_vectors((m + blocks - 1) / blocks, (n - j) / LANES);
            const int64_t chunk = vecs * LANES, left = n - j - chunk;
            p.b = all->b + t * all->ldb + j;
            if (most < all->k)
                touch_chunk(p.k, AT_MOST(left, chunk), p.b + chunk, all->ldb);
            for (int64_t block = 0, i = 0; block < blocks; block++) {
                const int64_t rows = (m - i) / (blocks - block);
                p.a = all->a + i * all->a_row + t * all->a_col;
                p.row = t == 0 && all->row ? all->row + j : NULL;
                p.c = all->c + i * all->ldc + j;
                any_tile(rows, vecs, &p);
                i += rows;
            }
            j += chunk;
        }
    }
}

/* A panel is a few columns of B, packed so that tiles stream them: whatever the
 * stride of B, its lines then do not fall on one another in the cache. */
#define PANEL_COLUMNS (PANEL_VECTORS * LANES)
#define PANEL_DEPTH (2048 / CMLP_REAL_BYTES)

/* The columns beside these are asked for: they are the next panel. */
INLINE void pack(int64_t depth, int64_t columns, const REAL *b, int64_t ldb, REAL *panel)
{
    for (int64_t t = 0; t < depth; t++)
        for (int64_t j = 0; j < columns; j += LANES) {
            store(panel + t * PANEL_COLUMNS + j, load(b + t * ldb + j));
            __builtin_prefetch(b + t * ldb + j + PANEL_COLUMNS, 0, 2);
        }
}

/* The same of the transpose of B, whose rows are then the columns of the panel. */
INLINE void pack_transposed(int64_t depth, int64_t columns, const REAL *b, int64_t ldb,
                            REAL *panel)
{
    for (int64_t j = 0; j < columns; j += LANES)
        for (int64_t t = 0; t < depth; t += LANES) {
            V square[LANES];
            UNROLL for (int i = 0; i < LANES; i++)
                square[i] = j + i < columns ? load(b + (j + i) * ldb + t) : splat(0);
            transpose(square);
            UNROLL for (int i = 0; i < LANES; i++)
                store(panel + (t + i) * PANEL_COLUMNS + j, square[i]);
        }
}

/* A group is a few columns of an A whose columns are the rows of the product. */
#define MOST_GROUP (GROUP_ROWS ? GROUP_ROWS : 1)
INLINE void pack_group(int64_t depth, int64_t rows, const REAL *a, int64_t lda, REAL *group)
{
    for (int64_t t = 0; t < depth; t++)
        if (rows == MOST_GROUP)
            memcpy(group + t * MOST_GROUP, a + t * lda, MOST_GROUP * sizeof(REAL));
        else
            memcpy(group + t * MOST_GROUP, a + t * lda, (size_t)rows * sizeof(REAL));
}

/* C (m, n) from panels of B, or, when `transposed`, of B^T, whose rows are
 * `columns`; with `grouped`, from groups of A too. */
INLINE void paneled(int64_t m, int64_t n, const int transposed, int64_t columns,
                    const int grouped, const product *p)
{
    REAL panel[PANEL_DEPTH * PANEL_COLUMNS] __attribute__((aligned(CMLP_PAD)));
    REAL group[grouped ? PANEL_DEPTH * MOST_GROUP : 1] __attribute__((aligned(CMLP_PAD)));
    const int64_t most = grouped ? MOST_GROUP : m;
    for (int64_t t = 0; t < p->k; t += PANEL_DEPTH)
        for (int64_t i = 0; i < m; i += most) {
            const int64_t depth = AT_MOST(p->k - t, PANEL_DEPTH), rows = AT_MOST(m - i, most);
            product part = {.k = depth, .a = p->a + i * p->a_row + t * p->a_col,
                            .a_row = p->a_row, .a_col = p->a_col,
                            .b = panel, .ldb = PANEL_COLUMNS, .ldc = p->ldc};
            if (grouped) {
                pack_group(depth, rows, part.a, p->a_col, group);
                part.a = group;
                part.a_col = MOST_GROUP;
            }
            for (int64_t j = 0; j < n; j += PANEL_COLUMNS) {
                const int64_t width = AT_MOST(n - j, PANEL_COLUMNS);
                if (transposed)
                    pack_transposed(depth, AT_MOST(columns - j, PANEL_COLUMNS),
                                    p->b + j * p->ldb + t, p->ldb, panel);
                else
                    pack(depth, width, p->b + t * p->ldb + j, p->ldb, panel);
                part.row = t == 0 && p->row ? p->row + j : NULL;
                part.c = p->c + i * p->ldc + j;
                tiles(width == PANEL_COLUMNS ? PANEL_ROWS : TILE_ROWS, rows, width, &part);
            }
        }
}

#endif
