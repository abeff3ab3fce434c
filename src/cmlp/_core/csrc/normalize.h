/* Normalization of a layer's pre-activations z: forward and backward.
 *
 * Batch normalization: Ioffe and Szegedy, "Batch normalization", ICML 2015, algorithm 1 and section
 * 3.  Layer normalization: Ba, Kiros and Hinton, "Layer normalization", arXiv:1607.06450, 2016,
 * eq. 4.
 *
 * Forward: h = (z - mean) * inverse with inverse = 1 / sqrt(variance + epsilon), and then
 * z = scale * h + shift.  Backward, with g the gradient with respect to h:
 * inverse * (g - mean(g) - h mean(g h)).
 *
 * Z, H, D and S are (m, n) with the same leading dimension ld, scale and shift are (n,); all are
 * padded. */
#ifndef CMLP_NORMALIZE_H
#define CMLP_NORMALIZE_H

#include "functions.h"
#include "kernels.h"

#define ROW_OF(p, i) ((REAL *)(p) + (i) * ld)

/* Normalize each column of Z over the batch.  Stores H and inverse (n,).  Moves the running mean
 * and the running unbiased variance, (n,) each, by the fraction `momentum` towards the batch's. */
static void normalize_batch(int64_t m, int64_t n, double epsilon, double momentum,
                            const void *scale, const void *shift, void *running_mean,
                            void *running_variance, void *z, int64_t ld, void *h, void *inverse)
{
    const REAL unbiased = (REAL)m / (REAL)(m > 1 ? m - 1 : 1), fraction = (REAL)momentum;
    for (int64_t j = 0; j < n; j += LANES) {
        V sum = splat(0), squares = splat(0);
        for (int64_t i = 0; i < m; i++)
            sum += load(ROW_OF(z, i) + j);
        const V mean = sum / (REAL)m;
        for (int64_t i = 0; i < m; i++) {
            V x = load(ROW_OF(z, i) + j) - mean;
            squares += x * x;
        }
        const V variance = squares / (REAL)m, r = 1 / v_sqrt(variance + (REAL)epsilon);
        const V gain = load((const REAL *)scale + j), offset = load((const REAL *)shift + j);
        for (int64_t i = 0; i < m; i++) {
            V x = (load(ROW_OF(z, i) + j) - mean) * r;
            store(ROW_OF(h, i) + j, x);
            store(ROW_OF(z, i) + j, gain * x + offset);
        }
        store((REAL *)inverse + j, r);
        REAL *running = (REAL *)running_mean + j;
        store(running, load(running) + fraction * (mean - load(running)));
        running = (REAL *)running_variance + j;
        store(running, load(running) + fraction * (variance * unbiased - load(running)));
    }
}

/* Backpropagate through normalize_batch.  D: gradient with respect to scale * h + shift in, with
 * respect to the pre-activations out.  S receives a copy of the former. */
static void normalize_batch_backward(int64_t m, int64_t n, const void *scale, const void *h,
                                     const void *inverse, void *d, int64_t ld, void *s)
{
    for (int64_t j = 0; j < n; j += LANES) {
        V sum = splat(0), projection = splat(0);
        for (int64_t i = 0; i < m; i++) {
            V g = load(ROW_OF(d, i) + j);
            store(ROW_OF(s, i) + j, g);
            sum += g;
            projection += g * load(ROW_OF(h, i) + j);
        }
        const V gain = load((const REAL *)scale + j) * load((const REAL *)inverse + j);
        sum /= (REAL)m;
        projection /= (REAL)m;
        for (int64_t i = 0; i < m; i++)
            store(ROW_OF(d, i) + j,
                  gain * (load(ROW_OF(d, i) + j) - sum - load(ROW_OF(h, i) + j) * projection));
    }
}

/* Normalize each column of Z by the running mean and variance, (n,) each, in place: inference.
 * Stores H, unless NULL. */
