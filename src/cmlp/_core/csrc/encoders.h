/* Encoders: input layers with parameters or with other numbers of outputs than inputs.
 *
 * An encoder replaces each of its columns by one or several outputs and copies the other columns.
 * `values` are its tensors, `into` receives their gradients; a NULL in `into` leaves one out.
 *
 * scale: x_j s_j for all columns; values: s (1, n).
 * one_hot: 1 at the code's place, for codes from 1; nothing for code 0.  Two categories have one
 *     output, -1 or 1, and 0 for code 0.
 * embedding: the code's row of a table, Guo and Berkhahn, arXiv:1604.06737, 2016; zeros for code 0.
 *     values: the tables of all columns, one below the other.
 * periodic: Gorishniy, Rubachev and Babenko, NeurIPS 2022, section 3.3, and its variants with phases
 *     of Holzmueller, Grinsztajn and Steinwart, NeurIPS 2024: for each column W p + c, possibly
 *     rectified and followed by x, with p = cos(2 pi w x + b), or p = (cos(2 pi w x),
 *     sin(2 pi w x)) without phases b.  values: w (columns, frequencies), b (the same), W
 *     (columns * outputs, features), c (columns, outputs).
 */
#ifndef CMLP_ENCODERS_H
#define CMLP_ENCODERS_H

#include <string.h>

#include "kernels.h"
#include "trigonometry.h"

#define PADDED(n) (((n) + CMLP_PAD / CMLP_REAL_BYTES - 1) / (CMLP_PAD / CMLP_REAL_BYTES) * \
                   (CMLP_PAD / CMLP_REAL_BYTES))

/* The features of one number, and their derivatives with respect to the angle; padded with zeros. */
typedef struct {
    REAL value[2 * CMLP_PERIODIC_FREQUENCIES + CMLP_PAD] __attribute__((aligned(64)));
    REAL slope[2 * CMLP_PERIODIC_FREQUENCIES + CMLP_PAD] __attribute__((aligned(64)));
} periodic_features;

/* The parameters of column c of a periodic encoder. */
typedef struct {
    const REAL *frequency, *phase, *weight, *bias;
    int64_t ld; /* of the weight */
} periodic_parameters;

/* Return the element `offset` of an array, or NULL if the array is NULL. */
INLINE const REAL *locate(const void *array, int64_t offset)
{
    return array ? (const REAL *)array + offset : NULL;
}

static periodic_parameters locate_periodic(const cmlp_encoder *e, void *const *values, int64_t c)
{
    const int64_t ldw = PADDED(e->frequencies), ld = PADDED(e->features);
    return (periodic_parameters){
        locate(values[0], c * ldw), e->has_phases ? locate(values[1], c * ldw) : NULL,
        locate(values[2], c * e->outputs_per_column * ld),
        locate(values[3], c * PADDED(e->outputs_per_column)), ld};
}

/* Sine and cosine of the angles k .. k + LANES of a number; 0 beyond the frequencies. */
INLINE void compute_waves(const cmlp_encoder *e, const periodic_parameters *p, REAL x, int64_t k,
                          V *sine, V *cosine)
{
    V u = load(p->frequency + k) * x;
    if (p->phase)
        u += load(p->phase + k) * (1 / TWO_PI);
    v_sincos(u, sine, cosine);
    *sine = mask_columns(*sine, k, e->frequencies, 0);
    *cosine = mask_columns(*cosine, k, e->frequencies, 0);
}

static void compute_features(const cmlp_encoder *e, const periodic_parameters *p, REAL x,
                             periodic_features *out)
{
    const int64_t n = e->frequencies;
    V sine, cosine;
    for (int64_t k = 0; k < n; k += LANES) {
        compute_waves(e, p, x, k, &sine, &cosine);
        store(out->value + k, cosine);
        store(out->slope + k, -sine);
    }
    for (int64_t k = 0; !p->phase && k < n; k++) {
        out->value[n + k] = -out->slope[k];
        out->slope[n + k] = out->value[k];
    }
    for (int64_t k = e->features; k < p->ld; k++)
        out->value[k] = out->slope[k] = 0;
}

