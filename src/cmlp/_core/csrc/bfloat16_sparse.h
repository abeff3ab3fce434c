/* The forward product and the update of a first layer whose input is sparse and whose products have
 * bfloat16 operands: with the bits of bfloat16_products.h, as only additions of zeros are omitted.
 */
#ifndef CMLP_BFLOAT16_SPARSE_H
#define CMLP_BFLOAT16_SPARSE_H

#include "bfloat16.h"
#include "flush.h"
#include "sparse.h"

#if CMLP_REAL_BYTES == 4

/* Round the values of rows first .. first + m of a batch, and put the entries of the columns 2t and
 * 2t + 1 in the order in which they are summed: the odd one first. */
static void bf16_round_entries(int64_t first, int64_t m, const cmlp_entries *batch)
{
    for (int64_t i = first; i < first + m; i++) {
        const cmlp_span span = batch->spans[i];
        REAL *value = (REAL *)batch->value;
        int32_t *column = batch->column;
        for (int64_t t = span.begin; t < span.end; t++) {
            const uint32_t bits = round_real(value[t]);
            memcpy(value + t, &bits, sizeof bits);
            if (t > span.begin && column[t] % 2 == 1 && column[t - 1] == column[t] - 1) {
                const REAL odd = value[t];
                value[t] = value[t - 1];
                value[t - 1] = odd;
                column[t - 1]++;
                column[t]--;
            }
        }
    }
}

NOINLINE void multiply_rounded_entries(int64_t first, int64_t m, int64_t n, int64_t k,
                                       const cmlp_entries *batch, const REAL *w, int64_t ldw,
                                       const REAL *bias, void *c, int64_t ldc)
{
    multiply_entries(1, first, m, n, k, batch, w, ldw, bias, c, ldc);
}

/* C = A W + bias, with A and W rounded, for rows first .. first + m of a sparse batch A that
 * bf16_round_entries has rounded; otherwise as sparse_affine. */
static void bf16_sparse_affine(int64_t first, int64_t m, int64_t n, int64_t k,
                               const cmlp_entries *batch, const void *w, int64_t ldw,
                               const void *bias, void *c, int64_t ldc)
{
    const uint64_t mode = begin_flush();
    multiply_rounded_entries(first, m, n, k, batch, w, ldw, bias, c, ldc);
    end_flush(mode);
}

/* Load vecs vectors of a row of units as reals; u points to the first of them. */
INLINE void load_units(const int vecs, const REAL *u, V *to)
{
    UNROLL for (int j = 0; j < vecs; j++) {
#ifdef HAS_PAIR_UNITS
        const __m256i half = _mm256_loadu_si256((const __m256i *)u + j);
        to[j] = (V)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
#else
        to[j] = exchange_pairs(load(u + j * LANES));
#endif
    }
}

/* Return the index of the first entry of a sample, from `entry` on, whose column is at least
 * `least`, an even number. */
INLINE int64_t find_entry(const cmlp_entries *batch, int64_t entry, int64_t end, int64_t least)
{
    while (entry < end && batch->column[entry] < least)
        entry++;
    return entry;
}

/* Add sample i's products with the columns first .. end of the batch to the sums of these columns
 * (vecs vectors each).  *entry: the sample's first entry in them in, its first beyond them out.
 * has_sum[c]: whether the sum of column first + c has begun. */
INLINE void add_sample(const int vecs, int64_t i, const cmlp_entries *batch, const REAL *d,
                       int64_t first, int64_t end, int64_t *entry, REAL *sums, uint8_t *has_sum)
{
    const int32_t *column = batch->column;
    const REAL *value = batch->value;
    const int64_t last = batch->spans[i].end;
    int64_t t = *entry;
    if (t == last || column[t] >= end)
        return;
    V delta[MAX_VECTORS];
    load_units(vecs, d, delta);
    for (; t < last && column[t] < end; t++) {
        const int64_t c = column[t] - first;
        const REAL x = value[t];
        REAL *sum = sums + c * vecs * LANES;
        UNROLL for (int j = 0; j < vecs; j++) {
            const V before = has_sum[c] ? load(sum + j * LANES) : splat(0);
            store(sum + j * LANES, before + x * delta[j]);
        }
        has_sum[c] = 1;
    }
    *entry = t;
}

/* One block of columns of the update by at most BF16_SAMPLES samples, sample + 0 .. m: rows
 * first .. first + k of W. */
INLINE void update_by_entries(const int vecs, int64_t sample, int64_t m, int64_t first, int64_t k,
                              const cmlp_entries *batch, const REAL *d, int64_t ldd, REAL factor,
                              REAL *w, int64_t ldw)
{
    enum { MOST_ROWS = SPARSE_PASS_BYTES / VECTOR_BYTES };
    REAL sums[SPARSE_PASS_BYTES / sizeof(REAL)] __attribute__((aligned(CMLP_PAD)));
    uint8_t has_sum[MOST_ROWS];
    int64_t entry[BF16_SAMPLES];
    const int64_t block = MOST_ROWS / vecs / 2 * 2;
    for (int64_t i = 0; i < m; i++)
        entry[i] = find_entry(batch, batch->spans[sample + i].begin, batch->spans[sample + i].end,
                              first);
    for (int64_t row = first; row < first + k; row += block) {
        const int64_t rows = MIN(first + k - row, block);
        memset(has_sum, 0, (size_t)rows);
        for (int64_t i = 0; i < m; i++) {
            const int64_t p = (i ^ 1) < m ? i ^ 1 : i; /* the odd sample of a pair first */
            add_sample(vecs, sample + p, batch, d + p * ldd, row, row + rows, &entry[p], sums,
                       has_sum);
        }
        for (int64_t c = 0; c < rows; c++)
            if (has_sum[c])
                UNROLL for (int j = 0; j < vecs; j++) {
                    REAL *to = w + (row - first + c) * ldw + j * LANES;
                    store(to, load(to) + factor * load(sums + (c * vecs + j) * LANES));
                }
    }
}

NOINLINE void update_block_by_entries(int64_t sample, int64_t m, int64_t n, int64_t first,
                                      int64_t k, const cmlp_entries *batch, const REAL *d,
                                      int64_t ldd, REAL factor, REAL *w, int64_t ldw)
{
    BY_VECTORS(n, update_by_entries(vecs, sample, m, first, k, batch,
                                    d + v / 2 * UNITS_PER_PAIR, ldd, factor, w + v, ldw))
}

/* W += factor * (A^T D) for rows first .. first + k of W, `first` even, w points to row `first`;
 * the m samples of a sparse batch A that bf16_round_entries has rounded; the units D (m, n) with
 * leading dimension ldd (units).  Sums as in bf16_accumulate. */
static void bf16_sparse_accumulate(int64_t m, int64_t n, int64_t first, int64_t k,
                                   const cmlp_entries *batch, const void *d, int64_t ldd,
                                   double factor, void *w, int64_t ldw)
{
    const uint64_t mode = begin_flush();
    for (int64_t i = 0; i < m; i += BF16_SAMPLES)
        update_block_by_entries(i, MIN(m - i, BF16_SAMPLES), n, first, k, batch,
                                (const REAL *)d + i * ldd, ldd, (REAL)factor, w, ldw);
    end_flush(mode);
}

#endif
#endif
