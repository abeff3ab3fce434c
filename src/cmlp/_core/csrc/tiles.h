/* Dense products from register tiles.
 *
 * A tile is a block of rows x vecs accumulators, to which the products are added in the order of
 * the summed index.  Every element of a result is thus one chain of multiply-adds in a fixed order,
 * and the partition of a product into tiles, panels, blocks or threads does not change a bit of it.
 */
#ifndef CMLP_TILES_H
#define CMLP_TILES_H

#include "bfloat16.h"
#include "kernels.h"
#include "simd.h"

/* How the elements of a tile are computed.  For the products of bfloat16 operands, an element of A
 * and of B is a unit; see bfloat16.h. */
typedef enum {
    REALS,       /* C = start + A B */
    UNITS,       /* C = start + A B */
    SCALED_UNITS /* C += factor * (A B) */
} tile_kind;

/* What happens to the elements of C before they are stored. */
typedef enum {
    UNCHANGED,
    ACTIVATED,      /* relu of C */
    DIFFERENTIATED  /* C times the derivative of relu at its outputs */
} tile_end;

/* A product C (m, n) = start + A (m, k) B (k, n).  A has any two strides; the rows of B and C are
 * aligned and contiguous. */
typedef struct {
    int64_t k;             /* length of the sum */
    const REAL *a;         /* element (i, t) is at a[i * a_row + t * a_col] */
    int64_t a_row, a_col;
    const REAL *b;         /* row t is at b + t * ldb */
    int64_t ldb;
    const REAL *row;       /* (n,): start of each row of C; NULL: C itself */
    REAL *c;               /* row i is at c + i * ldc */
    int64_t ldc;
    REAL factor;           /* SCALED_UNITS only */
    tile_end end;
    const REAL *outputs;   /* DIFFERENTIATED only; laid out like C */
} product;

/* Return acc + x * row: one multiply-add or, where an element is a pair, two, the odd one first. */
INLINE V multiply_add(const tile_kind kind, V acc, REAL x, V row)
{
#ifdef HAS_PAIR_UNITS
    if (kind != REALS)
        return add_pair_products(acc, x, row);
#endif
    (void)kind;
    return acc + x * row;
}

/* Load the accumulators of a tile; see compute_tile. */
INLINE void begin_tile(const tile_kind kind, const int rows, const int vecs, const product *p,
                       V acc[TILE_ROWS][MAX_VECTORS])
{
    const REAL *begin = p->row ? p->row : p->c;
    const int64_t step = p->row ? 0 : p->ldc;
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vecs; j++)
            if (kind == SCALED_UNITS) {
                acc[i][j] = splat(0);
                __builtin_prefetch(p->c + i * p->ldc + j * LANES, 1);
            } else {
                acc[i][j] = load(begin + i * step + j * LANES);
            }
}

/* Store the accumulators of a tile. */
INLINE void end_tile(const tile_kind kind, const int rows, const int vecs, const product *p,
                     V acc[TILE_ROWS][MAX_VECTORS])
{
    if (kind != SCALED_UNITS && p->end == ACTIVATED)
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int j = 0; j < vecs; j++)
                acc[i][j] = v_relu(acc[i][j]);
    if (kind != SCALED_UNITS && p->end == DIFFERENTIATED)
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int j = 0; j < vecs; j++)
                acc[i][j] *= v_relu_slope(load(p->outputs + i * p->ldc + j * LANES));
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vecs; j++) {
            REAL *c = p->c + i * p->ldc + j * LANES;
            if (kind == SCALED_UNITS)
                acc[i][j] = load(c) + p->factor * acc[i][j];
            store(c, acc[i][j]);
        }
}

/* Compute rows x vecs vectors of C.  Both sizes are constants after inlining, so that the
 * accumulators stay in registers. */
INLINE void compute_tile(const tile_kind kind, const int rows, const int vecs, const product *p)
{
    V acc[TILE_ROWS][MAX_VECTORS];
    begin_tile(kind, rows, vecs, p, acc);
    const REAL *a = p->a, *b = p->b;
    const int64_t a_row = p->a_row, a_col = p->a_col, ldb = p->ldb;
    for (int64_t t = p->k; t > 0; t--) {
        V row[MAX_VECTORS];
        UNROLL for (int j = 0; j < vecs; j++)
            row[j] = load(b + j * LANES);
        UNROLL for (int i = 0; i < rows; i++) {
            REAL x = a[i * a_row];
            UNROLL for (int j = 0; j < vecs; j++)
                acc[i][j] = multiply_add(kind, acc[i][j], x, row[j]);
        }
        a += a_col;
        b += ldb;
    }
    end_tile(kind, rows, vecs, p, acc);
}

