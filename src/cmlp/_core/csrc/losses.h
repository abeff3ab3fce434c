/* Loss functions: one line per loss.
 *
 * A line is the name, the number of parameters, whether an output is the logarithm of the
 * prediction, the value, and the gradient with respect to the output a.  In the expressions a
 * is a vector of outputs, y of targets, k the parameter, and n the number of outputs; the loss of
 * a sample is the sum of the values over its n outputs.  The engine computes the mean over the
 * batch.  The position in the list is the loss's code; Python reads name, code, parameters and
 * log link from the kernel table.  Losses that need several outputs for a target are functions in
 * distribution_losses.h, and their codes come last.
 */
#ifndef CMLP_LOSSES_H
#define CMLP_LOSSES_H

#include <math.h>

#include "activations.h"
#include "distribution_losses.h"
#include "kernels.h"

/* Clip a probability to the smallest normal number, before a logarithm or a division. */
#define AT_LEAST_TINY(a) v_max(a, splat(REAL_MIN))

#define LOG_2 (REAL)0.69314718055994530942

/* The hinge losses map targets 0 and 1 to -1 and 1.  MARGIN: the missing margin, or 0. */
#define SIDE (2 * y - 1)
#define MARGIN v_max(1 - SIDE * a, splat(0))

/* Sources, and the meaning of the parameter k:
 *
 * huber: Huber, Annals of Mathematical Statistics 35, 1964, p. 74; k is delta.
 * poisson: negative log-likelihood for the logarithm of the rate, without the term that is
 *     independent of it.  poisson_deviance: half the deviance, which includes that term, summed
 *     over outputs; McCullagh and Nelder, "Generalized Linear Models", 1989, section 2.3.3.
 * pinball: Koenker and Bassett, "Regression quantiles", Econometrica 46, 1978; k is the quantile,
 *     that of each output if the head has levels.
 * hinge: Cortes and Vapnik, Machine Learning 20, 1995, one versus rest per output.
 * cross_entropy, binary_cross_entropy: k is the label smoothing of Szegedy et al., CVPR 2016,
 *     section 7, which smooth_labels applies to the targets. */
#define LOSSES(X)                                                                     \
    X(quadratic, 0, 0, (a - y) * (a - y) * (REAL)0.5, a - y)                          \
    X(mse, 0, 0, (a - y) * (a - y) / (REAL)n, (a - y) * (2 / (REAL)n))                \
    X(mae, 0, 0, v_abs(a - y) / (REAL)n, SIGN(a - y) / (REAL)n)                       \
    X(huber, 1, 0,                                                                    \
      v_select(v_abs(a - y) > k, k * (v_abs(a - y) - k * (REAL)0.5),                  \
               (a - y) * (a - y) * (REAL)0.5) / (REAL)n,                              \
      v_select(v_abs(a - y) > k, k * SIGN(a - y), a - y) / (REAL)n)                   \
    X(log_cosh, 0, 0,                                                                 \
      (v_abs(a - y) + v_log1p(v_exp(-2 * v_abs(a - y))) - LOG_2) / (REAL)n,           \
      v_tanh(a - y) / (REAL)n)                                                        \
    X(poisson, 0, 1, (v_exp(a) - y * a) / (REAL)n, (v_exp(a) - y) / (REAL)n)          \
    X(poisson_deviance, 0, 1,                                                         \
      v_exp(a) - y + y * (v_log(AT_LEAST_TINY(y)) - a), v_exp(a) - y)                 \
    X(cross_entropy, 1, 0, -y * v_log(AT_LEAST_TINY(a)), -y / AT_LEAST_TINY(a))       \
    X(binary_cross_entropy, 1, 0,                                                     \
      -y * v_log(AT_LEAST_TINY(a)) - (1 - y) * v_log(AT_LEAST_TINY(1 - a)),           \
      (1 - y) / AT_LEAST_TINY(1 - a) - y / AT_LEAST_TINY(a))                          \
    X(hinge, 0, 0, MARGIN / (REAL)n, v_select(MARGIN > 0, -SIDE, splat(0)) / (REAL)n) \
    X(squared_hinge, 0, 0, MARGIN * MARGIN / (REAL)n, SIDE * MARGIN * (-2 / (REAL)n)) \
    X(pinball, 1, 0, v_max(k * (y - a), (k - 1) * (y - a)) / (REAL)n,                 \
      v_select(a > y, 1 - k, v_select(a < y, -k, splat(0))) / (REAL)n)

