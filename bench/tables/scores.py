"""Statistics over data sets and splits.

Errors are error rates (or 1 - AUC, or log loss) for classification and nRMSE for regression.

- Aggregate: the shifted geometric mean exp(mean(log(error + 0.01))) of the errors' means over
  splits, as in Holzmüller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and
  boosted trees on tabular data", NeurIPS 2024. The shift limits the weight of errors near 0.
- Over data sets: Wilcoxon's signed-rank test, which Demšar, "Statistical comparisons of classifiers
  over multiple data sets", JMLR 7, 2006, recommends for two classifiers. The data sets are the
  sample; splits of one data set are averaged first, as they are not independent. The differences
  are those of log(error + 0.01), so that error rates and nRMSE have a common scale. p values of
  several peers are adjusted with Holm's method.
- On one data set: the corrected resampled t test of Nadeau and Bengio, "Inference for the
  generalization error", Machine Learning 52, 2003, as the training sets of the splits overlap.
- Uncertainty of a ratio of aggregates: percentile bootstrap over data sets.
"""

from dataclasses import dataclass

import numpy as np

SHIFT = 0.01
BOOTSTRAP_SAMPLES = 10_000


@dataclass(frozen=True)
class Errors:
    """The errors of several peers on the same splits.

    Attributes
    ----------
    peers : list of str
    by_table : dict of str to ndarray
        Data set -> errors of shape (n_peers, n_splits). The number of splits may differ.
    """

    peers: list
    by_table: dict

    @property
    def means(self):
        """The means over splits, ndarray of shape (n_peers, n_tables)."""
        return np.column_stack([errors.mean(1) for errors in self.by_table.values()])

    def select(self, tables):
        """Return the errors on some of the data sets."""
        return Errors(self.peers, {table: self.by_table[table] for table in tables})


def collect_errors(results, peers, measure):
    """Return the errors on the splits that all peers have results of.

    Parameters
    ----------
    results : list of dict
        Results of fits with the same number of cores.
    peers : list of str
    measure : callable
        Takes a result and returns its error.

    Returns
    -------
    Errors
        Only of data sets with at least one common split.
    """
    found = {}
    for result in results:
        if result["peer"] in peers:
            splits = found.setdefault(result["table"], {})
            splits.setdefault(result["split"], {})[result["peer"]] = measure(result)
    by_table = {}
    for table, splits in found.items():
        common = [splits[s] for s in sorted(splits) if len(splits[s]) == len(peers)]
        if common:
            by_table[table] = np.array([[errors[peer] for errors in common] for peer in peers])
    return Errors(peers, by_table)


def compute_shifted_mean(errors):
    """Return the shifted geometric mean of errors over their last axis, the data sets."""
    return np.exp(np.log(errors + SHIFT).mean(-1))


def compute_mean_ranks(means):
    """Return the ranks of the peers, 1 for the lowest error, averaged over data sets.

    Peers with equal errors share the mean of their ranks.

    Parameters
    ----------
    means : ndarray, shape (n_peers, n_tables)
    """
    from scipy.stats import rankdata

    return rankdata(means, axis=0).mean(1)


def compute_p_over_tables(means, reference):
    """Return the p value of Wilcoxon's signed-rank test of two peers over data sets.

    Parameters
    ----------
    means, reference : ndarray, shape (n_tables,)
        Means over splits.

    Returns
    -------
    float
        Two-sided; 1 if all differences are 0. Ranks of zero differences are split evenly.
    """
    from scipy.stats import wilcoxon

    differences = np.log(means + SHIFT) - np.log(reference + SHIFT)
    if not differences.any():
        return 1.0
    return float(wilcoxon(differences, zero_method="zsplit").pvalue)


def compute_p_on_table(errors, reference, test_fraction):
    """Return the p value of the corrected resampled t test of two peers on one data set.

    Parameters
    ----------
    errors, reference : ndarray, shape (n_splits,)
    test_fraction : float
        Size of the test set divided by the size of the training set.

    Returns
    -------
    float
        Two-sided; 1 with fewer than two splits.
    """
    from scipy.stats import t

    differences = errors - reference
    n_splits = len(differences)
    if n_splits < 2 or not differences.any():
        return 1.0
    variance = (1 / n_splits + test_fraction) * differences.var(ddof=1)
    if variance == 0:
        return 0.0
    return float(2 * t.sf(abs(differences.mean()) / np.sqrt(variance), n_splits - 1))


def adjust_p_values(p_values):
    """Return p values of several tests, adjusted with Holm's method.

    Parameters
    ----------
    p_values : sequence of float
    """
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * factors))
    return adjusted


def bootstrap_ratio(means, reference, n_samples=BOOTSTRAP_SAMPLES):
    """Return the 95 % interval of the ratio of two peers' shifted geometric means.

    Parameters
    ----------
    means, reference : ndarray, shape (n_tables,)
    n_samples : int

    Returns
    -------
    low, high : float
    """
    log_ratios = np.log(means + SHIFT) - np.log(reference + SHIFT)
    rows = np.random.default_rng(0).integers(0, len(means), (n_samples, len(means)))
    low, high = np.quantile(log_ratios[rows].mean(1), [0.025, 0.975])
    return float(np.exp(low)), float(np.exp(high))


@dataclass(frozen=True)
class Comparison:
    """A peer against the reference, over data sets.

    Attributes
    ----------
    ratio : float
        Of the shifted geometric means; above 1 if the reference is better.
    interval : tuple of float
        95 % interval of `ratio`.
    p_value : float
        Not adjusted; see `adjust_p_values`.
    better, worse : int
        Number of data sets on which the peer has the lower or the higher mean error.
    clearly_better, clearly_worse : int
        Number of those with p < 0.05 on the data set.
    """

    ratio: float
    interval: tuple
    p_value: float
    better: int
    worse: int
    clearly_better: int
    clearly_worse: int


def compare(errors, peer, reference, test_fraction=0.25):
    """Return the `Comparison` of two peers.

    Parameters
    ----------
    errors : Errors
    peer, reference : str
    test_fraction : float, default 0.25
        See `compute_p_on_table`; 0.25 for a test set of 20 %.
    """
    i, r = errors.peers.index(peer), errors.peers.index(reference)
    means = errors.means
    signs = np.sign(means[i] - means[r])
    are_clear = np.array([
        compute_p_on_table(values[i], values[r], test_fraction) < 0.05
        for values in errors.by_table.values()
    ])  # fmt: skip
    return Comparison(
        ratio=float(compute_shifted_mean(means[i]) / compute_shifted_mean(means[r])),
        interval=bootstrap_ratio(means[i], means[r]),
        p_value=compute_p_over_tables(means[i], means[r]),
        better=int((signs < 0).sum()),
        worse=int((signs > 0).sum()),
        clearly_better=int((are_clear & (signs < 0)).sum()),
        clearly_worse=int((are_clear & (signs > 0)).sum()),
    )