static void normalize_by_running(int64_t m, int64_t n, double epsilon, const void *scale,
                                 const void *shift, const void *running_mean,
                                 const void *running_variance, void *z, int64_t ld, void *h)
{
    for (int64_t j = 0; j < n; j += LANES) {
        const V mean = load((const REAL *)running_mean + j);
        const V root = v_sqrt(load((const REAL *)running_variance + j) + (REAL)epsilon);
        const V gain = load((const REAL *)scale + j) / root;
        const V offset = load((const REAL *)shift + j);
        for (int64_t i = 0; i < m; i++) {
            V x = load(ROW_OF(z, i) + j) - mean;
            if (h)
                store(ROW_OF(h, i) + j, x / root);
            store(ROW_OF(z, i) + j, gain * x + offset);
        }
    }
}

/* Normalize each row of Z over its `outputs` columns.  Stores H and inverse (m,), unless NULL. */
static void normalize_layer(int64_t m, int64_t n, int64_t outputs, double epsilon,
                            const void *scale, const void *shift, void *z, int64_t ld, void *h,
                            void *inverse)
{
    for (int64_t i = 0; i < m; i++) {
        REAL *row = ROW_OF(z, i), *normal = h ? ROW_OF(h, i) : NULL;
        V sums = splat(0), squares = splat(0);
        for (int64_t j = 0; j < n; j += LANES)
            sums += mask_columns(load(row + j), j, outputs, 0);
        const REAL mean = sum_lanes(sums) / (REAL)outputs;
        for (int64_t j = 0; j < n; j += LANES) {
            V x = mask_columns(load(row + j) - mean, j, outputs, 0);
            squares += x * x;
        }
        const V r = 1 / v_sqrt(splat(sum_lanes(squares) / (REAL)outputs + (REAL)epsilon));
        for (int64_t j = 0; j < n; j += LANES) {
            V x = mask_columns((load(row + j) - mean) * r, j, outputs, 0);
            if (h)
                store(normal + j, x);
            store(row + j, load((const REAL *)scale + j) * x + load((const REAL *)shift + j));
        }
        if (inverse)
            ((REAL *)inverse)[i] = r[0];
    }
}

/* Backpropagate through normalize_layer; D and S as in normalize_batch_backward. */
static void normalize_layer_backward(int64_t m, int64_t n, int64_t outputs, const void *scale,
                                     const void *h, const void *inverse, void *d, int64_t ld,
                                     void *s)
{
    for (int64_t i = 0; i < m; i++) {
        REAL *row = ROW_OF(d, i), *normal = ROW_OF(h, i);
        const REAL r = ((const REAL *)inverse)[i];
        V sums = splat(0), projections = splat(0);
        for (int64_t j = 0; j < n; j += LANES) { /* g is 0 in the padding, as scale is */
            V g = load(row + j);
            store(ROW_OF(s, i) + j, g);
            g *= load((const REAL *)scale + j);
            sums += g;
            projections += g * load(normal + j);
        }
        const REAL sum = sum_lanes(sums) / (REAL)outputs;
        const REAL projection = sum_lanes(projections) / (REAL)outputs;
        for (int64_t j = 0; j < n; j += LANES) {
            V g = load(row + j) * load((const REAL *)scale + j);
            g = r * (g - sum - load(normal + j) * projection);
            store(row + j, mask_columns(g, j, outputs, 0));
        }
    }
}

/* scale (n,) += sum over the rows of S * H: the gradient of the scale. */
static void accumulate_scale(int64_t m, int64_t n, const void *s, const void *h, int64_t ld,
                             void *scale)
{
    for (int64_t j = 0; j < n; j += LANES) {
        V sum = load((REAL *)scale + j);
        for (int64_t i = 0; i < m; i++)
            sum += load(ROW_OF(s, i) + j) * load(ROW_OF(h, i) + j);
        store((REAL *)scale + j, sum);
    }
}

#endif