/* The codes. */
enum loss {
#define X(name, parameters, log_link, value, gradient) LOSS_##name,
    LOSSES(X)
#undef X
    LOSS_gaussian_nll
};

static const cmlp_loss_info loss_infos[] = {
#define X(name, parameters, log_link, value, gradient) {#name, parameters, log_link, 1},
    LOSSES(X)
#undef X
    {"gaussian_nll", 1, 0, 2},
    {NULL, 0, 0, 0}
};

/* Softmax with cross-entropy of one row, from the logits.
 *
 * z (n,): logits in, probabilities out.  d (n,): targets y in, `scale` times the gradient with
 * respect to the logits out.  Returns the loss sum_j y_j (L - z_j) with L = log sum_j exp z_j; its
 * gradient is a sum(y) - y (Bishop, "Pattern Recognition and Machine Learning", 2006, section
 * 4.3.4).  It does not use the logarithm of a rounded probability, so that the loss is finite
 * even if the probability of the true class rounds to 0. */
static double softmax_cross_entropy_row(int64_t n, REAL scale, REAL *z, REAL *d)
{
    REAL maximum = row_max(z, n);
    V weights = splat(0), weighted = splat(0);
    for (int64_t j = 0; j < n; j += LANES) {
        V y = load(d + j);
        weights += y;
        weighted += y * (mask_columns(load(z + j), j, n, maximum) - maximum);
    }
    REAL weight = sum_lanes(weights);
    REAL sum = softmax_row(z, n, maximum);
    for (int64_t j = 0; j < n; j += LANES)
        store(d + j, (load(z + j) * weight - load(d + j)) * scale);
    return (double)weight * log((double)sum) - (double)sum_lanes(weighted);
}

/* Sigmoid with binary cross-entropy of one row, from the logits; arguments as above.  The loss is
 * max(z, 0) - z y + log(1 + exp(-|z|)), its gradient a - y. */
static double sigmoid_binary_cross_entropy_row(int64_t n, REAL scale, REAL *z, REAL *d)
{
    V losses = splat(0);
    for (int64_t j = 0; j < n; j += LANES) {
        V x = load(z + j), y = load(d + j), a = v_sigmoid(x);
        V loss = v_max(x, splat(0)) - x * y + v_log1p(v_exp(-v_abs(x)));
        losses += mask_columns(loss, j, n, 0);
        store(z + j, mask_columns(a, j, n, 0));
        store(d + j, mask_columns((a - y) * scale, j, n, 0));
    }
    return sum_lanes(losses);
}

/* The same two heads for LANES rows at a time, of n <= NARROW_VECTORS * LANES columns.  The rows
 * are transposed, so that a vector holds one column of all of them and no lane is padding.  Each
 * row has the same operations in the same order as in the functions above: the bits are the same.
 * The second took 10 us instead of 27 us for one output and 576 rows in float64. */
#define NARROW_VECTORS 2

/* Rows of z or d (LANES, vecs * LANES), transposed: column[j] holds column j of all rows. */
typedef struct {
    V column[NARROW_VECTORS * LANES];
} row_group;

INLINE void load_rows(int64_t vecs, const REAL *rows, int64_t ld, row_group *group)
{
    int64_t v = 0;
    do {
        UNROLL for (int i = 0; i < LANES; i++)
            group->column[v * LANES + i] = load(rows + i * ld + v * LANES);
        transpose(group->column + v * LANES);
    } while (++v < vecs);
}

INLINE void store_rows(int64_t vecs, REAL *rows, int64_t ld, row_group *group)
{
    for (int64_t v = 0; v < vecs; v++) {
        transpose(group->column + v * LANES);
        UNROLL for (int i = 0; i < LANES; i++)
            store(rows + i * ld + v * LANES, group->column[v * LANES + i]);
    }
}

