/* The sums over samples from which metrics.py computes metrics. */
#ifndef CMLP_METRICS_H
#define CMLP_METRICS_H

#include "activations.h"
#include "kernels.h"
#include "losses.h"

/* Return the index of the maximum of x (n,), as np.argmax: of the first of equal elements, or of
 * the first NaN. */
static int64_t find_max(const REAL *x, int64_t n)
{
    int64_t best = 0;
    for (int64_t j = 1; j < n; j++)
        if (x[j] > x[best] || (isnan(x[j]) && !isnan(x[best])))
            best = j;
    return best;
}

/* Return the number of classes other than `truth` whose output is at least that of `truth`: its
 * rank if ties count against it.  Return n if an output is NaN. */
static int64_t find_rank(const REAL *a, int64_t n, int64_t truth)
{
    int64_t rank = -1; /* `truth` itself is counted */
    for (int64_t j = 0; j < n; j++) {
        if (isnan(a[j]))
            return n;
        rank += a[j] >= a[truth];
    }
    return rank;
}

/* Add one sample of a classifier with n outputs a (n,); with a single output, class 1 is predicted
 * if it reaches the threshold.  A rank of n, for NaN, is in none of the sums. */
static void add_class(const cmlp_targets *targets, int64_t row, int64_t n, REAL threshold,
                      const REAL *a, cmlp_metric_sums *sums)
{
    const REAL *y = targets->values ? (const REAL *)targets->values + row * targets->ld : NULL;
    int64_t truth, answer, rank;
    if (n > 1) {
        truth = targets->labels ? targets->labels[row] : find_max(y, n);
        answer = find_max(a, n);
        rank = find_rank(a, n, truth);
    } else {
        truth = y[0] >= (REAL)0.5;
        answer = a[0] >= threshold;
        rank = truth != answer;
    }
    sums->hits[truth] += truth == answer;
    sums->predicted[answer] += 1;
    sums->actual[truth] += 1;
    if (n == 1 || rank < n)
        sums->ranks[rank] += 1;
}

/* Add one sample with outputs a (n,); a label is predicted if its output reaches the threshold. */
static void add_labels(const cmlp_targets *targets, int64_t row, int64_t n, REAL threshold,
                       const REAL *a, cmlp_metric_sums *sums)
{
    const REAL *y = targets->values ? (const REAL *)targets->values + row * targets->ld : NULL;
    int64_t hits = 0, predicted = 0, actual = 0;
    for (int64_t j = 0; j < n; j++) {
        const int64_t truth = y ? y[j] >= (REAL)0.5 : targets->labels[row] == j;
        const int64_t answer = a[j] >= threshold;
        sums->hits[j] += (double)(truth & answer);
        sums->predicted[j] += (double)answer;
        sums->actual[j] += (double)truth;
        hits += truth & answer;
        predicted += answer;
        actual += truth;
    }
    sums->exact[0] += hits == predicted && hits == actual;
    if (hits > 0) {
        sums->sample_precision[0] += (double)hits / (double)predicted;
        sums->sample_recall[0] += (double)hits / (double)actual;
        sums->sample_f1[0] += 2 * (double)hits / (double)(predicted + actual);
    }
}

/* Return the prediction of target j of a regressor with the outputs a.  A loss in Python has the
 * code -1 and no log link. */
static double get_prediction(const cmlp_head *head, const REAL *a, int64_t j)
{
    double out = (double)a[(head->non_crossing ? 0 : head->point) * head->targets + j];
    for (int64_t block = 1; head->non_crossing && block <= head->point; block++) {
        const double z = (double)a[block * head->targets + j];
        out += fmax(z, 0) + log1p(exp(-fabs(z)));
    }
    return head->loss >= 0 && loss_infos[head->loss].log_link ? exp(out) : out;
}

/* Add one sample of a regressor with the outputs a. */
static void add_values(const cmlp_head *head, const cmlp_targets *targets, int64_t row,
                       const REAL *a, cmlp_metric_sums *sums)
{
    for (int64_t j = 0; j < head->targets; j++) {
        const double out = get_prediction(head, a, j);
        const double y = targets->labels
                             ? targets->labels[row] == j
                             : (double)((const REAL *)targets->values)[row * targets->ld + j];
        if (sums->samples == 0)
            sums->first[j] = y;
        sums->target[j] += y - sums->first[j];
        sums->target_square[j] += (y - sums->first[j]) * (y - sums->first[j]);
        sums->error[j] += fabs(y - out);
        sums->error_square[j] += (y - out) * (y - out);
    }
}

/* Add the outputs A (m, outputs), leading dimension ld, of m samples.  `index` as in gather. */
static void accumulate_metrics(const cmlp_head *head, const cmlp_targets *targets,
                               const uint32_t *index, int64_t m, const void *a_, int64_t ld,
                               cmlp_metric_sums *sums)
{
    const REAL *a = a_;
    const REAL threshold = (REAL)activation_infos[head->activation.kind].threshold;
    for (int64_t i = 0; i < m; i++) {
        const int64_t row = index ? index[i] : i;
        if (sums->exact)
            add_labels(targets, row, head->outputs, threshold, a + i * ld, sums);
        else if (sums->hits)
            add_class(targets, row, head->outputs, threshold, a + i * ld, sums);
        else
            add_values(head, targets, row, a + i * ld, sums);
        sums->samples += 1;
    }
}

#endif
