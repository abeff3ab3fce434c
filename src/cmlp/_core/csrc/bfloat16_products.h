/* The products of a dense layer whose operands are rounded to bfloat16; see bfloat16.h. */
#ifndef CMLP_BFLOAT16_PRODUCTS_H
#define CMLP_BFLOAT16_PRODUCTS_H

#ifdef __AMX_BF16__
#include "bfloat16_tiles.h"
#else
#include "bfloat16_units.h"
#endif

#if CMLP_REAL_BYTES == 4

NOINLINE void multiply_forward(int64_t m, int64_t n, int64_t k, const REAL *w, int64_t ldw,
                               const product *p)
{
    multiply_rounded(m, n, k, 0, 0, w, ldw, p);
}

NOINLINE void multiply_backward(int64_t m, int64_t n, int64_t k, const REAL *w, int64_t ldw,
                                const product *p)
{
    multiply_rounded(m, (k + LANES - 1) / LANES * LANES, n, 1, k, w, ldw, p);
}

/* C (m, n) = f(A (m, k) W (k, n) + bias (n,)), with A and W rounded, f NULL (none) or fused; A in
 * units, leading dimensions lda (units), ldw, ldc; W, bias and C padded. */
static void bf16_affine(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *w,
                        int64_t ldw, const void *bias, const cmlp_activation *f, void *c,
                        int64_t ldc)
{
    const product p = {.a = a, .a_row = lda, .row = bias, .c = c, .ldc = ldc,
                       .end = f ? ACTIVATED : UNCHANGED};
    const uint64_t mode = begin_products();
    multiply_forward(m, n, k, w, ldw, &p);
    end_products(mode);
}

/* C (m, k) = (D (m, n) W (k, n)^T) * f'(O), with D and W rounded, f NULL (none) or fused; D in units,
 * leading dimensions ldd (units), ldw, ldc; O, the outputs of f, laid out like C; the columns of C
 * beyond k up to a whole vector become 0. */
static void bf16_affine_backward(int64_t m, int64_t n, int64_t k, const void *d, int64_t ldd,
                                 const void *w, int64_t ldw, const cmlp_activation *f,
                                 const void *outputs, void *c, int64_t ldc)
{
    const product p = {.a = d, .a_row = ldd, .c = c, .ldc = ldc,
                       .end = f ? DIFFERENTIATED : UNCHANGED, .outputs = outputs};
    const uint64_t mode = begin_products();
    multiply_backward(m, n, k, w, ldw, &p);
    end_products(mode);
}

/* W (k, n) += factor * (A (m, k)^T D (m, n)), with A and D rounded and in units, leading dimensions
 * lda, ldd (units), ldw; W padded.  The sum is over at most BF16_SAMPLES samples at a time: those of
 * a larger batch make several sums, whose multiples are added in order. */
static void bf16_accumulate(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda,
                            const void *d, int64_t ldd, double factor, void *w, int64_t ldw)
{
    const uint64_t mode = begin_products();
    for (int64_t i = 0; i < m; i += BF16_SAMPLES)
        update_rounded(MIN(m - i, BF16_SAMPLES), n, k, (const REAL *)a + i * lda, lda,
                       (const REAL *)d + i * ldd, ldd, (REAL)factor, w, ldw);
    end_products(mode);
}

#endif
#endif
