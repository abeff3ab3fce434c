/* Reading the caller's rows: gathered, converted and, when they are sparse,
 * expanded into a batch; and dense rows compressed once into sparse ones. */
#ifndef CMLP_GATHER_H
#define CMLP_GATHER_H

#include "kernels.h"
#include "simd.h"

#define AS_IT_IS(x) (REAL)(x)
#define AS_FRACTION(x) ((REAL)(x) * (1 / (REAL)255))

/* Each kind of element: its code, its type, an integer as wide, and what makes a
 * real of it. */
#define KINDS(X)                               \
    X(CMLP_U8, uint8_t, uint8_t, AS_FRACTION)  \
    X(CMLP_F32, float, uint32_t, AS_IT_IS)     \
    X(CMLP_F64, double, uint64_t, AS_IT_IS)

INLINE int64_t element_bytes(int32_t kind)
{
    return kind == CMLP_U8 ? 1 : kind == CMLP_F32 ? 4 : 8;
}

INLINE const void *dense_row(const cmlp_rows *rows, int64_t row)
{
    return (const char *)rows->data + row * rows->stride;
}

static void gather(const cmlp_rows *rows, const uint32_t *index, int64_t m, void *out, int64_t ld)
{
    const int64_t width = rows->width;
    switch (rows->kind) {
#define X(code, type, counter, convert)                                           \
    case code:                                                           \
        for (int64_t i = 0; i < m; i++) {                                \
            const type *restrict from = dense_row(rows, index ? index[i] : i); \
            REAL *restrict to = (REAL *)out + i * ld;                    \
            for (int64_t j = 0; j < width; j++)                          \
                to[j] = convert(from[j]);                                \
        }                                                                \
        break;
        KINDS(X)
#undef X
    }
}

/* Columns of compressed rows have 2 bytes where we made them, 4 or 8 where SciPy did. */
INLINE void expand_columns(const cmlp_rows *rows, int64_t begin, int64_t n, int32_t *restrict to)
{
    if (rows->column_bytes == 2) {
        const uint16_t *restrict from = (const uint16_t *)rows->column + begin;
        for (int64_t j = 0; j < n; j++)
            to[j] = from[j];
    } else if (rows->column_bytes == 4) {
        memcpy(to, (const int32_t *)rows->column + begin, (size_t)n * sizeof *to);
    } else {
        const int64_t *restrict from = (const int64_t *)rows->column + begin;
        for (int64_t j = 0; j < n; j++)
            to[j] = (int32_t)from[j];
    }
}

INLINE void expand_values(const cmlp_rows *rows, int64_t begin, int64_t n, REAL *restrict to)
{
    switch (rows->kind) {
#define X(code, type, counter, convert)                                         \
    case code: {                                                       \
        const type *restrict from = (const type *)rows->data + begin;  \
        for (int64_t j = 0; j < n; j++)                                \
            to[j] = convert(from[j]);                                  \
        break;                                                         \
    }
        KINDS(X)
#undef X
    }
}

/* Asks for all lines that so many bytes lie on, into the second cache: the first has
 * no room to spare, and fewer requests can be under way to it. */
INLINE void touch(const void *p, int64_t bytes)
{
    const char *line = (const char *)p - (uintptr_t)p % 64, *end = (const char *)p + bytes;
    for (; line < end; line += 64)
        __builtin_prefetch(line, 0, 2);
}

INLINE void touch_sparse(const cmlp_rows *rows, int64_t row)
{
    const int64_t begin = rows->start[row], n = rows->start[row + 1] - begin;
    const int64_t bytes = element_bytes(rows->kind);
    touch((const char *)rows->data + begin * bytes, n * bytes);
    touch((const char *)rows->column + begin * rows->column_bytes, n * rows->column_bytes);
}

/* While a row is copied, the one that is so many further on is asked for. */

static void gather_sparse(const cmlp_rows *rows, const uint32_t *index, int64_t first, int64_t m,
                          const cmlp_entries *batch)
{
    int64_t place = 0;
    for (int64_t i = 0; i < first + m; i++) {
        const int64_t row = index ? index[i] : i;
        const int64_t begin = rows->start[row], n = rows->start[row + 1] - begin;
        if (i >= first) {
            if (index && i + GATHER_PREFETCH_ROWS < first + m)
                touch_sparse(rows, index[i + GATHER_PREFETCH_ROWS]);
            batch->spans[i] = (cmlp_span){place, place + n};
            expand_columns(rows, begin, n, batch->column + place);
            expand_values(rows, begin, n, (REAL *)batch->value + place);
        }
        place += n;
    }
}

static void prefetch(const cmlp_rows *rows, const uint32_t *index, int64_t m)
{
    const int64_t bytes = rows->width * element_bytes(rows->kind);
    for (int64_t i = 0; i < m; i++)
        if (rows->start)
            touch_sparse(rows, index[i]);
        else
            touch(dense_row(rows, index[i]), bytes);
}

/* Counts in integers of the elements' width, as vectors like it, and so in blocks
 * that a byte can count. */
static void count_nonzeros(const cmlp_rows *rows, int64_t first, int64_t m, int64_t *counts)
{
    switch (rows->kind) {
#define X(code, type, counter, convert)                          \
    case code:                                                   \
        for (int64_t i = first; i < first + m; i++) {            \
            const type *x = dense_row(rows, i);                  \
            counts[i] = 0;                                       \
            for (int64_t j = 0; j < rows->width; j += COUNT_BLOCK_ELEMENTS) {     \
                const int64_t end = MIN(rows->width, j + COUNT_BLOCK_ELEMENTS); \
                counter n = 0;                                   \
                for (int64_t q = j; q < end; q++)                \
                    n += x[q] != 0;                              \
                counts[i] += (int64_t)n;                         \
            }                                                    \
        }                                                        \
        break;
        KINDS(X)
#undef X
    }
}

