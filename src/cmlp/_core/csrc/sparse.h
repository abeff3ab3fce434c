/* The forward product and the update of a first layer whose input is sparse:
 * only the rows of W that a non-zero element meets are touched.
 *
 * The sums run over a sample's entries, and over the samples, in order, so that
 * the results are bit for bit those of the dense products: what is left out is
 * the addition of zeros.
 */
#ifndef CMLP_SPARSE_H
#define CMLP_SPARSE_H

#include "kernels.h"
#include "simd.h"

typedef struct {
    const int32_t *column;
    const REAL *value;
    int64_t left;
    V sum[8];
} sparse_sum;

INLINE void sparse_begin(const int vecs, sparse_sum *s, const cmlp_entries *batch, int64_t i,
                         const REAL *bias)
{
    const cmlp_span span = batch->spans[i];
    s->column = batch->column + span.begin;
    s->value = (const REAL *)batch->value + span.begin;
    s->left = span.end - span.begin;
    UNROLL for (int j = 0; j < vecs; j++)
        s->sum[j] = load(bias + j * LANES);
}

INLINE void sparse_add(const int vecs, sparse_sum *s, int64_t t, const REAL *w, int64_t ldw)
{
    const REAL *row = w + s->column[t] * ldw, x = s->value[t];
    ONE_POINTER(row);
    UNROLL for (int j = 0; j < vecs; j++)
        s->sum[j] += x * load(row + j * LANES);
}

INLINE void sparse_end(const int vecs, sparse_sum *s, int64_t done, const REAL *w, int64_t ldw,
                       REAL *c)
{
    for (int64_t t = done; t < s->left; t++)
        sparse_add(vecs, s, t, w, ldw);
    UNROLL for (int j = 0; j < vecs; j++)
        store(c + j * LANES, s->sum[j]);
}

/* Two samples at a time: one sample's sums are too few to hide the latency of
 * the multiply-add where the layer is narrow. */
INLINE void sparse_columns(const int vecs, int64_t first, int64_t m, const cmlp_entries *batch,
                           const REAL *w, int64_t ldw, const REAL *bias, REAL *c, int64_t ldc)
{
    int64_t i = first;
    if (vecs <= 2)
        for (; i + 2 <= first + m; i += 2) {
            sparse_sum s, u;
            sparse_begin(vecs, &s, batch, i, bias);
            sparse_begin(vecs, &u, batch, i + 1, bias);
            const int64_t both = s.left < u.left ? s.left : u.left;
            for (int64_t t = 0; t < both; t++) {
                sparse_add(vecs, &s, t, w, ldw);
                sparse_add(vecs, &u, t, w, ldw);
            }
            sparse_end(vecs, &s, both, w, ldw, c + i * ldc);
            sparse_end(vecs, &u, both, w, ldw, c + (i + 1) * ldc);
        }
    for (; i < first + m; i++) {
        sparse_sum s;
        sparse_begin(vecs, &s, batch, i, bias);
        sparse_end(vecs, &s, 0, w, ldw, c + i * ldc);
    }
}

INLINE void sparse_update(const int vecs, int64_t m, const cmlp_entries *batch, const REAL *d,
                          int64_t ldd, REAL *w, int64_t ldw)
{
    const int32_t *column = batch->column;
    const REAL *value = batch->value;
    for (int64_t i = 0; i < m; i++) {
        const cmlp_span span = batch->spans[i];
        V delta[8];
        UNROLL for (int j = 0; j < vecs; j++)
            delta[j] = load(d + i * ldd + j * LANES);
        for (int64_t t = span.begin; t < span.end; t++) {
            REAL *row = w + column[t] * ldw;
            const REAL x = value[t];
            ONE_POINTER(row);
            UNROLL for (int j = 0; j < vecs; j++)
                store(row + j * LANES, load(row + j * LANES) + x * delta[j]);
        }
    }
}

/* Bytes of the first cache that a kernel counts on. */
#define FIRST_CACHE (1 << 15)

/* Runs `call` over n columns, with `vecs` as a constant of 8, 4, 2 or 1 vectors, `most` at
 * most, and `v` the first of them. */
#define BY_VECTORS(n, most, call)                              \
    for (int64_t v = 0, left; (left = (n) - v) > 0;) {   \
        if (most >= 8 && left >= 8 * LANES) {                       \
            enum { vecs = 8 };                           \
            call;                                        \
            v += vecs * LANES;                           \
        } else if (most >= 4 && left >= 4 * LANES) {     \
            enum { vecs = 4 };                           \
            call;                                        \
            v += vecs * LANES;                           \
        } else if (left >= 2 * LANES) {                  \
            enum { vecs = 2 };                           \
            call;                                        \
            v += vecs * LANES;                           \
        } else {                                         \
            enum { vecs = 1 };                           \
            call;                                        \
            v += vecs * LANES;                           \
        }                                                \
    }