static void encode_periodic_value(const cmlp_encoder *e, const periodic_parameters *p, REAL x,
                                  REAL *out)
{
    periodic_features f;
    V sine, cosine;
    if (p->phase) { /* the common case, which needs only values */
        for (int64_t k = 0; k < p->ld; k += LANES) {
            compute_waves(e, p, x, k, &sine, &cosine);
            store(f.value + k, cosine);
        }
    } else {
        compute_features(e, p, x, &f);
    }
    for (int64_t o = 0; o < e->outputs_per_column; o++) {
        V sums = splat(0);
        for (int64_t k = 0; k < p->ld; k += LANES)
            sums += load(f.value + k) * load(p->weight + o * p->ld + k);
        const REAL z = sum_lanes(sums) + p->bias[o];
        out[o] = e->rectifies && z < 0 ? 0 : z;
    }
    if (e->keeps_value)
        out[e->outputs_per_column] = x;
}

/* The gradient with respect to a linear output, given that with respect to the output. */
INLINE REAL rectify_delta(const cmlp_encoder *e, REAL out, REAL d)
{
    return e->rectifies && !(out > 0) ? 0 : d;
}

/* Gradients of one sample of a column with respect to the angles, (frequencies,), padded. */
static void compute_angle_deltas(const cmlp_encoder *e, const periodic_parameters *p,
                                 const periodic_features *f, const REAL *out, const REAL *d,
                                 REAL *angle)
{
    const int64_t n = e->frequencies;
    REAL features[2 * CMLP_PERIODIC_FREQUENCIES + CMLP_PAD] __attribute__((aligned(64)));
    for (int64_t k = 0; k < p->ld; k += LANES) {
        V sum = splat(0);
        for (int64_t o = 0; o < e->outputs_per_column; o++)
            sum += rectify_delta(e, out[o], d[o]) * load(p->weight + o * p->ld + k);
        store(features + k, sum * load(f->slope + k));
    }
    memset(angle, 0, sizeof(REAL) * (size_t)PADDED(n));
    for (int64_t k = 0; k < n; k++)
        angle[k] = features[k] + (p->phase ? 0 : features[n + k]);
}

/* Add the gradient of a column with phases to `g`; a NULL in it leaves a tensor out. */
static void accumulate_phased_column(const cmlp_encoder *e, const periodic_parameters *p, int64_t m,
                                     const REAL *x, int64_t ldx, const REAL *out, const REAL *d,
                                     int64_t ld, const periodic_parameters *g)
{
    REAL *frequency = (REAL *)g->frequency, *phase = (REAL *)g->phase, *bias = (REAL *)g->bias;
    for (int64_t i = 0; i < m; i++, x += ldx, out += ld, d += ld) {
        for (int64_t o = 0; bias && o < e->outputs_per_column; o++)
            bias[o] += rectify_delta(e, out[o], d[o]);
        for (int64_t k = 0; k < p->ld; k += LANES) {
            V sine, cosine, sum = splat(0);
            compute_waves(e, p, *x, k, &sine, &cosine);
            for (int64_t o = 0; o < e->outputs_per_column; o++) {
                const REAL delta = rectify_delta(e, out[o], d[o]);
                REAL *weight = (REAL *)g->weight + o * p->ld + k;
                sum += delta * load(p->weight + o * p->ld + k);
                if (g->weight)
                    store(weight, load(weight) + delta * cosine);
            }
            const V angle = sum * -sine;
            if (frequency)
                store(frequency + k, load(frequency + k) + angle * (TWO_PI * *x));
            if (phase)
                store(phase + k, load(phase + k) + angle);
        }
    }
}

static void accumulate_periodic_column(const cmlp_encoder *e, void *const *values, int64_t c,
                                       int64_t m, const REAL *x, int64_t ldx, const REAL *out,
                                       const REAL *d, int64_t ld, void *const *into)
{
    const periodic_parameters p = locate_periodic(e, values, c);
    const periodic_parameters g = locate_periodic(e, into, c);
    const int64_t n = PADDED(e->frequencies);
    if (p.phase) {
        accumulate_phased_column(e, &p, m, x, ldx, out, d, ld, &g);
        return;
    }
    REAL *frequency = (REAL *)g.frequency, *weight = (REAL *)g.weight, *bias = (REAL *)g.bias;
    periodic_features f;
    REAL angle[CMLP_PERIODIC_FREQUENCIES + CMLP_PAD] __attribute__((aligned(64)));
    for (int64_t i = 0; i < m; i++, x += ldx, out += ld, d += ld) {
        compute_features(e, &p, *x, &f);
        for (int64_t o = 0; o < e->outputs_per_column; o++) {
            const REAL delta = rectify_delta(e, out[o], d[o]);
            for (int64_t k = 0; weight && k < p.ld; k += LANES)
                store(weight + o * p.ld + k, load(weight + o * p.ld + k) + delta * load(f.value + k));
            if (bias)
                bias[o] += delta;
        }
        if (!frequency)
            continue;
        compute_angle_deltas(e, &p, &f, out, d, angle);
        for (int64_t k = 0; k < n; k += LANES)
            store(frequency + k, load(frequency + k) + load(angle + k) * (TWO_PI * *x));
    }
}

