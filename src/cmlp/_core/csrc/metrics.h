/* What metrics are made of: sums over samples, which metrics.py turns into numbers. */
#ifndef CMLP_METRICS_H
#define CMLP_METRICS_H

#include "kernels.h"
#include "simd.h"

/* The place of the greatest of n; the first of equals. */
static int64_t greatest(const REAL *x, int64_t n)
{
    int64_t best = 0;
    for (int64_t j = 1; j < n; j++)
        if (x[j] > x[best])
            best = j;
    return best;
}

/* A sample of several classes, or of one output, which answers yes from `limit` on. */
static void tally_class(const cmlp_targets *targets, int64_t row, int64_t n, REAL limit,
                        const REAL *a, cmlp_tally *tally)
{
    const REAL *y = targets->values ? (const REAL *)targets->values + row * targets->ld : NULL;
    int64_t truth, answer, rank = 0;
    if (n > 1) {
        truth = targets->labels ? targets->labels[row] : greatest(y, n);
        answer = greatest(a, n);
        for (int64_t j = 0; j < n; j++)
            rank += a[j] > a[truth];
    } else {
        truth = y[0] >= (REAL)0.5;
        answer = a[0] >= limit;
        rank = truth != answer;
    }
    tally->hits[truth] += truth == answer;
    tally->predicted[answer] += 1;
    tally->actual[truth] += 1;
    tally->ranks[rank] += 1;
}

static void tally_reals(const cmlp_targets *targets, int64_t row, int64_t n, int logarithm,
                        const REAL *a, cmlp_tally *tally)
{
    for (int64_t j = 0; j < n; j++) {
        const double out = logarithm ? exp((double)a[j]) : (double)a[j];
        const double y = targets->labels
                             ? targets->labels[row] == j
                             : (double)((const REAL *)targets->values)[row * targets->ld + j];
        if (tally->samples == 0)
            tally->first[j] = y;
        tally->target[j] += y - tally->first[j];
        tally->target_square[j] += (y - tally->first[j]) * (y - tally->first[j]);
        tally->error[j] += fabs(y - out);
        tally->error_square[j] += (y - out) * (y - out);
    }
}

static int is_logarithm(int32_t loss)
{
    return loss == LOSS_poisson || loss == LOSS_poisson_deviance;
}

static void tally(const cmlp_head *head, const cmlp_targets *targets, const uint32_t *index,
                  int64_t m, const void *a_, int64_t ld, cmlp_tally *tally)
{
    const REAL *a = a_;
    const REAL limit = head->activation.kind == ACTIVATION_sigmoid ? (REAL)0.5 : 0;
    for (int64_t i = 0; i < m; i++) {
        const int64_t row = index ? index[i] : i;
        if (tally->hits)
            tally_class(targets, row, head->outputs, limit, a + i * ld, tally);
        else
            tally_reals(targets, row, head->outputs, is_logarithm(head->loss), a + i * ld, tally);
        tally->samples += 1;
    }
}

#endif
