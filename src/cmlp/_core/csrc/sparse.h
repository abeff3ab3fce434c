/* The forward product and the update of a first layer whose input is sparse: only the rows of W
 * whose input is non-zero are read.
 *
 * The entries of a sample are sorted by column.  Every sum runs over a sample's entries, or over
 * the samples, in order.  The results have the same bits as the dense products, as only additions
 * of zeros are omitted.
 */
#ifndef CMLP_SPARSE_H
#define CMLP_SPARSE_H

#include "kernels.h"
#include "simd.h"

/* Run `call` for blocks of the n columns.  In `call`, `vecs` is the constant number of vectors of a
 * block, at most MAX_VECTORS, and `v` its first column.  The blocks are as even as possible. */
#define VECTORS_CASE(count, call) \
    case count: {                 \
        enum { vecs = count };    \
        call;                     \
        break;                    \
    }
#define BY_VECTORS(n, call)                                                                       \
    for (int64_t v = 0, left = (n) / LANES, width; left > 0; v += width * LANES, left -= width) { \
        width = left / ((left + MAX_VECTORS - 1) / MAX_VECTORS);                                  \
        switch (width) {                                                                          \
            VECTORS_CASE(1, call)                                                                 \
            VECTORS_CASE(2, call)                                                                 \
            VECTORS_CASE(3, call)                                                                 \
            VECTORS_CASE(4, call)                                                                 \
            VECTORS_CASE(5, call)                                                                 \
            VECTORS_CASE(6, call)                                                                 \
            VECTORS_CASE(7, call)                                                                 \
            VECTORS_CASE(8, call)                                                                 \
        }                                                                                         \
    }

/* The sums of one sample over its entries, for one block of columns. */
typedef struct {
    const int32_t *column; /* (entries,) */
    const REAL *value;     /* (entries,) */
    int64_t entries;
    V sum[MAX_VECTORS];
} sparse_sum;

/* Start the sums of sample i of the batch at `from` (vecs vectors): the bias, or earlier sums. */
INLINE void begin_sum(const int vecs, sparse_sum *s, const cmlp_entries *batch, int64_t i,
                      const REAL *from)
{
    const cmlp_span span = batch->spans[i];
    s->column = batch->column + span.begin;
    s->value = (const REAL *)batch->value + span.begin;
    s->entries = span.end - span.begin;
    UNROLL for (int j = 0; j < vecs; j++)
        s->sum[j] = load(from + j * LANES);
}

/* Add entry t.  w points to row `first` of W, leading dimension ldw. */
INLINE void add_entry(const int vecs, sparse_sum *s, int64_t t, int64_t first, const REAL *w,
                      int64_t ldw)
{
    const REAL *row = w + (s->column[t] - first) * ldw, x = s->value[t];
    ONE_POINTER(row);
    UNROLL for (int j = 0; j < vecs; j++)
        s->sum[j] += x * load(row + j * LANES);
}

/* Add the entries from t on. */
INLINE void add_entries(const int vecs, sparse_sum *s, int64_t t, const REAL *w, int64_t ldw)
{
    for (; t < s->entries; t++)
        add_entry(vecs, s, t, 0, w, ldw);
}

/* Store the sums to c. */
INLINE void store_sum(const int vecs, const sparse_sum *s, REAL *c)
{
    UNROLL for (int j = 0; j < vecs; j++)
        store(c + j * LANES, s->sum[j]);
}

/* One block of columns of the forward product, sample by sample: rows first .. first + m of the
 * batch; c points to the output of row `first`.  In narrow layers two samples at a time; see
 * SPARSE_PAIR_MAX_VECTORS. */