/* Copies the elements j .. of a row that are not zero, and their columns; a branch
 * for each, and not a byte too many. */
#define COMPRESS_REST(type, column_type)             \
    for (; j < width; j++)                           \
        if (x[j] != 0) {                             \
            to[n] = x[j];                            \
            column[n++] = (column_type)j;            \
        }

/* The same by words of eight bytes, most of which are zero: no branch for each
 * element, but up to COMPRESS_OVERRUN_ELEMENTS elements too many are written. */
#define COMPRESS_WORDS(type, column_type)                             \
    for (const int64_t step = 8 / sizeof(type); j + step <= width; j += step) { \
        uint64_t word;                                                \
        memcpy(&word, x + j, sizeof word);                            \
        if (word == 0)                                                \
            continue;                                                 \
        UNROLL for (int64_t q = j; q < j + step; q++) {               \
            to[n] = x[q];                                             \
            column[n] = (column_type)q;                               \
            n += x[q] != 0;                                           \
        }                                                             \
    }

/* What is written past a row's elements must be the same thread's to write. */
#define COMPRESS(type, column_type)                                                     \
    for (int64_t i = first; i < first + m; i++) {                                       \
        const type *restrict x = dense_row(rows, i);                                    \
        type *restrict to = (type *)out->data + out->start[i];                          \
        column_type *restrict column = (column_type *)out->column + out->start[i];      \
        int64_t n = 0, j = 0;                                                           \
        if (out->start[i + 1] + COMPRESS_OVERRUN_ELEMENTS <= out->start[first + m]) {                        \
            COMPRESS_FAST(type, column_type)                                            \
        }                                                                               \
        COMPRESS_REST(type, column_type)                                                \
    }

#ifdef __AVX512F__
/* Sixteen elements at a time, or eight of eight bytes: those that are not zero, in order. */
INLINE int64_t keep_columns(__mmask16 mask, int64_t first, uint16_t *column)
{
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i at = _mm512_add_epi32(lanes, _mm512_set1_epi32((int)first));
    _mm256_storeu_si256((__m256i *)column,
                        _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(mask, at)));
    return __builtin_popcount(mask);
}

INLINE __mmask16 keep_u8(const uint8_t *x, uint8_t *to)
{
    const __m512i v = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)x));
    const __mmask16 mask = _mm512_test_epi32_mask(v, v);
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8(_mm512_maskz_compress_epi32(mask, v)));
    return mask;
}

INLINE __mmask16 keep_f32(const float *x, float *to)
{
    const __m512 v = _mm512_loadu_ps(x);
    const __mmask16 mask = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    _mm512_storeu_ps(to, _mm512_maskz_compress_ps(mask, v));
    return mask;
}

INLINE __mmask16 keep_f64(const double *x, double *to)
{
    const __m512d v = _mm512_loadu_pd(x);
    const __mmask8 mask = _mm512_cmp_pd_mask(v, _mm512_setzero_pd(), _CMP_NEQ_UQ);
    _mm512_storeu_pd(to, _mm512_maskz_compress_pd(mask, v));
    return mask;
}

#define KEEP(type, keep_some)                                                              \
    for (const int64_t step = sizeof(type) == 8 ? 8 : 16; j + step <= width; j += step)    \
        n += keep_columns(keep_some((const void *)(x + j), (void *)(to + n)), j,           \
                          (uint16_t *)column + n);
#define COMPRESS_FAST(type, column_type)                                               \
    if (sizeof(column_type) != 2) {                                                    \
        COMPRESS_WORDS(type, column_type)                                              \
    } else if (sizeof(type) == 1) {                                                    \
        KEEP(type, keep_u8)                                                            \
    } else if (sizeof(type) == 4) {                                                    \
        KEEP(type, keep_f32)                                                           \
    } else {                                                                           \
        KEEP(type, keep_f64)                                                           \
    }
#else
#define COMPRESS_FAST COMPRESS_WORDS
#endif

static void compress(const cmlp_rows *rows, int64_t first, int64_t m, const cmlp_rows *out)
{
    const int64_t width = rows->width;
    switch (rows->kind) {
#define X(code, type, counter, convert)         \
    case code:                                  \
        if (out->column_bytes == 2) {           \
            COMPRESS(type, uint16_t)            \
        } else {                                \
            COMPRESS(type, int32_t)             \
        }                                       \
        break;
        KINDS(X)
#undef X
    }
}

typedef uint32_t u32_alias __attribute__((may_alias));
typedef uint64_t u64_alias __attribute__((may_alias));

/* A number is finite unless its exponent is all ones. */
#define FIND_NOT_FINITE(type, exponent)                             \
    for (int64_t i = 0; i < rows->n; i++) {                         \
        const type *x = rows->start ? (const type *)rows->data + rows->start[i] \
                                    : dense_row(rows, i);           \
        const int64_t n = rows->start ? rows->start[i + 1] - rows->start[i] : rows->width; \
        type bad = 0;                                               \
        for (int64_t j = 0; j < n; j++)                             \
            bad |= (x[j] & (exponent)) == (exponent);               \
        if (bad)                                                    \
            return i;                                               \
    }

static int64_t first_not_finite(const cmlp_rows *rows)
{
    if (rows->kind == CMLP_F32) {
        FIND_NOT_FINITE(u32_alias, 0x7f800000u)
    } else if (rows->kind == CMLP_F64) {
        FIND_NOT_FINITE(u64_alias, 0x7ff0000000000000u)
    }
    return -1;
}

#endif