/* Add the lanes in the order of sum_lanes; sums[l] holds lane l of all rows. */
INLINE V add_lanes(V sums[LANES])
{
    UNROLL for (int half = LANES / 2; half >= 16 / CMLP_REAL_BYTES; half /= 2)
        UNROLL for (int l = 0; l < half; l++)
            sums[l] += sums[l + half];
    V sum = sums[0];
    UNROLL for (int l = 1; l < 16 / CMLP_REAL_BYTES; l++)
        sum += sums[l];
    return sum;
}

static void softmax_cross_entropy_rows(int64_t n, REAL scale, REAL *z, REAL *d, int64_t ld,
                                       double *losses)
{
    const int64_t vecs = (n + LANES - 1) / LANES;
    row_group a, y;
    V sums[LANES], weights[LANES], weighted[LANES];
    load_rows(vecs, z, ld, &a);
    load_rows(vecs, d, ld, &y);
    V maximum = a.column[0];
    for (int64_t j = 1; j < n; j++)
        maximum = v_max(maximum, a.column[j]);
    for (int l = 0; l < LANES; l++)
        sums[l] = weights[l] = weighted[l] = splat(0);
    for (int64_t j = 0; j < n; j++) {
        const V shifted = a.column[j] - maximum;
        weights[j % LANES] += y.column[j];
        weighted[j % LANES] += y.column[j] * shifted;
        a.column[j] = v_exp(shifted);
        sums[j % LANES] += a.column[j];
    }
    const V sum = add_lanes(sums), weight = add_lanes(weights), dot = add_lanes(weighted);
    for (int64_t j = 0; j < n; j++) {
        a.column[j] /= sum;
        y.column[j] = (a.column[j] * weight - y.column[j]) * scale;
    }
    for (int64_t j = n; j < vecs * LANES; j++)
        a.column[j] = y.column[j] = splat(0);
    store_rows(vecs, z, ld, &a);
    store_rows(vecs, d, ld, &y);
    for (int i = 0; i < LANES; i++)
        losses[i] = (double)weight[i] * log((double)sum[i]) - (double)dot[i];
}

static void sigmoid_binary_cross_entropy_rows(int64_t n, REAL scale, REAL *z, REAL *d, int64_t ld,
                                              double *losses)
{
    const int64_t vecs = (n + LANES - 1) / LANES;
    row_group outputs, deltas;
    V sums[LANES];
    load_rows(vecs, z, ld, &outputs);
    load_rows(vecs, d, ld, &deltas);
    for (int l = 0; l < LANES; l++)
        sums[l] = splat(0);
    for (int64_t j = n; j < vecs * LANES; j++)
        outputs.column[j] = deltas.column[j] = splat(0);
    for (int64_t j = 0; j < n; j++) {
        const V x = outputs.column[j], y = deltas.column[j], a = v_sigmoid(x);
        const V loss = v_max(x, splat(0)) - x * y + v_log1p(v_exp(-v_abs(x)));
        sums[j % LANES] += loss;
        outputs.column[j] = a;
        deltas.column[j] = (a - y) * scale;
    }
    const V sum = add_lanes(sums);
    store_rows(vecs, z, ld, &outputs);
    store_rows(vecs, d, ld, &deltas);
    for (int i = 0; i < LANES; i++)
        losses[i] = sum[i];
}

/* Any loss of one row, from the outputs.  z (n,): outputs.  d (n,): targets in, `scale` times the
 * gradient with respect to the outputs out.  Returns the loss. */
