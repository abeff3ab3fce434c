/* Losses whose outputs describe the distribution of the targets: blocks of `targets` outputs, one
 * for each parameter of the distribution.  losses.h has the losses of single outputs.
 */
#ifndef CMLP_DISTRIBUTION_LOSSES_H
#define CMLP_DISTRIBUTION_LOSSES_H

#include <math.h>
#include <string.h>

#include "functions.h"
#include "kernels.h"

/* `count` numbers at any address; the other lanes are 0. */
INLINE V load_some(const REAL *p, int64_t count)
{
    V v = splat(0);
    memcpy(&v, p, (size_t)count * sizeof *p);
    return v;
}

/* Write the first `count` lanes. */
INLINE void store_some(REAL *p, int64_t count, V v) { memcpy(p, &v, (size_t)count * sizeof *p); }

/* Negative log-likelihood of normal distributions (Nix and Weigend, "Estimating the mean and
 * variance of the target probability distribution", ICNN 1994), without its constant.
 *
 * z (2 * targets,): the means, then logarithms s whose variances are exp(s) + epsilon.  d: targets
 * in, `scale` times the gradient with respect to z out.  Returns the mean over the targets of
 * (log(variance) + (mean - y)^2 / variance) / 2.  log(variance) = max(s, log epsilon) +
 * log(1 + exp(-|s - log epsilon|)) never overflows, and its derivative with respect to s,
 * exp(s) / variance, is a sigmoid. */
static double gaussian_nll_row(int64_t targets, REAL epsilon, REAL scale, const REAL *z, REAL *d)
{
    const REAL least = (REAL)log((double)epsilon), factor = scale / (REAL)targets;
    V losses = splat(0);
    for (int64_t j = 0; j < targets; j += LANES) {
        const int64_t count = targets - j < LANES ? targets - j : LANES;
        const V s = load_some(z + targets + j, count);
        const V error = load_some(z + j, count) - load_some(d + j, count);
        const V log_variance = v_max(s, splat(least)) + v_log1p(v_exp(-v_abs(s - least)));
        const V scaled = error * v_exp(-log_variance), square = error * scaled;
        losses += mask_columns((log_variance + square) * (REAL)0.5, j, targets, 0);
        store_some(d + j, count, scaled * factor);
        store_some(d + targets + j, count,
                   (1 - square) * v_sigmoid(s - least) * ((REAL)0.5 * factor));
    }
    return sum_lanes(losses) / (REAL)targets;
}

/* Repeat the targets of one sample, y (targets,), for each block of its n outputs. */
static void repeat_targets(int64_t targets, int64_t n, REAL *y)
{
    for (int64_t j = targets; j < n; j++)
        y[j] = y[j - targets];
}

/* Pinball loss of quantiles that do not cross: the first block of outputs z are the lowest
 * quantiles, and each further block adds softplus(z) to the quantiles before it (Park et al.,
 * "Learning quantile functions without quantile crossing for distribution-free time series
 * forecasting", AISTATS 2022).
 *
 * z (outputs,): outputs.  d: targets in, `scale` times the gradient with respect to z out.  Returns
 * the mean loss over the outputs. */
static double non_crossing_pinball_row(const cmlp_head *head, REAL scale, const REAL *z, REAL *d)
{
    const int64_t n = head->outputs, targets = head->targets;
    const REAL *levels = head->levels;
    REAL loss = 0;
    for (int64_t j = 0; j < n; j += LANES) { /* d: quantile - target */
        const V increments = v_softplus(load(z + j));
        for (int64_t i = j; i < j + LANES && i < n; i++)
            d[i] = i < targets ? z[i] - d[i] : d[i - targets] + increments[i - j];
    }
    for (int64_t i = n - 1; i >= 0; i--) { /* d: gradient with respect to the increment */
        const REAL slope = d[i] > 0 ? 1 - levels[i] : d[i] < 0 ? -levels[i] : 0;
        loss += d[i] > 0 ? (1 - levels[i]) * d[i] : -levels[i] * d[i];
        d[i] = slope + (i + targets < n ? d[i + targets] : 0);
    }
    for (int64_t j = 0; j < n; j += LANES) {
        const V is_lowest = mask_columns(splat(1), j, targets, 0);
        const V slope = is_lowest + (1 - is_lowest) * v_sigmoid(load(z + j));
        store(d + j, mask_columns(load(d + j) * slope * (scale / (REAL)n), j, n, 0));
    }
    return loss / (REAL)n;
}

#endif
