/* The products of a dense layer: forward, backward, and the update accumulated into the weights. */
#ifndef CMLP_PRODUCTS_H
#define CMLP_PRODUCTS_H

#include "kernels.h"
#include "streams.h"
#include "tiles.h"

/* Return whether the forward product of m samples packs panels of W (k, n). */
INLINE int packs_weights(int64_t m, int64_t n, int64_t k, int64_t ldw)
{
    if (m < PACK_MIN_ROWS)
        return 0;
    return m > UNPACKED_ROWS || k < UNPACKED_MIN_DEPTH
           || k * n * CMLP_REAL_BYTES > UNPACKED_WEIGHT_BYTES
           || ldw * CMLP_REAL_BYTES % UNPACKED_ALIASED_STRIDE_BYTES == 0;
}

/* C (m, n) = f(A (m, k) W (k, n) + bias (n,)), f NULL (none) or fused; leading dimensions ldc, lda,
 * ldw; the rows of W, bias and C are padded, n need not be. */
static void affine(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *w,
                   int64_t ldw, const void *bias, const cmlp_activation *f, void *c, int64_t ldc)
{
    const int64_t unit = CMLP_PAD / CMLP_REAL_BYTES;
    if (VECTOR_BYTES < CMLP_PAD) /* the last vector may not reach the end of the padding */
        n = (n + unit - 1) / unit * unit;
    const product p = {.k = k, .a = a, .a_row = lda, .a_col = 1, .b = w, .ldb = ldw,
                       .row = bias, .c = c, .ldc = ldc, .end = f ? ACTIVATED : UNCHANGED};
    if (packs_weights(m, n, k, ldw))
        compute_packed(m, n, 0, 0, &p);
    else
        compute_unpacked(m, n, &p);
}

/* C (m, k) = (D (m, n) W (k, n)^T) * f'(O), f NULL (none) or fused; O (m, k), the outputs of f, is
 * laid out like C; leading dimensions ldc, ldd, ldw.  The rows of D and W are padded, n need not
 * be; the columns of C beyond k up to a whole vector become 0. */
static void affine_backward(int64_t m, int64_t n, int64_t k, const void *d, int64_t ldd,
                            const void *w, int64_t ldw, const cmlp_activation *f,
                            const void *outputs, void *c, int64_t ldc)
{
    const product p = {.k = n, .a = d, .a_row = ldd, .a_col = 1, .b = w, .ldb = ldw,
                       .row = NULL, .c = c, .ldc = ldc, .end = f ? DIFFERENTIATED : UNCHANGED,
                       .outputs = outputs};
    compute_packed(m, k, 1, 0, &p);
}

/* Return whether accumulate_narrow is faster than accumulate: whether it takes at most three
 * quarters of the multiply-adds of vectors, if the transposes of W count as NARROW_COPY_COST for
 * each element.  It reads whole vectors of A, which must be aligned and padded. */
INLINE int is_narrow(int64_t m, int64_t n, int64_t k, const REAL *a, int64_t lda)
{
    const int64_t vecs = (k + LANES - 1) / LANES, wide = m * k * ((n + LANES - 1) / LANES);
    return n <= NARROW_OUTPUTS && 4 * (m * n * vecs + NARROW_COPY_COST * n * k) <= 3 * wide
           && (uintptr_t)a % VECTOR_BYTES == 0 && lda % LANES == 0 && lda >= vecs * LANES;
}

/* The same as accumulate for few outputs: the vectors lie along the rows of A, and W is
 * transposed before and after.  No vector is padding for the most part. */
static void accumulate_narrow(int64_t m, int64_t n, int64_t k, const REAL *a, int64_t lda,
                              const REAL *d, int64_t ldd, REAL *w, int64_t ldw)
{
    REAL block[NARROW_OUTPUTS * NARROW_COLUMNS] __attribute__((aligned(CMLP_PAD)));
    for (int64_t first = 0; first < k; first += NARROW_COLUMNS) {
        const int64_t rows = MIN(k - first, NARROW_COLUMNS);
        const int64_t width = (rows + LANES - 1) / LANES * LANES;
        const product p = {.k = m, .a = d, .a_row = 1, .a_col = ldd, .b = a + first, .ldb = lda,
                           .row = NULL, .c = block, .ldc = NARROW_COLUMNS};
        for (int64_t i = 0; i < n; i++)
            for (int64_t t = 0; t < width; t++)
                block[i * NARROW_COLUMNS + t] = t < rows ? w[(first + t) * ldw + i] : 0;
        compute_unpacked(n, rows, &p);
        for (int64_t i = 0; i < n; i++)
            for (int64_t t = 0; t < rows; t++)
                w[(first + t) * ldw + i] = block[i * NARROW_COLUMNS + t];
    }
}

/* W (k, n) += A (m, k)^T D (m, n); leading dimensions ldw, lda, ldd; the rows of W and D are
 * padded, n need not be. */
static void accumulate(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *d,
                       int64_t ldd, void *w, int64_t ldw)
{
    const int64_t width = (n + LANES - 1) / LANES * LANES;
    if (m < PACK_MIN_ROWS) {
        stream_update(m, width, k, a, lda, d, ldd, w, ldw);
        return;
    }
    if (is_narrow(m, n, k, a, lda)) {
        accumulate_narrow(m, n, k, a, lda, d, ldd, w, ldw);
        return;
    }
    const product p = {.k = m, .a = a, .a_row = 1, .a_col = lda, .b = d, .ldb = ldd,
                       .row = NULL, .c = w, .ldc = ldw};
    if (k <= TILE_ROWS /* a packed panel would be used by one row of tiles only */
        || (k <= UNPACKED_INPUTS && m * k * CMLP_REAL_BYTES <= UNPACKED_INPUT_BYTES))
        compute_unpacked(k, n, &p);
    else
        compute_packed(k, n, 0, A_BLOCK_ROWS > 0, &p);
}

/* Add the sums over the rows of D (m, vecs vectors) to `bias`.  Several vectors hide the latency
 * of the addition. */
INLINE void accumulate_columns(const int vecs, int64_t m, const REAL *d, int64_t ldd, REAL *bias)
{
    V sum[BIAS_VECTORS];
    UNROLL for (int j = 0; j < vecs; j++)
        sum[j] = load(bias + j * LANES);
    for (int64_t i = 0; i < m; i++)
        UNROLL for (int j = 0; j < vecs; j++)
            sum[j] += load(d + i * ldd + j * LANES);
    UNROLL for (int j = 0; j < vecs; j++)
        store(bias + j * LANES, sum[j]);
}

/* bias (n,) += sum over the rows of D (m, n), leading dimension ldd; padded. */
static void accumulate_bias(int64_t m, int64_t n, const void *d_, int64_t ldd, void *bias_)
{
    const REAL *d = d_;
    REAL *bias = bias_;
    int64_t j = 0;
    for (; j + BIAS_VECTORS * LANES <= n; j += BIAS_VECTORS * LANES)
        accumulate_columns(BIAS_VECTORS, m, d + j, ldd, bias + j);
    for (; j < n; j += LANES)
        accumulate_columns(1, m, d + j, ldd, bias + j);
}

/* A (m, n) += B (m, n), leading dimensions lda and ldb; padded. */
static void add(int64_t m, int64_t n, const void *b_, int64_t ldb, void *a_, int64_t lda)
{
    const REAL *b = b_;
    REAL *a = a_;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j += LANES)
            store(a + i * lda + j, load(a + i * lda + j) + load(b + i * ldb + j));
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
