/* Reading the caller's rows: gather them into a batch and convert their elements; look for NaN and
 * infinity. */
#ifndef CMLP_GATHER_H
#define CMLP_GATHER_H

#include "kernels.h"
#include "simd.h"

#define CONVERT_REAL(x) (REAL)(x)
#define CONVERT_BYTE(x) ((REAL)(x) * (1 / (REAL)255))

/* Elements at any address: the caller's rows need not be aligned. */
typedef float unaligned_float __attribute__((aligned(1), may_alias));
typedef double unaligned_double __attribute__((aligned(1), may_alias));

/* The element kinds: code, type, unsigned integer of the same size, conversion to REAL. */
#define KINDS(X)                                         \
    X(CMLP_U8, uint8_t, uint8_t, CONVERT_BYTE)           \
    X(CMLP_F32, unaligned_float, uint32_t, CONVERT_REAL) \
    X(CMLP_F64, unaligned_double, uint64_t, CONVERT_REAL)

/* Size of an element in bytes. */
INLINE int64_t element_bytes(int32_t kind)
{
    return kind == CMLP_U8 ? 1 : kind == CMLP_F32 ? 4 : 8;
}

INLINE const void *dense_row(const cmlp_rows *rows, int64_t row)
{
    return (const char *)rows->data + row * rows->stride;
}

/* Copy rows index[0 .. m] or, if index is NULL, rows 0 .. m of dense rows to OUT (m, width),
 * leading dimension ld, converted. */
static void gather(const cmlp_rows *rows, const uint32_t *index, int64_t m, void *out, int64_t ld)
{
    const int64_t width = rows->width;
    switch (rows->kind) {
#define X(code, type, counter, convert)                                        \
    case code:                                                                 \
        for (int64_t i = 0; i < m; i++) {                                      \
            const type *restrict from = dense_row(rows, index ? index[i] : i); \
            REAL *restrict to = (REAL *)out + i * ld;                          \
            for (int64_t j = 0; j < width; j++)                                \
                to[j] = convert(from[j]);                                      \
        }                                                                      \
        break;
        KINDS(X)
#undef X
    }
}

/* Copy n column indices from entry `begin` on.  An index has 2 bytes if compress() wrote it and the
 * rows are narrow, otherwise 4, or 8 as in SciPy's matrices. */
INLINE void convert_columns(const cmlp_rows *rows, int64_t begin, int64_t n, int32_t *restrict to)
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
            to[j] = from[j] == (int32_t)from[j] ? (int32_t)from[j] : -1;
    }
}

/* Return whether n column indices are strictly increasing and in [0, width). */
INLINE int are_valid_columns(const int32_t *column, int64_t n, int64_t width)
{
    int valid = n == 0 || (column[0] >= 0 && column[n - 1] < width);
    for (int64_t j = 1; j < n; j++)
        valid &= column[j - 1] < column[j];
    return valid;
}

/* Copy n values from entry `begin` on, converted. */
INLINE void convert_values(const cmlp_rows *rows, int64_t begin, int64_t n, REAL *restrict to)
{
    switch (rows->kind) {
#define X(code, type, counter, convert)                               \
    case code: {                                                      \
        const type *restrict from = (const type *)rows->data + begin; \
        for (int64_t j = 0; j < n; j++)                               \
            to[j] = convert(from[j]);                                 \
        break;                                                        \
    }
        KINDS(X)
#undef X
    }
}

/* Prefetch the cache lines of a range of bytes into the L2 cache.  The L1 cache holds the operands
 * of the running product, and supports fewer outstanding requests. */
INLINE void prefetch_bytes(const void *p, int64_t bytes)
{
    const char *line = (const char *)p - (uintptr_t)p % 64, *end = (const char *)p + bytes;
    for (; line < end; line += 64)
        __builtin_prefetch(line, 0, 2);
}