static void sparse_affine(int64_t first, int64_t m, int64_t n, const cmlp_entries *batch,
                          const void *w_, int64_t ldw, const void *bias_, void *c_, int64_t ldc)
{
    const REAL *w = w_, *bias = bias_;
    REAL *c = c_;
    BY_VECTORS(n, 8, sparse_columns(vecs, first, m, batch, w + v, ldw, bias + v, c + v, ldc))
}

static void sparse_accumulate(int64_t m, int64_t n, const cmlp_entries *batch, const void *d_,
                              int64_t ldd, void *w_, int64_t ldw)
{
    const REAL *d = d_;
    REAL *w = w_;
    BY_VECTORS(n, 8, sparse_update(vecs, m, batch, d + v, ldd, w + v, ldw))
}

/* The entries of columns first .. first + k, in order of column and then of row, by a
 * counting sort.  Returns where they begin: as many entries have lower columns. */
static int64_t turn(int64_t m, int64_t first, int64_t k, const cmlp_entries *batch)
{
    const int64_t entries = batch->spans[m - 1].end;
    int32_t *end = batch->column_end + first, *row = batch->row;
    const int32_t *column = batch->column;
    const REAL *value = batch->value;
    REAL *turned = batch->turned;
    int64_t begin = 0;
    memset(end, 0, (size_t)k * sizeof *end);
    for (int64_t t = batch->spans[0].begin; t < entries; t++) {
        const int64_t c = column[t] - first;
        if ((uint64_t)c < (uint64_t)k)
            end[c]++;
        else
            begin += c < 0;
    }
    for (int64_t c = 0, place = begin; c < k; c++) {
        const int32_t n = end[c];
        end[c] = (int32_t)place;
        place += n;
    }
    for (int64_t i = 0; i < m; i++)
        for (int64_t t = batch->spans[i].begin; t < batch->spans[i].end; t++) {
            const int64_t c = column[t] - first;
            if ((uint64_t)c < (uint64_t)k) {
                row[end[c]] = (int32_t)i;
                turned[end[c]++] = value[t];
            }
        }
    return begin;
}

/* The entries t .. end of one column, added to its row of the weights. */
INLINE void turned_add(const int vecs, int64_t t, int64_t end, const int32_t *rows,
                       const REAL *value, const REAL *d, int64_t ldd, V *sum)
{
    for (; t < end; t++) {
        const REAL *row = d + rows[t] * ldd, x = value[t];
        ONE_POINTER(row);
        UNROLL for (int j = 0; j < vecs; j++)
            sum[j] += x * load(row + j * LANES);
    }
}

/* Two columns at a time, as the chain of one is not enough for the multipliers. */
INLINE void turned_update(const int vecs, int64_t k, int64_t t, const int32_t *end,
                          const cmlp_entries *batch, const REAL *d, int64_t ldd, REAL *w,
                          int64_t ldw)
{
    const int32_t *rows = batch->row;
    const REAL *value = batch->turned;
    for (int64_t c = 0; c < k; c += 2, w += 2 * ldw) {
        const int two = c + 1 < k;
        const int64_t middle = end[c], last = two ? end[c + 1] : middle;
        const int64_t both = AT_MOST(middle - t, last - middle);
        REAL *next = two ? w + ldw : w;
        V sum[4], other[4];
        UNROLL for (int j = 0; j < vecs; j++) {
            sum[j] = load(w + j * LANES);
            other[j] = load(next + j * LANES);
        }
        for (int64_t e = 0; e < both; e++) {
            const REAL *row = d + rows[t + e] * ldd, *below = d + rows[middle + e] * ldd;
            const REAL x = value[t + e], y = value[middle + e];
            ONE_POINTER(row);
            ONE_POINTER(below);
            UNROLL for (int j = 0; j < vecs; j++) {
                sum[j] += x * load(row + j * LANES);
                other[j] += y * load(below + j * LANES);
            }
        }
        turned_add(vecs, t + both, middle, rows, value, d, ldd, sum);
        turned_add(vecs, middle + both, last, rows, value, d, ldd, other);
        UNROLL for (int j = 0; j < vecs; j++) {
            if (two)
                store(next + j * LANES, other[j]);
            store(w + j * LANES, sum[j]);
        }
        t = last;
    }
}

static void turned_accumulate(int64_t m, int64_t n, int64_t first, int64_t k,
                              const cmlp_entries *batch, const void *d_, int64_t ldd, void *w_,
                              int64_t ldw)
{
    const REAL *d = d_;
    REAL *w = w_;
    const int64_t begin = turn(m, first, k, batch);
    /* So many columns of D as the first cache has room for. */
    const int64_t most = m * 4 * VECTOR_BYTES <= FIRST_CACHE ? 4 : 2;
    BY_VECTORS(n, most, turned_update(vecs, k, begin, batch->column_end + first, batch, d + v, ldd,
                                w + v, ldw))
}

#endif
