/* The forward product and the update of a first layer whose input is sparse and whose products have
 * bfloat16 operands: with the bits of bfloat16_products.h, as only additions of zeros are omitted.
 *
 * The entries of a sample are units (bfloat16.h): `column` is the index of the unit in the dense row
 * of units, `value` the unit.
 *
 * Compiled with AMX, the sums have the order of bfloat16_tiles.h.
 */
#ifndef CMLP_BFLOAT16_SPARSE_H
#define CMLP_BFLOAT16_SPARSE_H

#include "bfloat16_products.h"
#include "flush.h"
#include "sparse.h"

#if CMLP_REAL_BYTES == 4

/* Replace the entries begin .. end of a sample, whose values are rounded, by their units.  Return the
 * end of these. */
INLINE int64_t make_unit_entries(int64_t begin, int64_t end, uint32_t *unit, int32_t *column)
{
    int64_t n = begin;
#ifdef HAS_PAIR_UNITS
    uint32_t pair = 0;
    int32_t last = -1;
    for (int64_t t = begin; t < end; t++) { /* without branches, which are hard to predict */
        const int32_t c = column[t] / 2;
        const int is_new = c != last;
        const uint32_t half = column[t] % 2 ? unit[t] : unit[t] >> 16;
        pair = is_new ? half : pair | half;
        last = c;
        n += is_new;
        unit[n - 1] = pair;
        column[n - 1] = c;
    }
#else
    for (; n < end; n++) {
        const int32_t c = column[n];
        if (c % 2 == 0 && n + 1 < end && column[n + 1] == c + 1) {
            const uint32_t odd = unit[n + 1];
            unit[n + 1] = unit[n];
            unit[n] = odd;
            column[++n] = c + 1;
        } else {
            column[n] = c ^ 1;
        }
    }
#endif
    return n;
}

/* Replace the entries of rows first .. first + m of a batch by their units, in order. */
static void bf16_round_entries(int64_t first, int64_t m, const cmlp_entries *batch)
{
    uint32_t *unit = batch->value;
    for (int64_t i = first; i < first + m; i++) {
        cmlp_span *span = &batch->spans[i];
        for (int64_t t = span->begin; t < span->end; t++)
            unit[t] = round_bits(unit[t]);
        span->end = make_unit_entries(span->begin, span->end, unit, batch->column);
    }
}

/* Load a vector of unit row u of W (k, ...), whose elements are rounded.  An odd row beyond the end
 * is multiplied by 0. */
INLINE V load_weight_units(int64_t u, int64_t k, const REAL *w, int64_t ldw)
{
#ifdef HAS_PAIR_UNITS
    return make_units(load(w + 2 * u * ldw), load(w + MIN(2 * u + 1, k - 1) * ldw));
#else
    (void)k;
    return round_reals(load(w + (u ^ 1) * ldw));
#endif
}

/* Sums of products of units, whose indices ascend. */
typedef struct {
    V sum[MAX_VECTORS];
#ifdef __AMX_BF16__
    V even[MAX_VECTORS], odd[MAX_VECTORS]; /* of the units of the current tile */
    int64_t tile;
#endif
} unit_sums;

/* Begin with the sums in `sum`. */
INLINE void begin_tile_sums(const int vecs, unit_sums *s)
{
#ifdef __AMX_BF16__
    UNROLL for (int j = 0; j < vecs; j++)
        s->even[j] = s->odd[j] = splat(0);
    s->tile = 0;
#else
    (void)vecs, (void)s;
#endif
}

/* Make `sum` complete. */
INLINE void end_tile_sums(const int vecs, unit_sums *s)
{
#ifdef __AMX_BF16__
    UNROLL for (int j = 0; j < vecs; j++) {
        s->sum[j] += s->even[j] + s->odd[j];
        s->even[j] = s->odd[j] = splat(0);
    }
#else
    (void)vecs, (void)s;
#endif
}

