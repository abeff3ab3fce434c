/* The forward product and the update of a first layer whose input is sparse:
 * only the rows of W that a non-zero element meets are touched.  The entries of a
 * sample are in order of their column.
 *
 * The sums run over a sample's entries, and over the samples, in order, so that
 * the results are bit for bit those of the dense products: what is left out is
 * the addition of zeros.
 */
#ifndef CMLP_SPARSE_H
#define CMLP_SPARSE_H

#include "kernels.h"
#include "simd.h"

/* Bytes of rows that many samples meet before others come: half as much again as the
 * first cache has, as fewer and longer turns were measured to make up for its misses. */

/* Turns are worth it for so many vectors, samples, and entries of each in each turn.  More
 * samples than a group take turns one group after the other. */

/* So many samples are worth a copy of parts of rows, which then lie side by side; where rows
 * are a multiple of so many bytes the first cache has room for too few that do not. */

/* Runs `call` over n columns, `v` being the first of so many vectors: a constant up to 8, and
 * as even as they can be shared out. */
#define VECTORS_CASE(count, call) \
    case count: {                 \
        enum { vecs = count };    \
        call;                     \
        break;                    \
    }
#define BY_VECTORS(n, call)                                                             \
    for (int64_t v = 0, left = (n) / LANES, now; left > 0; v += now * LANES, left -= now) { \
        now = left / ((left + 7) / 8);                                                  \
        switch (now) {                                                                  \
            VECTORS_CASE(1, call)                                                       \
            VECTORS_CASE(2, call)                                                       \
            VECTORS_CASE(3, call)                                                       \
            VECTORS_CASE(4, call)                                                       \
            VECTORS_CASE(5, call)                                                       \
            VECTORS_CASE(6, call)                                                       \
            VECTORS_CASE(7, call)                                                       \
            VECTORS_CASE(8, call)                                                       \
        }                                                                               \
    }

typedef struct {
    const int32_t *column;
    const REAL *value;
    int64_t left;
    V sum[8];
} sparse_sum;

INLINE void sparse_begin(const int vecs, sparse_sum *s, const cmlp_entries *batch, int64_t i,
                         const REAL *from)
{
    const cmlp_span span = batch->spans[i];
    s->column = batch->column + span.begin;
    s->value = (const REAL *)batch->value + span.begin;
    s->left = span.end - span.begin;
    UNROLL for (int j = 0; j < vecs; j++)
        s->sum[j] = load(from + j * LANES);
}

/* Of rows first .. of W, which lie at w. */
INLINE void sparse_add(const int vecs, sparse_sum *s, int64_t t, int64_t first, const REAL *w,
                       int64_t ldw)
{
    const REAL *row = w + (s->column[t] - first) * ldw, x = s->value[t];
    ONE_POINTER(row);
    UNROLL for (int j = 0; j < vecs; j++)
        s->sum[j] += x * load(row + j * LANES);
}

INLINE void sparse_rest(const int vecs, sparse_sum *s, int64_t t, const REAL *w, int64_t ldw)
{
    for (; t < s->left; t++)
        sparse_add(vecs, s, t, 0, w, ldw);
}

INLINE void sparse_end(const int vecs, const sparse_sum *s, REAL *c)
{
    UNROLL for (int j = 0; j < vecs; j++)
        store(c + j * LANES, s->sum[j]);
}

/* Two samples at a time: one sample's sums are too few to hide the latency of
 * the multiply-add where the layer is narrow. */
INLINE void sparse_columns(const int vecs, int64_t first, int64_t m, const cmlp_entries *batch,
                           const REAL *w, int64_t ldw, const REAL *bias, REAL *c, int64_t ldc)
{
    int64_t i = 0;
    if (vecs <= SPARSE_PAIR_MAX_VECTORS)
        for (; i + 2 <= m; i += 2) {
            sparse_sum s, u;
            sparse_begin(vecs, &s, batch, first + i, bias);
            sparse_begin(vecs, &u, batch, first + i + 1, bias);
            const int64_t both = s.left < u.left ? s.left : u.left;
            for (int64_t t = 0; t < both; t++) {
                sparse_add(vecs, &s, t, 0, w, ldw);
                sparse_add(vecs, &u, t, 0, w, ldw);
            }
            sparse_rest(vecs, &s, both, w, ldw);
            sparse_rest(vecs, &u, both, w, ldw);
            sparse_end(vecs, &s, c + i * ldc);
            sparse_end(vecs, &u, c + (i + 1) * ldc);
        }
    for (; i < m; i++) {
        sparse_sum s;
        sparse_begin(vecs, &s, batch, first + i, bias);
        sparse_rest(vecs, &s, 0, w, ldw);
        sparse_end(vecs, &s, c + i * ldc);
    }
}

/* The turns in which samples should go through k rows of W; 0: none. */
INLINE int64_t turns_of(const int vecs, int64_t first, int64_t m, int64_t k,
                        const cmlp_entries *batch, int64_t ldw)
{
    const int64_t turns = (k * vecs * VECTOR_BYTES + SPARSE_PASS_BYTES - 1) / SPARSE_PASS_BYTES;
    const int64_t entries = batch->spans[first + m - 1].end - batch->spans[first].begin;
    const int suits = vecs >= SPARSE_PASS_MIN_VECTORS && m >= SPARSE_PASS_MIN_SAMPLES
        && (m >= SPARSE_PACK_MIN_SAMPLES || ldw * sizeof(REAL) % SPARSE_ALIASED_STRIDE_BYTES != 0)
        && entries >= SPARSE_PASS_MIN_ENTRIES * m * turns;
    return suits ? turns : 0;
}