INLINE void affine_by_samples(const int vecs, int64_t first, int64_t m, const cmlp_entries *batch,
                              const REAL *w, int64_t ldw, const REAL *bias, REAL *c, int64_t ldc)
{
    int64_t i = 0;
    if (vecs <= SPARSE_PAIR_MAX_VECTORS)
        for (; i + 2 <= m; i += 2) {
            sparse_sum s, u;
            begin_sum(vecs, &s, batch, first + i, bias);
            begin_sum(vecs, &u, batch, first + i + 1, bias);
            const int64_t both = s.entries < u.entries ? s.entries : u.entries;
            for (int64_t t = 0; t < both; t++) {
                add_entry(vecs, &s, t, 0, w, ldw);
                add_entry(vecs, &u, t, 0, w, ldw);
            }
            add_entries(vecs, &s, both, w, ldw);
            add_entries(vecs, &u, both, w, ldw);
            store_sum(vecs, &s, c + i * ldc);
            store_sum(vecs, &u, c + (i + 1) * ldc);
        }
    for (; i < m; i++) {
        sparse_sum s;
        begin_sum(vecs, &s, batch, first + i, bias);
        add_entries(vecs, &s, 0, w, ldw);
        store_sum(vecs, &s, c + i * ldc);
    }
}

/* Return the number of passes over k rows of W for rows first .. first + m of the batch, or 0 if
 * passes do not pay. */
INLINE int64_t choose_passes(const int vecs, int64_t first, int64_t m, int64_t k,
                             const cmlp_entries *batch, int64_t ldw)
{
    const int64_t passes = (k * vecs * VECTOR_BYTES + SPARSE_PASS_BYTES - 1) / SPARSE_PASS_BYTES;
    const int64_t entries = batch->spans[first + m - 1].end - batch->spans[first].begin;
    const int suits = vecs >= SPARSE_PASS_MIN_VECTORS && m >= SPARSE_PASS_MIN_SAMPLES
        && (m >= SPARSE_PACK_MIN_SAMPLES
            || (size_t)ldw * sizeof(REAL) % SPARSE_ALIASED_STRIDE_BYTES != 0)
        && entries >= SPARSE_PASS_MIN_ENTRIES * m * passes;
    return suits ? passes : 0;
}

/* One block of columns of the forward product, in passes: all samples add the entries of one block
 * of W's rows, while the block is in the L1 cache, before the next block. */
INLINE void affine_by_passes(const int vecs, int64_t passes, int64_t first, int64_t m, int64_t k,
                             const cmlp_entries *batch, const REAL *w, int64_t ldw,
                             const REAL *bias, REAL *c, int64_t ldc)
{
    enum { PACKED_REALS = SPARSE_PASS_BYTES / sizeof(REAL) + MAX_VECTORS * LANES };
    REAL packed[PACKED_REALS] __attribute__((aligned(CMLP_PAD)));
    const int packs = m >= SPARSE_PACK_MIN_SAMPLES && ldw != vecs * LANES;
    int64_t done[SPARSE_GROUP_SAMPLES] = {0};
    for (int64_t pass = 0, row = 0, end; pass < passes; pass++, row = end) {
        const REAL *rows = w + row * ldw;
        int64_t ld = ldw;
        end = k * (pass + 1) / passes;
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
            begin_sum(vecs, &s, batch, first + i, pass == 0 ? bias : c + i * ldc);
            for (; t < s.entries && s.column[t] < end; t++)
                add_entry(vecs, &s, t, row, rows, ld);
            done[i] = t;
            store_sum(vecs, &s, c + i * ldc);
        }
    }
}

/* C = A W + bias for rows first .. first + m of a sparse batch A; W (k, n), C (m, n), bias (n,)
 * padded; leading dimensions ldw and ldc; c points to the output of row 0. */
static void sparse_affine(int64_t first, int64_t m, int64_t n, int64_t k,
                          const cmlp_entries *batch, const void *w_, int64_t ldw,
                          const void *bias_, void *c_, int64_t ldc)
{
    const REAL *w = w_, *bias = bias_;
    for (const int64_t end = first + m; first < end; first += m) {
        m = MIN(end - first, SPARSE_GROUP_SAMPLES);
        REAL *c = (REAL *)c_ + first * ldc;
        BY_VECTORS(n, const int64_t passes = choose_passes(vecs, first, m, k, batch, ldw);
                   if (passes > 0)
                       affine_by_passes(vecs, passes, first, m, k, batch, w + v, ldw, bias + v,
                                        c + v, ldc);
                   else
                       affine_by_samples(vecs, first, m, batch, w + v, ldw, bias + v, c + v, ldc))
    }
}

/* One block of columns of the update: every sample adds its deltas (vecs vectors, in registers),
 * times the values of its entries, to the rows of W that the entries select. */