/* Prepare the sums for the unit of index u. */
INLINE void move_tile_sums(const int vecs, int64_t u, unit_sums *s)
{
#ifdef __AMX_BF16__
    if (u / TILE_UNITS != s->tile) {
        end_tile_sums(vecs, s);
        s->tile = u / TILE_UNITS;
    }
#else
    (void)vecs, (void)u, (void)s;
#endif
}

/* Add the product of unit x and a vector of units to vector j of the sums. */
INLINE void add_unit_product(unit_sums *s, const int j, REAL x, V row)
{
#ifdef __AMX_BF16__
    uint32_t pair;
    memcpy(&pair, &x, sizeof pair);
    const __m512bh even = (__m512bh)_mm512_set1_epi32((int)(pair & 0xffff));
    const __m512bh odd = (__m512bh)_mm512_set1_epi32((int)(pair & 0xffff0000));
    s->even[j] = (V)_mm512_dpbf16_ps((__m512)s->even[j], even, (__m512bh)row);
    s->odd[j] = (V)_mm512_dpbf16_ps((__m512)s->odd[j], odd, (__m512bh)row);
#else
    s->sum[j] = multiply_add(UNITS, s->sum[j], x, row);
#endif
}

/* Add the products of the units of sample i, from entry t on, whose index is less than `end`, to the
 * sums c (vecs vectors), which start at `from`.  The unit rows of W are `rows` (leading dimension
 * vecs * LANES, the first one has index `first`) or, if that is NULL, those of w.  Return the first
 * entry that is left. */
INLINE int64_t add_units(const int vecs, int64_t i, int64_t t, int64_t end, const cmlp_entries *batch,
                         const REAL *rows, int64_t first, const REAL *w, int64_t ldw, int64_t k,
                         const REAL *from, REAL *c)
{
    const int64_t last = batch->spans[i].end;
    unit_sums s;
    UNROLL for (int j = 0; j < vecs; j++) {
        const V start = load(from + j * LANES); /* the dense product flushes subnormal numbers */
        s.sum[j] = v_select(v_abs(start) < REAL_MIN, splat(0), start);
    }
    begin_tile_sums(vecs, &s);
    for (; t < last && batch->column[t] < end; t++) {
        const int64_t u = batch->column[t];
        move_tile_sums(vecs, u, &s);
        const REAL x = ((const REAL *)batch->value)[t];
        const REAL *row = rows ? rows + (u - first) * vecs * LANES : w;
        ONE_POINTER(row);
        UNROLL for (int j = 0; j < vecs; j++)
            add_unit_product(&s, j, x,
                             rows ? load(row + j * LANES)
                                  : load_weight_units(u, k, row + j * LANES, ldw));
    }
    end_tile_sums(vecs, &s);
    UNROLL for (int j = 0; j < vecs; j++)
        store(c + j * LANES, s.sum[j]);
    return t;
}

/* One block of columns of the forward product for at most SPARSE_GROUP_SAMPLES rows, in passes as
 * affine_by_passes. */
INLINE void forward_by_passes(const int vecs, int64_t first, int64_t m, int64_t k,
                              const cmlp_entries *batch, const REAL *w, int64_t ldw,
                              const REAL *bias, REAL *c, int64_t ldc)
{
    REAL rows[SPARSE_PASS_BYTES / sizeof(REAL)] __attribute__((aligned(CMLP_PAD)));
    const int64_t units = count_units(k);
    const int64_t block = SPARSE_PASS_BYTES / VECTOR_BYTES / vecs / TILE_UNITS * TILE_UNITS;
    int64_t done[SPARSE_GROUP_SAMPLES];
    for (int64_t i = 0; i < m; i++)
        done[i] = batch->spans[first + i].begin;
    for (int64_t row = 0; row < units; row += block) {
        const int64_t end = MIN(row + block, units);
        for (int64_t u = row; u < end; u++)
            if ((u ^ 1) < k || UNITS_PER_PAIR == 1)
                UNROLL for (int j = 0; j < vecs; j++)
                    store(rows + ((u - row) * vecs + j) * LANES,
                          load_weight_units(u, k, w + j * LANES, ldw));
        for (int64_t i = 0; i < m; i++)
            done[i] = add_units(vecs, first + i, done[i], end, batch, rows, row, NULL, 0, k,
                                row == 0 ? bias : c + i * ldc, c + i * ldc);
    }
}

