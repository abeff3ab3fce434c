/* The products of a dense layer: forward, backward, and the update accumulated into the weights. */
#ifndef CMLP_PRODUCTS_H
#define CMLP_PRODUCTS_H

#include "kernels.h"
#include "streams.h"
#include "tiles.h"

/* C (m, n) = A (m, k) W (k, n) + bias (n,); leading dimensions ldc, lda, ldw; W, bias and C
 * padded. */
static void affine(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *w,
                   int64_t ldw, const void *bias, void *c, int64_t ldc)
{
    const product p = {.k = k, .a = a, .a_row = lda, .a_col = 1, .b = w, .ldb = ldw,
                       .row = bias, .c = c, .ldc = ldc};
    if (m < PACK_MIN_ROWS)
        compute_unpacked(m, n, &p);
    else
        compute_packed(m, n, 0, 0, 0, &p);
}

/* C (m, k) = D (m, n) W (k, n)^T; leading dimensions ldc, ldd, ldw.  The rows of D and W are
 * padded, n need not be; the columns of C beyond k up to a whole vector become 0. */
static void affine_backward(int64_t m, int64_t n, int64_t k, const void *d, int64_t ldd,
                            const void *w, int64_t ldw, void *c, int64_t ldc)
{
    const product p = {.k = n, .a = d, .a_row = ldd, .a_col = 1, .b = w, .ldb = ldw,
                       .row = NULL, .c = c, .ldc = ldc};
    const int64_t width = (k + LANES - 1) / LANES * LANES;
    for (int64_t i = 0; i < m; i++)
        memset((REAL *)c + i * ldc, 0, (size_t)width * sizeof(REAL));
    compute_packed(m, width, 1, k, 0, &p);
}

/* W (k, n) += A (m, k)^T D (m, n); leading dimensions ldw, lda, ldd; W and D padded. */
static void accumulate(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *d,
                       int64_t ldd, void *w, int64_t ldw)
{
    if (m < PACK_MIN_ROWS) {
        stream_update(m, n, k, a, lda, d, ldd, w, ldw);
        return;
    }
    const product p = {.k = m, .a = a, .a_row = 1, .a_col = lda, .b = d, .ldb = ldd,
                       .row = NULL, .c = w, .ldc = ldw};
    compute_packed(k, n, 0, 0, A_BLOCK_ROWS > 0, &p);
}

/* bias (n,) += sum over the rows of D (m, n), leading dimension ldd; padded. */
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

/* D (m, n) *= factor, leading dimension ldd; padded. */
static void scale_rows(int64_t m, int64_t n, double factor, void *d_, int64_t ldd)
{
    REAL *d = d_;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j += LANES)
            store(d + i * ldd + j, (REAL)factor * load(d + i * ldd + j));
}

#endif
