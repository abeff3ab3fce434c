/* Compression of dense rows into sparse ones, once per fit. */
#ifndef CMLP_COMPRESS_H
#define CMLP_COMPRESS_H

#include "gather.h"

/* Write the number of non-zeros of the dense rows first .. first + m to their elements of counts
 * (n,).  The inner loop counts in integers of the element's size, which vectorizes.  It counts
 * in blocks, so that the count fits into a byte. */
static void count_nonzeros(const cmlp_rows *rows, int64_t first, int64_t m, int64_t *counts)
{
    switch (rows->kind) {
#define X(code, type, counter, convert)                                         \
    case code:                                                                  \
        for (int64_t i = first; i < first + m; i++) {                           \
            const type *x = dense_row(rows, i);                                 \
            counts[i] = 0;                                                      \
            for (int64_t j = 0; j < rows->width; j += COUNT_BLOCK_ELEMENTS) {   \
                const int64_t end = MIN(rows->width, j + COUNT_BLOCK_ELEMENTS); \
                counter n = 0;                                                  \
                for (int64_t q = j; q < end; q++)                               \
                    n = (counter)(n + (x[q] != 0));                             \
                counts[i] += (int64_t)n;                                        \
            }                                                                   \
        }                                                                       \
        break;
        KINDS(X)
#undef X
    }
}

/* Copy the non-zeros of columns j .. width of a row, and their column indices.  One branch per
 * element; writes nothing beyond the last non-zero. */
#define COMPRESS_REST(type, column_type)  \
    for (; j < width; j++)                \
        if (x[j] != 0) {                  \
            if (n >= counted)             \
                return 0;                 \
            to[n] = x[j];                 \
            column[n++] = (column_type)j; \
        }

/* The same by words of eight bytes, as most words are zero: one branch per word.  Writes up to
 * CMLP_COMPRESS_OVERRUN_ELEMENTS elements beyond the last non-zero. */
#define COMPRESS_WORDS(type, column_type)                  \
    for (const int64_t step = 8 / sizeof(type);            \
         j + step <= width && n <= counted; j += step) {   \
        uint64_t word;                                     \
        memcpy(&word, x + j, sizeof word);                 \
        if (word == 0)                                     \
            continue;                                      \
        UNROLL for (int64_t q = j; q < j + step; q++) {    \
            to[n] = x[q];                                  \
            column[n] = (column_type)q;                    \
            n += x[q] != 0;                                \
        }                                                  \
    }

/* Compress rows first .. first + m.  The fast loop is used only if its writes beyond the end of the
 * row stay within these rows, as the next ones may belong to another thread, or in spare memory. */
#define COMPRESS(type, column_type)                                                   \
    for (int64_t i = first; i < first + m; i++) {                                     \
        const type *restrict x = dense_row(rows, i);                                  \
        type *restrict to = (type *)out->data + out->start[i];                        \
        column_type *restrict column = (column_type *)out->column + out->start[i];    \
        const int64_t counted = out->start[i + 1] - out->start[i];                    \
        int64_t n = 0, j = 0;                                                         \
        if (out->start[i + 1] + CMLP_COMPRESS_OVERRUN_ELEMENTS <= end) {              \
            COMPRESS_FAST(type, column_type)                                          \
        }                                                                             \
        COMPRESS_REST(type, column_type)                                              \
        if (n != counted)                                                             \
            return 0;                                                                 \
    }

#ifdef __AVX512F__
/* Copy the column indices first + i of the bits i that are set in the mask, in order; return their
 * number. */
INLINE int64_t copy_columns(__mmask16 mask, int64_t first, uint16_t *column)
{
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i columns = _mm512_add_epi32(lanes, _mm512_set1_epi32((int)first));
    _mm256_storeu_si256((__m256i *)column,
                        _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(mask, columns)));
    return __builtin_popcount(mask);
}

/* Copy the non-zeros of 16 elements (of 8, in copy_f64), in order; return their mask. */
INLINE __mmask16 copy_u8(const uint8_t *x, uint8_t *to)
{
    const __m512i v = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)x));
    const __mmask16 mask = _mm512_test_epi32_mask(v, v);
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8(_mm512_maskz_compress_epi32(mask, v)));
    return mask;
}

INLINE __mmask16 copy_f32(const float *x, float *to)
{
    const __m512 v = _mm512_loadu_ps(x);
    const __mmask16 mask = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    _mm512_storeu_ps(to, _mm512_maskz_compress_ps(mask, v));
    return mask;
}

INLINE __mmask16 copy_f64(const double *x, double *to)
{
    const __m512d v = _mm512_loadu_pd(x);
    const __mmask8 mask = _mm512_cmp_pd_mask(v, _mm512_setzero_pd(), _CMP_NEQ_UQ);
    _mm512_storeu_pd(to, _mm512_maskz_compress_pd(mask, v));
    return mask;
}

#define COMPRESS_VECTORS(type, copy_nonzeros)                                        \
    for (const int64_t step = sizeof(type) == 8 ? 8 : 16;                            \
         j + step <= width && n <= counted; j += step)                               \
        n += copy_columns(copy_nonzeros((const void *)(x + j), (void *)(to + n)), j, \
                          (uint16_t *)column + n);
#define COMPRESS_FAST(type, column_type)  \
    if (sizeof(column_type) != 2) {       \
        COMPRESS_WORDS(type, column_type) \
    } else if (sizeof(type) == 1) {       \
        COMPRESS_VECTORS(type, copy_u8)   \
    } else if (sizeof(type) == 4) {       \
        COMPRESS_VECTORS(type, copy_f32)  \
    } else {                              \
        COMPRESS_VECTORS(type, copy_f64)  \
    }
#else
#define COMPRESS_FAST COMPRESS_WORDS
#endif

/* Copy the non-zeros of the dense rows first .. first + m, and their column indices, to the arrays
 * of `out`, whose `start` is set and whose elements have the same kind; `spare` elements beyond the
 * last row may be overwritten.  Return 0, and write nothing
 * out of bounds, if a row does not have the number of non-zeros that `start` states: another thread
 * of the caller has changed it since they were counted. */
static int compress(const cmlp_rows *rows, int64_t first, int64_t m, const cmlp_rows *out,
                    int64_t spare)
{
    const int64_t width = rows->width, end = out->start[first + m] + spare;
    switch (rows->kind) {
#define X(code, type, counter, convert) \
    case code:                          \
        if (out->column_bytes == 2) {   \
            COMPRESS(type, uint16_t)    \
        } else {                        \
            COMPRESS(type, int32_t)     \
        }                               \
        break;
        KINDS(X)
#undef X
    }
    return 1;
}

#endif