/* One block of columns of the forward product for rows first .. first + m of the batch; c points to
 * the output of row `first`. */
INLINE void forward_units(const int vecs, int64_t first, int64_t m, int64_t k,
                          const cmlp_entries *batch, const REAL *w, int64_t ldw, const REAL *bias,
                          REAL *c, int64_t ldc)
{
    const int64_t units = count_units(k);
    const int64_t passes = (units * vecs * VECTOR_BYTES + SPARSE_PASS_BYTES - 1) / SPARSE_PASS_BYTES;
    int64_t entries = 0;
    for (int64_t i = first; i < first + m; i++)
        entries += batch->spans[i].end - batch->spans[i].begin;
    if (m >= SPARSE_PASS_MIN_SAMPLES && entries >= SPARSE_PASS_MIN_ENTRIES * m * passes) {
        forward_by_passes(vecs, first, m, k, batch, w, ldw, bias, c, ldc);
        return;
    }
    for (int64_t i = 0; i < m; i++)
        add_units(vecs, first + i, batch->spans[first + i].begin, units, batch, NULL, 0, w, ldw, k,
                  bias, c + i * ldc);
}

NOINLINE void multiply_unit_entries(int64_t first, int64_t m, int64_t n, int64_t k,
                                    const cmlp_entries *batch, const REAL *w, int64_t ldw,
                                    const REAL *bias, REAL *c, int64_t ldc)
{
    BY_VECTORS(n, forward_units(vecs, first, m, k, batch, w + v, ldw, bias + v, c + v, ldc))
}

/* C = A W + bias, with A and W rounded, for rows first .. first + m of a sparse batch A of units;
 * otherwise as sparse_affine. */
static void bf16_sparse_affine(int64_t first, int64_t m, int64_t n, int64_t k,
                               const cmlp_entries *batch, const void *w, int64_t ldw,
                               const void *bias, void *c, int64_t ldc)
{
    const uint64_t mode = begin_flush();
    for (const int64_t end = first + m; first < end; first += m) {
        m = MIN(end - first, SPARSE_GROUP_SAMPLES);
        multiply_unit_entries(first, m, n, k, batch, w, ldw, bias, (REAL *)c + first * ldc, ldc);
    }
    end_flush(mode);
}

/* Columns of a sparse batch as rows of units, whose summed index is the sample. */
typedef struct {
    int64_t units;    /* of a column, in whole vectors */
    uint32_t *unit;   /* (columns, units); those of an unused column are undefined */
    uint8_t *is_used; /* (columns,): whether a column has an element */
    int32_t *used;    /* (count,): the columns that have, in the order of their first elements */
    int64_t count;
} unit_columns;

/* Store an element of sample i in column c: bits of a float32 that has been rounded. */
INLINE void store_element(unit_columns *to, int64_t c, int64_t i, uint32_t bits)
{
    uint32_t *unit = to->unit + c * to->units;
    if (!to->is_used[c]) {
        if (bits >> 16 == 0) /* the element of a pair that is not an entry */
            return;
        for (int64_t u = 0; u < to->units; u += LANES)
            store((REAL *)unit + u, splat(0));
        to->is_used[c] = 1;
        to->used[to->count++] = (int32_t)c;
    }
#ifdef HAS_PAIR_UNITS
    const uint16_t half = (uint16_t)(bits >> 16);
    memcpy((char *)unit + 2 * i, &half, sizeof half);
#else
    unit[i ^ 1] = bits;
#endif
}

/* Gather the columns first .. end of samples sample .. sample + m, `first` even.  entry[i]: the first
 * entry of a sample in these columns in, behind them out. */