/* The code of a category, or 0 for a number that is none. */
INLINE int64_t code_of(REAL x, int64_t categories)
{
    const int64_t code = x >= 1 && x <= (REAL)categories ? (int64_t)x : 0;
    return (REAL)code == x ? code : 0;
}

static void encode_column(const cmlp_encoder *e, void *const *values, int64_t c, REAL x, REAL *out)
{
    const int64_t n = e->outputs_per_column;
    if (e->kind == CMLP_PERIODIC) {
        const periodic_parameters p = locate_periodic(e, values, c);
        encode_periodic_value(e, &p, x, out);
        return;
    }
    const int64_t categories = e->categories[c], code = code_of(x, categories);
    if (e->kind == CMLP_EMBEDDING) {
        const REAL *table = (const REAL *)values[0] + e->first_row[c] * PADDED(n);
        for (int64_t o = 0; o < n; o++)
            out[o] = code ? table[(code - 1) * PADDED(n) + o] : 0;
    } else if (categories == 2) {
        out[0] = code ? 2 * (REAL)code - 3 : 0;
    } else {
        memset(out, 0, sizeof(REAL) * (size_t)categories);
        if (code)
            out[code - 1] = 1;
    }
}

/* See kernels.h. */
static void encode(const cmlp_encoder *e, void *const *values, int64_t m, const void *x_,
                   int64_t ldx, void *out_, int64_t ld)
{
    for (int64_t i = 0; i < m; i++) {
        const REAL *x = (const REAL *)x_ + i * ldx;
        REAL *out = (REAL *)out_ + i * ld;
        if (e->kind == CMLP_SCALE) {
            for (int64_t j = 0; j < e->inputs; j++)
                out[j] = x[j] * ((const REAL *)values[0])[j];
            continue;
        }
        for (int64_t c = 0; c < e->kept; c++)
            out[e->kept_target[c]] = x[e->kept_column[c]];
        for (int64_t c = 0; c < e->selected; c++)
            encode_column(e, values, c, x[e->column[c]], out + e->target[c]);
    }
}

static REAL backpropagate_periodic(const cmlp_encoder *e, const periodic_parameters *p, REAL x,
                                   const REAL *out, const REAL *d)
{
    periodic_features f;
    REAL angle[CMLP_PERIODIC_FREQUENCIES + CMLP_PAD] __attribute__((aligned(64)));
    V sums = splat(0);
    compute_features(e, p, x, &f);
    compute_angle_deltas(e, p, &f, out, d, angle);
    for (int64_t k = 0; k < PADDED(e->frequencies); k += LANES)
        sums += load(angle + k) * load(p->frequency + k);
    return sum_lanes(sums) * TWO_PI + (e->keeps_value ? d[e->outputs_per_column] : 0);
}

/* See kernels.h. */
static void encode_backward(const cmlp_encoder *e, void *const *values, int64_t m, const void *x_,
                            int64_t ldx, const void *out_, const void *d_, int64_t ld, void *dx_,
                            int64_t lddx)
{
    for (int64_t i = 0; i < m; i++) {
        const REAL *x = (const REAL *)x_ + i * ldx, *d = (const REAL *)d_ + i * ld;
        const REAL *out = (const REAL *)out_ + i * ld;
        REAL *dx = (REAL *)dx_ + i * lddx;
        if (e->kind == CMLP_SCALE) {
            for (int64_t j = 0; j < e->inputs; j++)
                dx[j] = d[j] * ((const REAL *)values[0])[j];
            continue;
        }
        for (int64_t c = 0; c < e->kept; c++)
            dx[e->kept_column[c]] = d[e->kept_target[c]];
        for (int64_t c = 0; c < e->selected; c++) {
            const int64_t t = e->target[c];
            dx[e->column[c]] = 0; /* a code has no derivative */
            if (e->kind == CMLP_PERIODIC) {
                const periodic_parameters p = locate_periodic(e, values, c);
                dx[e->column[c]] = backpropagate_periodic(e, &p, x[e->column[c]], out + t, d + t);
            }
        }
    }
}