/* All samples meet some rows of W, while those are in the first cache, before the next. */
INLINE void sparse_turns(const int vecs, int64_t turns, int64_t first, int64_t m, int64_t k,
                         const cmlp_entries *batch, const REAL *w, int64_t ldw, const REAL *bias,
                         REAL *c, int64_t ldc)
{
    REAL packed[SPARSE_PASS_BYTES / sizeof(REAL) + 8 * LANES] __attribute__((aligned(CMLP_PAD)));
    const int packs = m >= SPARSE_PACK_MIN_SAMPLES && ldw != vecs * LANES;
    int64_t done[SPARSE_GROUP_SAMPLES] = {0};
    for (int64_t turn = 0, row = 0, end; turn < turns; turn++, row = end) {
        const REAL *rows = w + row * ldw;
        int64_t ld = ldw;
        end = k * (turn + 1) / turns;
        if (packs) {
            ld = vecs * LANES;
            for (int64_t r = row; r < end; r++)
                UNROLL for (int j = 0; j < vecs; j++)
                    store(packed + (r - row) * ld + j * LANES, load(w + r * ldw + j * LANES));
            rows = packed;
        }
        for (int64_t i = 0; i < m; i++) {
            sparse_sum s;
            int64_t t = done[i];
            sparse_begin(vecs, &s, batch, first + i, turn == 0 ? bias : c + i * ldc);
            for (; t < s.left && s.column[t] < end; t++)
                sparse_add(vecs, &s, t, row, rows, ld);
            done[i] = t;
            sparse_end(vecs, &s, c + i * ldc);
        }
    }
}

static void sparse_affine(int64_t first, int64_t m, int64_t n, int64_t k,
                          const cmlp_entries *batch, const void *w_, int64_t ldw,
                          const void *bias_, void *c_, int64_t ldc)
{
    const REAL *w = w_, *bias = bias_;
    for (const int64_t end = first + m; first < end; first += m) {
        m = MIN(end - first, SPARSE_GROUP_SAMPLES);
        REAL *c = (REAL *)c_ + first * ldc;
        BY_VECTORS(n, const int64_t turns = turns_of(vecs, first, m, k, batch, ldw);
                   if (turns > 0)
                       sparse_turns(vecs, turns, first, m, k, batch, w + v, ldw, bias + v, c + v,
                                    ldc);
                   else
                       sparse_columns(vecs, first, m, batch, w + v, ldw, bias + v, c + v, ldc))
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

static void sparse_accumulate(int64_t m, int64_t n, const cmlp_entries *batch, const void *d_,
                              int64_t ldd, void *w_, int64_t ldw)
{
    const REAL *d = d_;
    REAL *w = w_;
    BY_VECTORS(n, sparse_update(vecs, m, batch, d + v, ldd, w + v, ldw))
}

/* Of each of the columns first .. first + k the samples that have it, as bits, and of each
 * sample its first entry in them. */
static void mark(int64_t sample, int64_t samples, int64_t first, int64_t k,
                 const cmlp_entries *batch, int64_t *begin)
{
    const int32_t *column = batch->column;
    uint64_t *marks = batch->marks;
    memset(marks + first, 0, (size_t)k * sizeof *marks);
    for (int64_t i = 0; i < samples; i++) {
        const cmlp_span span = batch->spans[sample + i];
        int64_t t = span.begin;
        while (t < span.end && column[t] < first)
            t++;
        begin[i] = t;
        for (; t < span.end && column[t] < first + k; t++)
            marks[column[t]] |= (uint64_t)1 << i;
    }
}

/* Each of k rows of W stays in registers while the samples marked in it are added: their
 * entries come in this order. */
INLINE void marked_update(const int vecs, int64_t k, const uint64_t *marks, const int64_t *begin,
                          const REAL *value, const REAL *d, int64_t ldd, REAL *w, int64_t ldw)
{
    int64_t place[CMLP_MARKS];
    memcpy(place, begin, sizeof place);
    for (int64_t c = 0; c < k; c++, w += ldw) {
        uint64_t left = marks[c];
        V sum[8];
        if (left == 0)
            continue;
        UNROLL for (int j = 0; j < vecs; j++)
            sum[j] = load(w + j * LANES);
        for (; left != 0; left &= left - 1) {
            const int i = __builtin_ctzll(left);
            const REAL *row = d + i * ldd, x = value[place[i]++];
            ONE_POINTER(row);
            UNROLL for (int j = 0; j < vecs; j++)
                sum[j] += x * load(row + j * LANES);
        }
        UNROLL for (int j = 0; j < vecs; j++)
            store(w + j * LANES, sum[j]);
    }
}

static void marked_accumulate(int64_t m, int64_t n, int64_t first, int64_t k,
                              const cmlp_entries *batch, const void *d_, int64_t ldd, void *w_,
                              int64_t ldw)
{
    const int64_t turns = (m + CMLP_MARKS - 1) / CMLP_MARKS;
    for (int64_t turn = 0; turn < turns; turn++) {
        const int64_t sample = m * turn / turns, samples = m * (turn + 1) / turns - sample;
        const REAL *d = (const REAL *)d_ + sample * ldd;
        REAL *w = w_;
        int64_t begin[CMLP_MARKS] = {0};
        mark(sample, samples, first, k, batch, begin);
        BY_VECTORS(n, marked_update(vecs, k, batch->marks + first, begin, batch->value, d + v, ldd,
                                    w + v, ldw))
    }
}

#endif