INLINE void gather_columns(int64_t sample, int64_t m, int64_t first, int64_t end,
                           const cmlp_entries *batch, int64_t *entry, unit_columns *to)
{
    const uint32_t *unit = batch->value;
    const int64_t end_unit = count_units(end);
    memset(to->is_used, 0, (size_t)(end - first + 1));
    to->count = 0;
    for (int64_t i = 0; i < m; i++) {
        const int64_t last = batch->spans[sample + i].end;
        int64_t t = entry[i];
        for (; t < last && batch->column[t] < end_unit; t++) {
#ifdef HAS_PAIR_UNITS
            const int64_t c = 2 * batch->column[t] - first;
            store_element(to, c, i, unit[t] << 16);
            store_element(to, c + 1, i, unit[t]);
#else
            store_element(to, (batch->column[t] ^ 1) - first, i, unit[t]);
#endif
        }
        entry[i] = t;
    }
}

/* Return the marks of at most 64 units, whole vectors: bit u is set if unit u is not 0. */
INLINE uint64_t mark_units(int64_t units, const uint32_t *unit)
{
    uint64_t marks = 0;
#ifdef HAS_PAIR_UNITS
    for (int64_t u = 0; u < units; u += LANES) {
        const __m512i vector = _mm512_load_si512(unit + u);
        marks |= (uint64_t)_mm512_test_epi32_mask(vector, vector) << u;
    }
#else
    for (int64_t u = 0; u < units; u++)
        marks |= (uint64_t)(unit[u] != 0) << u;
#endif
    return marks;
}

/* Form pairs of samples as pack_samples: units (units, vecs * LANES). */
INLINE void pack_deltas(const int vecs, int64_t m, const REAL *d, int64_t ldd, REAL *out)
{
    REAL row[MAX_VECTORS * LANES * 2] __attribute__((aligned(CMLP_PAD)));
    for (int64_t i = 0; i < m; i += 2) {
        pack_samples(MIN(m - i, 2), vecs * LANES, d + i * ldd, ldd, row, MAX_VECTORS * LANES);
        UNROLL for (int u = 0; u < UNITS_PER_PAIR; u++)
            UNROLL for (int j = 0; j < vecs; j++)
                store(out + ((i / 2 * UNITS_PER_PAIR + u) * vecs + j) * LANES,
                      load(row + (u * MAX_VECTORS + j) * LANES));
    }
}

/* One block of columns of the update of a row of W by a column of the batch; deltas: units (units,
 * vecs * LANES). */
INLINE void update_row(const int vecs, int64_t units, const uint32_t *unit, const REAL *deltas,
                       REAL factor, REAL *w)
{
    unit_sums s;
    UNROLL for (int j = 0; j < vecs; j++)
        s.sum[j] = splat(0);
    begin_tile_sums(vecs, &s);
    for (int64_t first = 0; first < units; first += 64) {
        uint64_t left = mark_units(MIN(units - first, 64), unit + first);
        for (; left != 0; left &= left - 1) {
            const int64_t u = first + __builtin_ctzll(left);
            const REAL *row = deltas + u * vecs * LANES, x = ((const REAL *)unit)[u];
            ONE_POINTER(row);
            move_tile_sums(vecs, u, &s);
            UNROLL for (int j = 0; j < vecs; j++)
                add_unit_product(&s, j, x, load(row + j * LANES));
        }
    }
    end_tile_sums(vecs, &s);
    UNROLL for (int j = 0; j < vecs; j++)
        store(w + j * LANES, load(w + j * LANES) + factor * s.sum[j]);
}

/* The same for the rows of all columns that have been gathered; a pair may have one more column than
 * W has rows. */