static double output_loss_row(const cmlp_head *head, REAL scale, const REAL *z, REAL *d)
{
    const int64_t n = head->outputs;
    const REAL *levels = head->levels;
    V k = splat((REAL)head->parameter), losses = splat(0);
    if (head->non_crossing)
        return non_crossing_pinball_row(head, scale, z, d);
    switch (head->loss) {
#define X(name, parameters, log_link, value, gradient)               \
    case LOSS_##name:                                                \
        for (int64_t j = 0; j < n; j += LANES) {                     \
            V a = load(z + j), y = load(d + j);                      \
            if (levels)                                              \
                k = load_unaligned(levels + j);                      \
            (void)k;                                                 \
            losses += mask_columns(value, j, n, 0);                  \
            store(d + j, mask_columns((gradient) * scale, j, n, 0)); \
        }                                                            \
        break;
        LOSSES(X)
#undef X
    case LOSS_gaussian_nll:
        return gaussian_nll_row(head->targets, (REAL)head->parameter, scale, z, d);
    }
    return sum_lanes(losses);
}

/* Any loss of samples with a single output, from the outputs z (samples,), padded.  d (samples,):
 * targets in, `scale` times the gradients out.  losses (samples,): the losses. */
static void single_output_losses(const cmlp_head *head, REAL scale, int64_t samples, const REAL *z,
                                 REAL *d, REAL *losses)
{
    const int n = 1; /* outputs */
    const V k = splat((REAL)head->parameter);
    switch (head->loss) {
#define X(name, parameters, log_link, value, gradient)      \
    case LOSS_##name:                                       \
        for (int64_t j = 0; j < samples; j += LANES) {      \
            V a = load(z + j), y = load(d + j);             \
            (void)k, (void)n;                               \
            store(losses + j, value);                       \
            store(d + j, (gradient) * scale);               \
        }                                                   \
        break;
        LOSSES(X)
#undef X
    }
}

/* Write the targets of one sample to y (ld,): one-hot encoded labels, or values; the padding
 * beyond n becomes 0. */
static void load_targets(const cmlp_targets *targets, int64_t row, int64_t n, int64_t ld, REAL *y)
{
    const REAL *values = (const REAL *)targets->values + row * targets->ld;
    for (int64_t j = targets->labels ? 0 : n / LANES * LANES; j < ld; j += LANES)
        store(y + j, splat(0));
    if (targets->labels)
        y[targets->labels[row]] = 1;
    else if (n < LANES) /* a call of memcpy takes longer */
        for (int64_t j = 0; j < n; j++)
            y[j] = values[j];
    else
        memcpy(y, values, (size_t)n * sizeof *y);
}

/* Label smoothing of y (n,): distribute the fraction `smoothing` of each target uniformly over the
 * classes, which are the n outputs or, for a binary cross-entropy, the 2 classes of each output. */
static void smooth_labels(int64_t n, REAL smoothing, int64_t classes, REAL *y)
{
    for (int64_t j = 0; j < n; j++)
        y[j] = y[j] * (1 - smoothing) + smoothing / (REAL)classes;
}

/* Return whether the head smooths labels. */
static int has_label_smoothing(const cmlp_head *head)
{
    const int is_cross_entropy =
        head->loss == LOSS_cross_entropy || head->loss == LOSS_binary_cross_entropy;
    return is_cross_entropy && head->parameter != 0;
}

/* Multiply the losses (m,) and the rows of D (m, ld) by the samples' weights.  `index` as in
 * gather. */
static void weigh_rows(const double *weights, const uint32_t *index, int64_t m, REAL *d,
                       int64_t ld, double *losses)
{
    for (int64_t i = 0; i < m; i++) {
        const double weight = weights[index ? index[i] : i];
        losses[i] *= weight;
        for (int64_t j = 0; j < ld; j += LANES)
            store(d + i * ld + j, load(d + i * ld + j) * (REAL)weight);
    }
}

/* Any head with a single output, whose targets are in d: the same operations as for several outputs,
 * on vectors of samples. */
