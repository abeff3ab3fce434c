"""Accuracy and R^2 as sums over partitions, which are added in the order of the partitions.

The sums of a partition are a tuple (weight, mean, square, error) of float64 arrays with one element
for each output: the sum of the weights, the weighted mean of the targets, the weighted sum of their
squared deviations from it, and the weighted sum of squared errors. Means and squares are merged as
in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
variances", 1979, because a difference of large sums would lose digits. For a classifier, `error` is
the weight of the samples that are wrong and the other two are 0.
"""

from dataclasses import dataclass

import numpy as np

from cmlp._training.evaluation import evaluate
from cmlp.tabular.best_epoch import MEASURED, measure_auc


@dataclass(frozen=True)
class EstimatorScore:
    """Accuracy or R^2 of a replica on the rows that the partitions hold out.

    Attributes
    ----------
    is_classifier : bool
    """

    is_classifier: bool

    def measure(self, state, partition, threads):
        """Return the sums of a partition for the outputs of a `ModelState`."""
        rows, weights = partition.held_out, partition.sample_weight
        return measure_outputs(
            state.architecture, self.is_classifier, compute_held_out(state, partition, threads),
            partition.target_array[rows], None if weights is None else weights[rows],
        )  # fmt: skip

    def combine(self, parts):
        """Return the score of the sums of the partitions."""
        return compute_score(parts, self.is_classifier)


@dataclass(frozen=True)
class ValidationValue:
    """A metric of `cmlp.tabular` on the rows that the partitions hold out; smaller is better.

    Attributes
    ----------
    metric : str
        As for `BestEpoch`.
    """

    metric: str

    def measure(self, state, partition, threads):
        """Return weight and mean of a partition, or all that the AUC depends on."""
        rows, weights = partition.held_out, partition.sample_weight
        weights = np.ones(len(rows)) if weights is None else weights[rows]
        if not weights.any():
            return None
        if self.metric == "loss":
            parts = partition.rows, partition.targets
            loss, _, _ = evaluate(state, *parts, None, rows, (), threads)
            return weights.sum(), loss
        outputs, targets = compute_held_out(state, partition, threads), partition.target_array[rows]
        if self.metric == "auc":
            return targets, outputs, weights
        if not np.isfinite(outputs).all():
            return weights.sum(), np.nan  # training is about to diverge
        value = MEASURED[self.metric](targets, outputs, weights)
        return weights.sum(), value**2 if self.metric == "rmse" else value

    def combine(self, parts):
        """Return the metric over all partitions."""
        if not parts:
            raise ValueError("sample_weight must be positive for some row that is held out")
        if self.metric == "auc":
            targets, outputs, weights = map(np.concatenate, zip(*parts, strict=True))
            is_finite = np.isfinite(outputs).all()
            return float(measure_auc(targets, outputs, weights)) if is_finite else np.nan
        weights, values = np.array(parts).T
        mean = float(np.average(values, weights=weights))
        return mean**0.5 if self.metric == "rmse" else mean


def compute_held_out(state, partition, threads):
    """Return the outputs of a `ModelState` for the rows that a partition holds out."""
    architecture = state.architecture
    outputs = np.empty((len(partition.held_out), architecture.outputs), architecture.dtype)
    state.program.infer(partition.rows, None, partition.held_out, outputs, threads)
    return outputs


def measure_outputs(architecture, is_classifier, outputs, targets, weights):
    """Return the sums of a partition.

    Parameters
    ----------
    architecture : Architecture
    is_classifier : bool
    outputs : ndarray, shape (n, n_outputs)
    targets : ndarray
        Labels (n,), or values (n, n_outputs).
    weights : ndarray of float64, shape (n,), or None
    """
    if not np.isfinite(outputs).all():
        return (np.array([np.nan]),) * 4  # training is about to diverge
    if not is_classifier:
        predictions = architecture.loss.predict(outputs)
        return measure_predictions(predictions, targets, weights, is_classifier=False)
    if targets.ndim == 1:
        return measure_predictions(outputs.argmax(axis=1), targets, weights)
    is_member = outputs > architecture.decision_threshold
    return measure_predictions(is_member, targets > 0.5, weights)


def measure_predictions(predictions, targets, weights, is_classifier=True):
    """Return the sums of a partition for predictions in the form of the targets."""
    weights = np.ones(len(targets)) if weights is None else weights
    if is_classifier:
        is_wrong = predictions != targets
        if is_wrong.ndim == 2:
            is_wrong = is_wrong.any(axis=1)
        zero = np.zeros(1)
        return np.array([weights.sum()]), zero, zero, np.array([weights[is_wrong].sum()])
    y = targets.astype(np.float64).reshape(len(targets), -1)
    residuals = y - predictions.reshape(y.shape)
    total = weights.sum()
    mean = weights @ y / total if total else np.zeros(y.shape[1])
    return np.full(y.shape[1], total), mean, weights @ (y - mean) ** 2, weights @ residuals**2


def merge_sums(parts):
    """Return the sums of all partitions; those that are None have no samples."""
    parts = [part for part in parts if part is not None]
    weight, mean, square, error = parts[0]
    for other_weight, other_mean, other_square, other_error in parts[1:]:
        total = weight + other_weight
        share = np.divide(other_weight, total, out=np.zeros_like(total), where=total != 0)
        delta = other_mean - mean
        mean = mean + delta * share
        square = square + other_square + delta**2 * weight * share
        weight, error = total, error + other_error
    return weight, mean, square, error


def compute_score(parts, is_classifier):
    """Return the accuracy, or the mean R^2 of the outputs, as scikit-learn defines them.

    Parameters
    ----------
    parts : list of tuple
        The sums of the partitions.
    is_classifier : bool

    Returns
    -------
    float
        NaN if outputs were not finite.
    """
    weight, _, square, error = merge_sums(parts)
    if np.isnan(error).any():
        return float("nan")
    if is_classifier:
        return float((weight[0] - error[0]) / weight[0])
    # Constant targets: 1 if all predictions are right, else 0, as in r2_score.
    constant = np.where(error == 0, 1.0, 0.0)
    safe = np.where(square == 0, 1.0, square)
    return float(np.where(square == 0, constant, 1 - error / safe).mean())