INLINE void update_by_samples(const int vecs, int64_t m, const cmlp_entries *batch, const REAL *d,
                              int64_t ldd, REAL *w, int64_t ldw)
{
    const int32_t *column = batch->column;
    const REAL *value = batch->value;
    for (int64_t i = 0; i < m; i++) {
        const cmlp_span span = batch->spans[i];
        V delta[MAX_VECTORS];
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

/* W += A^T D for the m samples of a sparse batch A; W (k, n) and D (m, n) padded; leading
 * dimensions ldw and ldd. */
static void sparse_accumulate(int64_t m, int64_t n, const cmlp_entries *batch, const void *d_,
                              int64_t ldd, void *w_, int64_t ldw)
{
    const REAL *d = d_;
    REAL *w = w_;
    BY_VECTORS(n, update_by_samples(vecs, m, batch, d + v, ldd, w + v, ldw))
}

/* For each of the columns first .. first + k, write a word of marks: bit i is set if sample
 * `sample` + i has an entry in the column.  begin[i]: that sample's first entry in the columns. */
static void mark_columns(int64_t sample, int64_t samples, int64_t first, int64_t k,
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

/* One block of columns of the update of k rows of W, row by row: the row stays in registers while
 * the samples that are marked in its column add their deltas, times the values of their entries.
 * A sample's entries are used in order, as the columns are. */
INLINE void update_by_marks(const int vecs, int64_t k, const uint64_t *marks, const int64_t *begin,
                            const REAL *value, const REAL *d, int64_t ldd, REAL *w, int64_t ldw)
{
    int64_t entry[CMLP_MARKS];
    memcpy(entry, begin, sizeof entry);
    for (int64_t c = 0; c < k; c++, w += ldw) {
        uint64_t left = marks[c];
        V sum[MAX_VECTORS];
        if (left == 0)
            continue;
        UNROLL for (int j = 0; j < vecs; j++)
            sum[j] = load(w + j * LANES);
        for (; left != 0; left &= left - 1) {
            const int i = __builtin_ctzll(left);
            const REAL *row = d + i * ldd, x = value[entry[i]++];
            ONE_POINTER(row);
            UNROLL for (int j = 0; j < vecs; j++)
                sum[j] += x * load(row + j * LANES);
        }
        UNROLL for (int j = 0; j < vecs; j++)
            store(w + j * LANES, sum[j]);
    }
}

/* The same result as sparse_accumulate for rows first .. first + k of W; w points to row `first`.
 * Each row is read and written once per CMLP_MARKS samples. */
static void marked_accumulate(int64_t m, int64_t n, int64_t first, int64_t k,
                              const cmlp_entries *batch, const void *d_, int64_t ldd, void *w_,
                              int64_t ldw)
{
    const int64_t groups = (m + CMLP_MARKS - 1) / CMLP_MARKS;
    for (int64_t group = 0; group < groups; group++) {
        const int64_t sample = m * group / groups, samples = m * (group + 1) / groups - sample;
        const REAL *d = (const REAL *)d_ + sample * ldd;
        REAL *w = w_;
        int64_t begin[CMLP_MARKS] = {0};
        mark_columns(sample, samples, first, k, batch, begin);
        BY_VECTORS(n, update_by_marks(vecs, k, batch->marks + first, begin, batch->value, d + v,
                                      ldd, w + v, ldw))
    }
}

/* The two steps of marked_accumulate for at most CMLP_MARKS samples, for callers that divide the columns
 * of W: mark columns first .. first + k of the batch, and update all k rows of W after all columns
 * have been marked. */
static void mark_batch(int64_t m, int64_t first, int64_t k, const cmlp_entries *batch)
{
    int64_t begin[CMLP_MARKS];
    mark_columns(0, m, first, k, batch, begin);
}

static void accumulate_marked(int64_t m, int64_t n, int64_t k, const cmlp_entries *batch,
                              const void *d_, int64_t ldd, void *w_, int64_t ldw)
{
    const REAL *d = d_;
    REAL *w = w_;
    int64_t begin[CMLP_MARKS] = {0};
    for (int64_t i = 0; i < m; i++)
        begin[i] = batch->spans[i].begin;
    BY_VECTORS(n, update_by_marks(vecs, k, batch->marks, begin, batch->value, d + v, ldd, w + v,
                                  ldw))
}

#endif