static void compute_single_output_head(const cmlp_head *head, int64_t m, REAL scale, REAL *z,
                                       REAL *slopes, REAL *d, int64_t ld, double *losses)
{
    for (int64_t i = 0; i < m; i += HEAD_SAMPLES) {
        REAL a[HEAD_SAMPLES] __attribute__((aligned(CMLP_PAD))) = {0};
        REAL g[HEAD_SAMPLES] __attribute__((aligned(CMLP_PAD)));
        REAL loss[HEAD_SAMPLES] __attribute__((aligned(CMLP_PAD)));
        REAL slope[HEAD_SAMPLES] __attribute__((aligned(CMLP_PAD)));
        const int64_t samples = MIN(m - i, HEAD_SAMPLES);
        const int64_t width = (samples + LANES - 1) / LANES * LANES;
        for (int64_t j = 0; j < width; j++) {
            a[j] = j < samples ? z[(i + j) * ld] : 0;
            g[j] = j < samples ? d[(i + j) * ld] : 0;
        }
        activate(&head->activation, 1, width, width, a, width, slopes ? slope : NULL);
        single_output_losses(head, scale, width, a, g, loss);
        if (stores_slope(head->activation.kind))
            multiply(1, width, slope, width, g, width);
        else
            activate_backward(&head->activation, 1, width, a, width, g, width);
        for (int64_t j = 0; j < samples; j++) {
            z[(i + j) * ld] = a[j];
            d[(i + j) * ld] = g[j];
            losses[i + j] = loss[j];
        }
    }
}

/* The head without sample weights; arguments as in compute_head. */
static void compute_unweighted_head(const cmlp_head *head, const cmlp_targets *targets,
                                    const uint32_t *index, int64_t m, double scale_, void *z,
                                    void *slopes, void *d, int64_t ld, double *losses)
{
    const int64_t n = head->outputs;
    const REAL scale = (REAL)scale_;
    const int64_t classes = head->loss == LOSS_cross_entropy ? n : 2;
    const int smooths = has_label_smoothing(head);
    for (int64_t i = 0; i < m; i++) {
        load_targets(targets, index ? index[i] : i, head->targets, ld, (REAL *)d + i * ld);
        if (head->loss == LOSS_pinball)
            repeat_targets(head->targets, n, (REAL *)d + i * ld);
        if (smooths)
            smooth_labels(n, (REAL)head->parameter, classes, (REAL *)d + i * ld);
    }
    if (head->activation.kind == ACTIVATION_softmax && head->loss == LOSS_cross_entropy) {
        int64_t i = 0;
        for (; n <= NARROW_VECTORS * LANES && i + LANES <= m; i += LANES)
            softmax_cross_entropy_rows(n, scale, (REAL *)z + i * ld, (REAL *)d + i * ld, ld,
                                       losses + i);
        for (; i < m; i++)
            losses[i] = softmax_cross_entropy_row(n, scale, (REAL *)z + i * ld, (REAL *)d + i * ld);
        return;
    }
    if (head->activation.kind == ACTIVATION_sigmoid && head->loss == LOSS_binary_cross_entropy) {
        int64_t i = 0;
        for (; n <= NARROW_VECTORS * LANES && i + LANES <= m; i += LANES)
            sigmoid_binary_cross_entropy_rows(n, scale, (REAL *)z + i * ld, (REAL *)d + i * ld, ld,
                                              losses + i);
        for (; i < m; i++)
            losses[i] = sigmoid_binary_cross_entropy_row(n, scale, (REAL *)z + i * ld,
                                                         (REAL *)d + i * ld);
        return;
    }
    if (n == 1 && head->activation.kind != ACTIVATION_softmax) {
        compute_single_output_head(head, m, scale, z, slopes, d, ld, losses);
        return;
    }
    activate(&head->activation, m, ld, n, z, ld, slopes);
    for (int64_t i = 0; i < m; i++)
        losses[i] = output_loss_row(head, scale, (REAL *)z + i * ld, (REAL *)d + i * ld);
    if (stores_slope(head->activation.kind))
        multiply(m, ld, slopes, ld, d, ld);
    else
        activate_backward(&head->activation, m, ld, z, ld, d, ld);
}

/* The table's head: outputs, gradient and loss of m samples; see kernels.h. */
static void compute_head(const cmlp_head *head, const cmlp_targets *targets, const uint32_t *index,
                         int64_t m, double scale, void *z, void *slopes, void *d, int64_t ld,
                         double *losses)
{
    compute_unweighted_head(head, targets, index, m, scale, z, slopes, d, ld, losses);
    if (targets->weights)
        weigh_rows(targets->weights, index, m, d, ld, losses);
}

#endif
