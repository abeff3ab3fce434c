/* Updates by few samples, and the pass over W that an update shares with a forward product.
 *
 * The deltas of the samples stay in registers while the rows of W are read, updated and written
 * once.  A step that is bound by reading and writing W defers its update to the next forward
 * product, and both share one pass (accumulate_affine).
 */
#ifndef CMLP_STREAMS_H
#define CMLP_STREAMS_H

#include "tiles.h"

/* The operands of a pass over W, at its first row and column. */
typedef struct {
    int64_t k;             /* rows of W */
    const REAL *a;         /* A (rows, k), inputs of the update */
    int64_t lda;
    const REAL *d;         /* D (rows, n), deltas */
    int64_t ldd;
    REAL *w;               /* W (k, n) */
    int64_t ldw;
    const REAL *next;      /* N (rows, k), inputs of the forward product */
    int64_t ldnext;
    const REAL *bias;      /* (n,): start of each row of C; NULL: C itself */
    REAL *c;               /* C (rows, n) */
    int64_t ldc;
} stream_operands;

/* W += A^T D and, with `forward`, C = start + N W, for `rows` samples and vecs vectors of W's
 * columns.  Every element of W and of C is one chain of multiply-adds in the order of
 * compute_tile, so that the results have the same bits. */
INLINE void stream_tile(const int rows, const int vecs, const int forward, const stream_operands *p)
{
    V delta[STREAM_ROWS][MAX_VECTORS], sum[STREAM_ROWS][MAX_VECTORS];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vecs; j++) {
            delta[i][j] = load(p->d + i * p->ldd + j * LANES);
            if (forward)
                sum[i][j] = load(p->bias ? p->bias + j * LANES : p->c + i * p->ldc + j * LANES);
        }
    const REAL *a = p->a, *next = p->next;
    const int64_t lda = p->lda, ldnext = p->ldnext, ldw = p->ldw;
    REAL *w = p->w;
    for (int64_t t = 0; t < p->k; t++, w += ldw) {
        V row[MAX_VECTORS];
        UNROLL for (int j = 0; j < vecs; j++)
            row[j] = load(w + j * LANES);
        UNROLL for (int i = 0; i < rows; i++) {
            const REAL x = a[i * lda + t];
            UNROLL for (int j = 0; j < vecs; j++)
                row[j] += x * delta[i][j];
        }
        UNROLL for (int j = 0; j < vecs; j++)
            store(w + j * LANES, row[j]);
        if (forward)
            UNROLL for (int i = 0; i < rows; i++) {
                const REAL x = next[i * ldnext + t];
                UNROLL for (int j = 0; j < vecs; j++)
                    sum[i][j] += x * row[j];
            }
    }
    if (forward)
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int j = 0; j < vecs; j++)
                store(p->c + i * p->ldc + j * LANES, sum[i][j]);
}

/* Maximum vectors per pass, and whether the deltas and sums of a tile fit the registers. */
#define PASS_VECTORS(forward) ((forward) ? SHARED_PASS_BYTES / VECTOR_BYTES : UPDATE_PASS_VECTORS)
#define FITS(rows, vecs, forward) ((rows) * (vecs) * (1 + (forward)) <= STREAM_REGISTERS)

/* Call the compiled tile.  Callers request no tile that does not fit; the 1 keeps such tiles out
 * of the code. */
#define STREAM_CASE(rows)                                                                  \
    case rows:                                                                             \
        if (vecs == 8) stream_tile(FITS(rows, 8, forward) ? rows : 1, 8, forward, p);      \
        else if (vecs == 4) stream_tile(FITS(rows, 4, forward) ? rows : 1, 4, forward, p); \
        else if (vecs == 2) stream_tile(FITS(rows, 2, forward) ? rows : 1, 2, forward, p); \
        else stream_tile(FITS(rows, 1, forward) ? rows : 1, 1, forward, p);                \
        break;

INLINE void dispatch_stream_tile(int64_t rows, int vecs, const int forward,
                                 const stream_operands *p)
{
    switch (rows) {
        STREAM_CASE(1)
        STREAM_CASE(2)
        STREAM_CASE(3)
        STREAM_CASE(4)
        STREAM_CASE(5)
#if STREAM_ROWS > 5
        STREAM_CASE(6)
        STREAM_CASE(7)
        STREAM_CASE(8)
        STREAM_CASE(9)
        STREAM_CASE(10)
#endif
    }
}

/* A pass over all n columns of W by `rows` samples, at most STREAM_ROWS. */
INLINE void stream_rows(int64_t rows, int64_t n, const int forward, const stream_operands *all)
{
    const int64_t depth = choose_block_rows(all->k, n);
    stream_operands p = *all;
    for (int64_t t = 0; t < all->k; t += depth) {
        p.k = MIN(all->k - t, depth);
        p.a = all->a + t;
        p.next = all->next + t;
        for (int64_t j = 0; j < n;) {
            int vecs = PASS_VECTORS(forward);
            while (vecs > 1 && (j + vecs * LANES > n || !FITS(rows, vecs, forward)))
                vecs /= 2;
            const int64_t width = vecs * LANES, left = n - j - width;
            p.d = all->d + j;
            p.w = all->w + t * all->ldw + j;
            p.c = all->c + j;
            p.bias = t == 0 ? all->bias + j : NULL;
            if (depth < all->k)
                prefetch_block(p.k, MIN(left, width), p.w + width, all->ldw);
            dispatch_stream_tile(rows, vecs, forward, &p);
            j += width;
        }
    }
}

/* W (k, n) += A (m, k)^T D (m, n), leading dimensions ldw, lda, ldd, in passes of at most
 * STREAM_ROWS samples. */
static void stream_update(int64_t m, int64_t n, int64_t k, const REAL *a, int64_t lda,
                          const REAL *d, int64_t ldd, REAL *w, int64_t ldw)
{
    const int64_t blocks = (m + STREAM_ROWS - 1) / STREAM_ROWS;
    for (int64_t block = 0, i = 0; block < blocks; block++) {
        const int64_t rows = (m - i) / (blocks - block);
        const stream_operands p = {.k = k, .a = a + i * lda, .lda = lda, .d = d + i * ldd,
                                   .ldd = ldd, .w = w, .ldw = ldw};
        stream_rows(rows, n, 0, &p);
        i += rows;
    }
}

/* Maximum batch size of accumulate_affine: two vectors of deltas and of sums per sample must fit
 * the registers. */
#define SHARED_PASS_ROWS (STREAM_REGISTERS / 4)

/* W (k, n) += A (m, k)^T D (m, n), then C (m, n) = N (m, k) W + bias (n,), in one pass over W; m
 * at most SHARED_PASS_ROWS; leading dimensions ldw, lda, ldd, ldc, ldnext; W, D, bias, C padded. */
static void accumulate_affine(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda,
                              const void *d, int64_t ldd, void *w, int64_t ldw, const void *next,
                              int64_t ldnext, const void *bias, void *c, int64_t ldc)
{
    const stream_operands p = {.k = k, .a = a, .lda = lda, .d = d, .ldd = ldd, .w = w,
                               .ldw = ldw, .next = next, .ldnext = ldnext, .bias = bias, .c = c,
                               .ldc = ldc};
    stream_rows(m, n, 1, &p);
}

#endif
