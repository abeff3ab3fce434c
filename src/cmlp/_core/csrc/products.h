/* The three products of a dense layer: forward, backward, and the update
 * accumulated into the weights. */
#ifndef CMLP_PRODUCTS_H
#define CMLP_PRODUCTS_H

#include "kernels.h"
#include "streams.h"
#include "tiles.h"

/* A panel is worth packing when so many rows use it. */
#define PACK_ROWS (2 * TILE_ROWS)

static void affine(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *w,
                   int64_t ldw, const void *bias, void *c, int64_t ldc)
{
    const product p = {.k = k, .a = a, .a_row = lda, .a_col = 1, .b = w, .ldb = ldw,
                       .row = bias, .c = c, .ldc = ldc};
    if (m < PACK_ROWS)
        in_place(m, n, &p);
    else
        paneled(m, n, 0, 0, 0, &p);
}

/* The rows of W are the columns of W^T.  The last panel may end at the padding
 * of C, one vector earlier. */
static void affine_backward(int64_t m, int64_t n, int64_t k, const void *d, int64_t ldd,
                            const void *w, int64_t ldw, void *c, int64_t ldc)
{
    const product p = {.k = n, .a = d, .a_row = ldd, .a_col = 1, .b = w, .ldb = ldw,
                       .row = NULL, .c = c, .ldc = ldc};
    const int64_t width = (k + LANES - 1) / LANES * LANES;
    for (int64_t i = 0; i < m; i++)
        memset((REAL *)c + i * ldc, 0, (size_t)width * sizeof(REAL));
    paneled(m, width, 1, k, 0, &p);
}

static void accumulate(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda,
                       const void *d, int64_t ldd, void *w, int64_t ldw)
{
    if (m < PACK_ROWS) {
        stream(m, n, k, a, lda, d, ldd, w, ldw);
        return;
    }
    const product p = {.k = m, .a = a, .a_row = 1, .a_col = lda, .b = d, .ldb = ldd,
                       .row = NULL, .c = w, .ldc = ldw};
    paneled(k, n, 0, 0, GROUP_ROWS > 0, &p);
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

#endif
