/* The update by few samples: their deltas stay in registers while the rows of W
 * stream through, each read and written once.  An update that waits for the next
 * forward product shares that one pass with it.
 */
#ifndef CMLP_STREAMS_H
#define CMLP_STREAMS_H

#include "tiles.h"

typedef struct {
    int64_t k;             /* rows of W */
    const REAL *a;         /* inputs that W is updated by, (rows, k) */
    int64_t lda;
    const REAL *d;         /* deltas, (rows, vecs) */
    int64_t ldd;
    REAL *w;
    int64_t ldw;
    const REAL *next;      /* inputs that go forward through the new W */
    int64_t ldnext;
    const REAL *bias;      /* what C begins with; NULL: itself */
    REAL *c;
    int64_t ldc;
} pass;

/* Each element of W, and each of C, is one chain of multiply-adds in the order
 * of the tiles, so that the bits are theirs too. */
INLINE void stream_tile(const int rows, const int vecs, const int forward, const pass *p)
{
    V delta[STREAM_ROWS][8], sum[STREAM_ROWS][8];
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
        V row[8];
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

/* A pass that goes forward too takes two lines of each row, an update whole vectors:
 * more at once was measured to be slower. */
#define WIDEST(forward) ((forward) ? 128 / VECTOR_BYTES : 8)

/* Chooses the compiled tile; one that would spill is never asked for. */
#define FITS(rows, vecs, forward) ((rows) * (vecs) * (1 + (forward)) <= STREAM_VECTORS)
#define STREAM_CASE(rows)                                                          \
    case rows:                                                                     \
        if (vecs == 8) stream_tile(FITS(rows, 8, forward) ? rows : 1, 8, forward, p);   \
        else if (vecs == 4) stream_tile(FITS(rows, 4, forward) ? rows : 1, 4, forward, p); \
        else if (vecs == 2) stream_tile(FITS(rows, 2, forward) ? rows : 1, 2, forward, p); \
        else stream_tile(FITS(rows, 1, forward) ? rows : 1, 1, forward, p);            \
        break;

INLINE void any_stream_tile(int64_t rows, int vecs, const int forward, const pass *p)
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

INLINE void stream_rows(int64_t rows, int64_t n, const int forward, const pass *all)
{
    const int64_t most = block_rows(all->k, n);
    pass p = *all;
    for (int64_t t = 0; t < all->k; t += most) {
        p.k = AT_MOST(all->k - t, most);
        p.a = all->a + t;
        p.next = all->next + t;
        for (int64_t j = 0; j < n;) {
            int vecs = WIDEST(forward);
            while (vecs > 1 && (j + vecs * LANES > n || !FITS(rows, vecs, forward)))
                vecs /= 2;
            const int64_t chunk = vecs * LANES, left = n - j - chunk;
            p.d = all->d + j;
            p.w = all->w + t * all->ldw + j;
            p.c = all->c + j;
            p.bias = t == 0 ? all->bias + j : NULL;
            if (most < all->k)
                touch_chunk(p.k, AT_MOST(left, chunk), p.w + chunk, all->ldw);
            any_stream_tile(rows, vecs, forward, &p);
            j += chunk;
        }
    }
}

/* W (k, n) += A (m, k)^T D (m, n), a few samples at a time. */
static void stream(int64_t m, int64_t n, int64_t k, const REAL *a, int64_t lda, const REAL *d,
                   int64_t ldd, REAL *w, int64_t ldw)
{
    const int64_t blocks = (m + STREAM_ROWS - 1) / STREAM_ROWS;
    for (int64_t block = 0, i = 0; block < blocks; block++) {
        const int64_t rows = (m - i) / (blocks - block);
        const pass p = {.k = k, .a = a + i * lda, .lda = lda, .d = d + i * ldd, .ldd = ldd,
                        .w = w, .ldw = ldw};
        stream_rows(rows, n, 0, &p);
        i += rows;
    }
}

/* The most samples whose update and next forward product a pass can share: as long
 * as two vectors of each fit. */
#define SHARED_PASS_ROWS (STREAM_VECTORS / 4)

/* W += A^T D and then C (m, n) = N (m, k) W + bias, for so many samples at most. */
static void accumulate_affine(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda,
                              const void *d, int64_t ldd, void *w, int64_t ldw, const void *next,
                              int64_t ldnext, const void *bias, void *c, int64_t ldc)
{
    const pass p = {.k = k, .a = a, .lda = lda, .d = d, .ldd = ldd, .w = w, .ldw = ldw,
                    .next = next, .ldnext = ldnext, .bias = bias, .c = c, .ldc = ldc};
    stream_rows(m, n, 1, &p);
}

#endif