/* Compute `rows` vectors of C whose upper half is padding, which becomes 0. */
INLINE void compute_half_tile(const int rows, const product *p)
{
#if HALF_VECTORS
    H acc[TILE_ROWS];
    const REAL *begin = p->row ? p->row : p->c;
    const int64_t step = p->row ? 0 : p->ldc;
    UNROLL for (int i = 0; i < rows; i++)
        acc[i] = load_half(begin + i * step);
    const REAL *a = p->a, *b = p->b;
    const int64_t a_row = p->a_row, a_col = p->a_col, ldb = p->ldb;
    for (int64_t t = p->k; t > 0; t--) {
        const H row = load_half(b);
        UNROLL for (int i = 0; i < rows; i++)
            acc[i] += a[i * a_row] * row;
        a += a_col;
        b += ldb;
    }
    V whole[TILE_ROWS][MAX_VECTORS];
    UNROLL for (int i = 0; i < rows; i++)
        whole[i][0] = widen(acc[i]);
    end_tile(REALS, rows, 1, p, whole);
#else
    (void)rows, (void)p;
#endif
}

/* Call the compiled tile.  Callers request no tile that TILE_ROWS* of this ISA exclude; MIN keeps
 * such tiles out of the code. */
#define TILE_CASE(rows)                                                       \
    case rows:                                                                \
        if (vecs == 8) compute_tile(kind, MIN(rows, TILE_ROWS_8), 8, p);      \
        else if (vecs == 4) compute_tile(kind, MIN(rows, TILE_ROWS_4), 4, p); \
        else if (vecs == 2) compute_tile(kind, MIN(rows, TILE_ROWS), 2, p);   \
        else if (vecs == 1) compute_tile(kind, MIN(rows, TILE_ROWS), 1, p);   \
        else if (kind == REALS) compute_half_tile(MIN(rows, TILE_ROWS), p);   \
        break;

INLINE void dispatch_tile_kind(const tile_kind kind, int64_t rows, int vecs, const product *p)
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

static void dispatch_tile(int64_t rows, int vecs, const product *p)
{
    dispatch_tile_kind(REALS, rows, vecs, p);
}

/* Return the vectors of the next tile when `left` columns of its rows are left; 0 is a half vector.
 * Tiles of few rows are wider, to hide the latency of the multiply-add. */
INLINE int choose_tile_vectors(int64_t rows, int64_t left)
{
    const int ends_in_half = HALF_VECTORS && rows > TILE_ROWS_4 && (left - 1) % LANES < LANES / 2;
    const int64_t whole = ends_in_half ? left / LANES : (left + LANES - 1) / LANES;
    if (rows <= TILE_ROWS_8 && whole >= 8)
        return 8;
    if (rows <= TILE_ROWS_4 && whole >= 4)
        return 4;
    return whole >= 2 ? 2 : (int)whole;
}

/* Return the columns of a tile. */
INLINE int64_t get_tile_width(int vecs) { return vecs ? vecs * LANES : LANES / 2; }

/* Return the maximum rows of the tiles that use a panel of `width` columns. */
INLINE int64_t choose_tile_rows(int64_t width)
{
    return choose_tile_vectors(PANEL_TILE_ROWS, width) == PANEL_VECTORS ? PANEL_TILE_ROWS : TILE_ROWS;
}

typedef void tile_dispatcher(int64_t rows, int vecs, const product *p);

/* Compute C (m, n), n not padded, from tiles of at most `max_rows` rows.  The rows are distributed
 * evenly: 14 as 7 + 7, not 12 + 2. */
INLINE void compute_tiles_by(tile_dispatcher *dispatch, int64_t max_rows, int64_t m, int64_t n,
                             const product *all)
{
    const int64_t blocks = (m + max_rows - 1) / max_rows;
    product p = *all;
    for (int64_t block = 0, i = 0; block < blocks; block++) {
        const int64_t rows = (m - i) / (blocks - block);
        p.a = all->a + i * all->a_row;
        for (int64_t j = 0; j < n;) {
            const int vecs = choose_tile_vectors(rows, n - j);
            p.b = all->b + j;
            p.row = all->row ? all->row + j : NULL;
            p.c = all->c + i * all->ldc + j;
            p.outputs = all->outputs ? all->outputs + i * all->ldc + j : NULL;
            dispatch(rows, vecs, &p);
            j += get_tile_width(vecs);
        }
        i += rows;
    }
}

static void compute_tiles(int64_t m, int64_t n, const product *all)
{
    compute_tiles_by(dispatch_tile, choose_tile_rows(n), m, n, all);
}

/* Rows of a B (k, n) to process at a time; see LARGE_MATRIX_BYTES. */
INLINE int64_t choose_block_rows(int64_t k, int64_t n)
{
    return k * n * CMLP_REAL_BYTES > LARGE_MATRIX_BYTES ? LARGE_MATRIX_BLOCK_ROWS : k;
}

/* Prefetch a block (rows, columns) of B into the L2 cache. */
INLINE void prefetch_block(int64_t rows, int64_t columns, const REAL *b, int64_t ldb)
{
    for (int64_t t = 0; t < rows; t++)
        for (int64_t j = 0; j < columns; j += CMLP_PAD / CMLP_REAL_BYTES)
            __builtin_prefetch(b + t * ldb + j, 0, 2);
}