/* Prefetch the entries of a sparse row. */
INLINE void prefetch_sparse_row(const cmlp_rows *rows, int64_t row)
{
    const int64_t begin = rows->start[row], n = rows->start[row + 1] - begin;
    const int64_t bytes = element_bytes(rows->kind);
    prefetch_bytes((const char *)rows->data + begin * bytes, n * bytes);
    prefetch_bytes((const char *)rows->column + begin * rows->column_bytes, n * rows->column_bytes);
}

/* Copy rows first .. first + m of a batch of sparse rows, converted, to their offsets in the batch,
 * and set their spans.  The offsets follow from the lengths of the rows before `first`, so that
 * threads can copy different rows.
 *
 * The caller may change the column indices while they are in use, and the products trust them.  So
 * they are checked here, on the copy: a row whose indices are not valid becomes empty.  Those of
 * 2 bytes belong to compress() and are not checked.  Returns whether all were valid. */
static int gather_sparse(const cmlp_rows *rows, const uint32_t *index, int64_t first, int64_t m,
                         const cmlp_entries *batch)
{
    int64_t offset = 0;
    int valid = 1;
    for (int64_t i = 0; i < first + m; i++) {
        const int64_t row = index ? index[i] : i;
        const int64_t begin = rows->start[row], n = rows->start[row + 1] - begin;
        if (i >= first) {
            if (index && i + GATHER_PREFETCH_ROWS < first + m)
                prefetch_sparse_row(rows, index[i + GATHER_PREFETCH_ROWS]);
            batch->spans[i] = (cmlp_span){offset, offset + n};
            convert_columns(rows, begin, n, batch->column + offset);
            convert_values(rows, begin, n, (REAL *)batch->value + offset);
            if (rows->column_bytes != 2
                && !are_valid_columns(batch->column + offset, n, rows->width)) {
                batch->spans[i].end = offset;
                valid = 0;
            }
        }
        offset += n;
    }
    return valid;
}

/* Prefetch rows index[0 .. m], dense or sparse. */
static void prefetch(const cmlp_rows *rows, const uint32_t *index, int64_t m)
{
    const int64_t bytes = rows->width * element_bytes(rows->kind);
    for (int64_t i = 0; i < m; i++)
        if (rows->start)
            prefetch_sparse_row(rows, index[i]);
        else
            prefetch_bytes(dense_row(rows, index[i]), bytes);
}

/* Bit patterns of floats. */
typedef int32_t i32_alias __attribute__((aligned(1), may_alias));
typedef int64_t i64_alias __attribute__((aligned(1), may_alias));

/* The bit patterns of numbers without their signs are in the order of the numbers; those of infinity
 * and NaN are greater. */
#define FIND_NOT_FINITE(type, magnitude, limit)                                            \
    for (int64_t i = 0; i < rows->n; i++) {                                                \
        const type *x = rows->start ? (const type *)rows->data + rows->start[i]            \
                                    : dense_row(rows, i);                                  \
        const int64_t n = rows->start ? rows->start[i + 1] - rows->start[i] : rows->width; \
        type found = 0;                                                                    \
        for (int64_t j = 0; j < n; j++)                                                    \
            found |= (x[j] & (magnitude)) >= (limit);                                      \
        if (found)                                                                         \
            return i;                                                                      \
    }

/* The bit pattern of the least double that is infinity as REAL: for float, 2^128 - 2^103, which is
 * half way between the greatest float and 2^128 and rounds to even. */
#define DOUBLE_OVERFLOW (CMLP_REAL_BYTES == 4 ? 0x47effffff0000000 : 0x7ff0000000000000)

/* Return the index of the first row, dense or sparse, that contains NaN, infinity or a number that
 * becomes infinite as REAL, or -1. */
static int64_t find_not_finite(const cmlp_rows *rows)
{
    if (rows->kind == CMLP_F32) {
        FIND_NOT_FINITE(i32_alias, INT32_MAX, 0x7f800000)
    } else if (rows->kind == CMLP_F64) {
        FIND_NOT_FINITE(i64_alias, INT64_MAX, DOUBLE_OVERFLOW)
    }
    return -1;
}

#endif