static void accumulate_embedding_column(const cmlp_encoder *e, int64_t c, int64_t m, const REAL *x,
                                        int64_t ldx, const REAL *d, int64_t ld, REAL *into)
{
    const int64_t n = e->outputs_per_column;
    REAL *table = into + e->first_row[c] * PADDED(n);
    for (int64_t i = 0; i < m; i++) {
        const int64_t code = code_of(x[i * ldx], e->categories[c]);
        for (int64_t o = 0; code && o < n; o++)
            table[(code - 1) * PADDED(n) + o] += d[i * ld + o];
    }
}

/* See kernels.h. */
static void encode_accumulate(const cmlp_encoder *e, void *const *values, int64_t first,
                              int64_t count, int64_t m, const void *x_, int64_t ldx,
                              const void *out_, const void *d_, int64_t ld, void *const *into)
{
    const REAL *x = x_, *out = out_, *d = d_;
    for (int64_t i = 0; e->kind == CMLP_SCALE && into[0] && i < m; i++)
        for (int64_t j = first; j < first + count; j++)
            ((REAL *)into[0])[j] += d[i * ld + j] * x[i * ldx + j];
    for (int64_t c = first; e->kind != CMLP_SCALE && c < first + count; c++) {
        const int64_t j = e->column[c], t = e->target[c];
        if (e->kind == CMLP_PERIODIC)
            accumulate_periodic_column(e, values, c, m, x + j, ldx, out + t, d + t, ld, into);
        else if (e->kind == CMLP_EMBEDDING && into[0])
            accumulate_embedding_column(e, c, m, x + j, ldx, d + t, ld, into[0]);
    }
}

/* See kernels.h.  A sample has the same space as every other one. */
static void list_entries(const cmlp_segments *s, int64_t first, int64_t m, const void *x_,
                         int64_t ldx, const void *out_, int64_t ldout, const cmlp_entries *batch)
{
    for (int64_t i = first; i < first + m; i++) {
        const REAL *x = (const REAL *)x_ + i * ldx, *out = (const REAL *)out_ + i * ldout;
        int32_t *column = batch->column + i * s->entries, from = 0;
        REAL *value = (REAL *)batch->value + i * s->entries;
        int64_t n = 0;
        for (int64_t t = 0; t < s->count; from += s->size[t], t++) {
            int32_t j = from, end = from + s->size[t];
            if (s->code_column[t] >= 0) {
                const int64_t code = code_of(x[s->code_column[t]], s->size[t]);
                j += (int32_t)code - 1;
                end = code ? j + 1 : j;
            }
            for (; j < end; j++, n++) {
                column[n] = j;
                value[n] = out[j];
            }
        }
        batch->spans[i] = (cmlp_span){i * s->entries, i * s->entries + n};
    }
}

/* See kernels.h.  Four entries at a time share the loads of D. */
static void backward_entries(int64_t first, int64_t m, int64_t n, const cmlp_entries *batch,
                             const void *d_, int64_t ldd, const void *w_, int64_t ldw, void *c_,
                             int64_t ldc)
{
    enum { AT_A_TIME = 4 };
    for (int64_t i = first; i < first + m; i++) {
        const REAL *d = (const REAL *)d_ + i * ldd;
        REAL *c = (REAL *)c_ + i * ldc;
        for (int64_t t = batch->spans[i].begin; t < batch->spans[i].end; t += AT_A_TIME) {
            const int64_t left = batch->spans[i].end - t;
            const REAL *w[AT_A_TIME];
            V sum[AT_A_TIME];
            for (int64_t e = 0; e < AT_A_TIME; e++) {
                w[e] = (const REAL *)w_ + batch->column[t + (e < left ? e : 0)] * ldw;
                sum[e] = splat(0);
            }
            for (int64_t j = 0; j < n; j += LANES)
                UNROLL for (int e = 0; e < AT_A_TIME; e++)
                    sum[e] += load(d + j) * load(w[e] + j);
            for (int64_t e = 0; e < AT_A_TIME && e < left; e++)
                c[batch->column[t + e]] = sum_lanes(sum[e]);
        }
    }
}

#endif