/* Compute C (m, n), n not padded, without packing B. */
static void compute_unpacked(int64_t m, int64_t n, const product *all)
{
    const int64_t depth = choose_block_rows(all->k, n), blocks = (m + TILE_ROWS - 1) / TILE_ROWS;
    product p = *all;
    for (int64_t t = 0; t < all->k; t += depth) {
        p.k = MIN(all->k - t, depth);
        p.end = t + p.k == all->k ? all->end : UNCHANGED;
        for (int64_t j = 0; j < n;) {
            const int vecs = choose_tile_vectors((m + blocks - 1) / blocks, n - j);
            const int64_t width = get_tile_width(vecs), left = n - j - width;
            p.b = all->b + t * all->ldb + j;
            if (depth < all->k)
                prefetch_block(p.k, MIN(left, width), p.b + width, all->ldb);
            for (int64_t block = 0, i = 0; block < blocks; block++) {
                const int64_t rows = (m - i) / (blocks - block);
                p.a = all->a + i * all->a_row + t * all->a_col;
                p.row = t == 0 && all->row ? all->row + j : NULL;
                p.c = all->c + i * all->ldc + j;
                p.outputs = all->outputs ? all->outputs + i * all->ldc + j : NULL;
                dispatch_tile(rows, vecs, &p);
                i += rows;
            }
            j += width;
        }
    }
}

/* A panel is a block (depth, columns) of B that is copied so that tiles read it sequentially:
 * whatever the stride of B, its rows then do not map to the same cache sets. */
#define PANEL_COLUMNS (PANEL_VECTORS * LANES)
#define PANEL_DEPTH (PANEL_DEPTH_BYTES / CMLP_REAL_BYTES)

/* Copy B (depth, columns), leading dimension ldb, to a panel, and prefetch the columns to its
 * right, which are the next panel. */
INLINE void pack(int64_t depth, int64_t columns, const REAL *b, int64_t ldb, REAL *panel)
{
    for (int64_t t = 0; t < depth; t++)
        for (int64_t j = 0; j < columns; j += LANES) {
            store(panel + t * PANEL_COLUMNS + j, load(b + t * ldb + j));
            __builtin_prefetch(b + t * ldb + j + PANEL_COLUMNS, 0, 2);
        }
}

/* Copy the transpose of B (columns, depth), leading dimension ldb, to a panel. */
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

/* Copy `rows` columns of an A (depth, lda), whose columns are the rows of the product, to a
 * contiguous block. */
#define A_BLOCK_STRIDE (A_BLOCK_ROWS ? A_BLOCK_ROWS : 1)
INLINE void pack_a(int64_t depth, int64_t rows, const REAL *a, int64_t lda, REAL *block)
{
    for (int64_t t = 0; t < depth; t++)
        if (rows == A_BLOCK_STRIDE)
            memcpy(block + t * A_BLOCK_STRIDE, a + t * lda, A_BLOCK_STRIDE * sizeof(REAL));
        else
            memcpy(block + t * A_BLOCK_STRIDE, a + t * lda, (size_t)rows * sizeof(REAL));
}

/* Compute C (m, n), n not padded, from packed panels of B or, with `transposed`, from zeros and
 * panels of B^T.  With `packs_a`, blocks of A are packed too. */
INLINE void compute_packed(int64_t m, int64_t n, const int transposed, const int packs_a,
                           const product *p)
{
    static const REAL zeros[PANEL_COLUMNS] __attribute__((aligned(CMLP_PAD)));
    REAL panel[PANEL_DEPTH * PANEL_COLUMNS] __attribute__((aligned(CMLP_PAD)));
    REAL a_block[packs_a ? PANEL_DEPTH * A_BLOCK_STRIDE : 1] __attribute__((aligned(CMLP_PAD)));
    const int64_t max_rows = packs_a ? A_BLOCK_STRIDE : m;
    for (int64_t t = 0; t < p->k; t += PANEL_DEPTH)
        for (int64_t i = 0; i < m; i += max_rows) {
            const int64_t depth = MIN(p->k - t, PANEL_DEPTH), rows = MIN(m - i, max_rows);
            product part = {.k = depth, .a = p->a + i * p->a_row + t * p->a_col,
                            .a_row = p->a_row, .a_col = p->a_col,
                            .b = panel, .ldb = PANEL_COLUMNS, .ldc = p->ldc,
                            .end = t + depth == p->k ? p->end : UNCHANGED};
            if (packs_a) {
                pack_a(depth, rows, part.a, p->a_col, a_block);
                part.a = a_block;
                part.a_col = A_BLOCK_STRIDE;
            }
            for (int64_t j = 0; j < n; j += PANEL_COLUMNS) {
                const int64_t width = MIN(n - j, PANEL_COLUMNS);
                if (transposed)
                    pack_transposed(depth, width, p->b + j * p->ldb + t, p->ldb, panel);
                else
                    pack(depth, width, p->b + t * p->ldb + j, p->ldb, panel);
                if (t > 0)
                    part.row = NULL;
                else if (transposed)
                    part.row = zeros;
                else
                    part.row = p->row ? p->row + j : NULL;
                part.c = p->c + i * p->ldc + j;
                part.outputs = p->outputs ? p->outputs + i * p->ldc + j : NULL;
                compute_tiles(rows, width, &part);
            }
        }
}

#endif