INLINE void update_rows(const int vecs, int64_t rows, const unit_columns *columns,
                        const REAL *deltas, REAL factor, REAL *w, int64_t ldw)
{
    for (int64_t i = 0; i < columns->count; i++) {
        const int64_t c = columns->used[i];
        if (i + SPARSE_PREFETCH_ROWS < columns->count)
            UNROLL for (int j = 0; j < vecs * VECTOR_BYTES; j += CMLP_PAD)
                __builtin_prefetch((const char *)(w + columns->used[i + SPARSE_PREFETCH_ROWS] * ldw)
                                   + j, 1);
        if (c < rows)
            update_row(vecs, columns->units, columns->unit + c * columns->units, deltas, factor,
                       w + c * ldw);
    }
}

/* The update by at most BF16_SAMPLES samples; see bf16_sparse_accumulate.  The pairs of deltas are
 * formed once if the buffer holds all columns. */
NOINLINE void update_by_entries(int64_t sample, int64_t m, int64_t n, int64_t first, int64_t k,
                                const cmlp_entries *batch, const REAL *d, int64_t ldd, REAL factor,
                                REAL *w, int64_t ldw)
{
    enum { MOST_UNITS = BF16_SAMPLES / 2 * UNITS_PER_PAIR };
    REAL deltas[MOST_UNITS * MAX_VECTORS * LANES] __attribute__((aligned(CMLP_PAD)));
    uint32_t unit[UNIT_COLUMNS_BYTES / 4] __attribute__((aligned(CMLP_PAD)));
    uint8_t is_used[UNIT_COLUMNS_BYTES / 4];
    const int64_t units = count_units(m), column_units = (units + LANES - 1) / LANES * LANES;
    const int64_t most = UNIT_COLUMNS_BYTES / 4 / column_units / 2 * 2;
    int32_t used[UNIT_COLUMNS_BYTES / 4];
    unit_columns columns = {column_units, unit, is_used, used, 0};
    const int packs_once = units * n <= MOST_UNITS * MAX_VECTORS * LANES;
    int64_t entry[BF16_SAMPLES];
    for (int64_t i = 0; i < m; i++) {
        const int64_t last = batch->spans[sample + i].end;
        entry[i] = batch->spans[sample + i].begin;
        while (entry[i] < last && batch->column[entry[i]] < count_units(first))
            entry[i]++;
    }
    for (int64_t row = first, rows; row < first + k; row += rows, w += rows * ldw) {
        rows = MIN(most, first + k - row);
        gather_columns(sample, m, row, row + rows, batch, entry, &columns);
        BY_VECTORS(n, REAL *block = packs_once ? deltas + v * units : deltas;
                   if (row == first || !packs_once)
                       pack_deltas(vecs, m, d + v / 2 * UNITS_PER_PAIR, ldd, block);
                   update_rows(vecs, rows, &columns, block, factor, w + v, ldw))
    }
}

/* W += factor * (A^T D) for rows first .. first + k of W, `first` even, w points to row `first`; the
 * m samples of a sparse batch A of units; the units D (m, n) with leading dimension ldd (units).
 * Sums as in bf16_accumulate. */
static void bf16_sparse_accumulate(int64_t m, int64_t n, int64_t first, int64_t k,
                                   const cmlp_entries *batch, const void *d, int64_t ldd,
                                   double factor, void *w, int64_t ldw)
{
    const uint64_t mode = begin_flush();
    for (int64_t i = 0; i < m; i += BF16_SAMPLES)
        update_by_entries(i, MIN(m - i, BF16_SAMPLES), n, first, k, batch,
                          (const REAL *)d + i * ldd, ldd, (REAL)factor, w, ldw);
    end_flush(mode);
}

#define BF16_KERNELS                                \
    {                                               \
        .units_per_pair = UNITS_PER_PAIR,           \
        .round_rows = round_rows,                   \
        .affine = bf16_affine,                      \
        .affine_backward = bf16_affine_backward,    \
        .accumulate = bf16_accumulate,              \
        .round_entries = bf16_round_entries,        \
        .sparse_affine = bf16_sparse_affine,        \
        .sparse_accumulate = bf16_sparse_accumulate \
    }

#endif
#endif
