"""The quantity that chooses a network's best epoch, and the callback that keeps its parameters."""

import time

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

from cmlp._utils.validation import look_up
from cmlp.callbacks import Callback

# Metric -> metric of `fit` whose validation value is minimized after multiplication by the sign.
RECORDED = {"loss": ("loss", 1), "error": ("accuracy", -1), "rmse": ("mse", 1), "mae": ("mae", 1)}


def measure_error(codes, outputs, weights):
    """Return the fraction of wrong classes."""
    return np.average(outputs.argmax(1) != codes, weights=weights)


def measure_rmse(targets, outputs, weights):
    """Return the root of the mean squared error."""
    return np.sqrt(np.average(((outputs - targets) ** 2).mean(1), weights=weights))


def measure_mae(targets, outputs, weights):
    """Return the mean absolute error."""
    return np.average(np.abs(outputs - targets).mean(1), weights=weights)


def measure_log_loss(codes, outputs, weights):
    """Return the mean negative log-likelihood of the classes."""
    labels = np.arange(outputs.shape[1])
    exact = outputs.astype(np.float64)
    exact /= exact.sum(1, keepdims=True)
    return log_loss(codes, exact, sample_weight=weights, labels=labels)


def measure_auc(codes, outputs, weights):
    """Return minus the area under the ROC curve, one versus rest with several classes."""
    present = np.unique(codes)
    if len(present) < outputs.shape[1]:
        if len(present) < 2:
            return 0.0
        outputs = outputs[:, present] / outputs[:, present].sum(1, keepdims=True)
        codes = np.searchsorted(present, codes)
    if outputs.shape[1] == 2:
        return -roc_auc_score(codes, outputs[:, 1], sample_weight=weights)
    return -roc_auc_score(codes, outputs, sample_weight=weights, multi_class="ovr")


# Metric -> function of encoded targets, outputs and weights; smaller is better.
MEASURED = {
    "error": measure_error, "log_loss": measure_log_loss, "auc": measure_auc,
    "rmse": measure_rmse, "mae": measure_mae,
}  # fmt: skip

CLASS_METRICS, REAL_METRICS = ("error", "log_loss", "auc", "loss"), ("rmse", "mae", "loss")


def resolve_metric(val_metric, is_classifier, loss):
    """Return the validated metric that chooses the best epoch; None is the default.

    Parameters
    ----------
    val_metric : str or None
    is_classifier : bool
    loss : cmlp.losses.Loss

    Raises
    ------
    TypeError, ValueError
        If the metric is unknown or does not suit the loss.
    """
    allowed = CLASS_METRICS if is_classifier else REAL_METRICS
    is_point = is_classifier or not (loss.has_std or loss.name == "pinball")
    if not is_point:
        allowed = ("loss",)
    if val_metric is None:
        return allowed[0]
    look_up("val_metric", val_metric, dict.fromkeys(allowed))
    return val_metric


def is_measured(metric, weights):
    """Return whether a metric must be computed from outputs, as `fit` does not record it."""
    return metric not in RECORDED or (metric != "loss" and weights is not None)


def read_value(record, metric):
    """Return the value of a metric in an epoch's record; smaller is better."""
    name, sign = RECORDED.get(metric, (metric, 1))
    if f"val_{metric}" in record:
        name, sign = metric, -1 if metric == "auc" else 1
    return sign * record[f"val_{name}"]


def find_best_epoch(history, metric):
    """Return the last epoch with the best value, as `BestEpoch` chooses it."""
    values = [read_value(record, metric) for record in history.epochs]
    return len(values) - 1 - int(np.argmin(values[::-1]))


class BestEpoch(Callback):
    """Keeps the parameters of the last epoch with the best value, and may end training.

    Parameters
    ----------
    metric : str
        As `resolve_metric` returns it.
    validation : tuple (X, targets, weights) or None
        To measure the metric; None: it is read from the record of `fit`.
    patience : int or None
        Number of epochs without a value as good as the best after which training ends.
    seconds : float or None
        Time after which training ends, at the end of an epoch.
    stop_epoch : int or None
        The epoch after which training ends, and whose parameters are kept.
    threads : int or None
        Of predictions.

    Attributes
    ----------
    best : float
        The best value; smaller is better.
    best_epoch : int
    """

    def __init__(self, metric, validation=None, patience=None, seconds=None, stop_epoch=None,
                 threads=None):  # fmt: skip
        self.metric, self.validation, self.patience = metric, validation, patience
        self.seconds, self.stop_epoch, self.threads = seconds, stop_epoch, threads

    def on_train_begin(self, network):
        """Forget the best epoch."""
        self.best, self.best_epoch, self.snapshot = np.inf, -1, None
        self.start = time.monotonic()

    def compute(self, network, record):
        """Return the value of an epoch, and record it if it must be measured."""
        if self.validation is not None:
            X, targets, weights = self.validation
            value = MEASURED[self.metric](targets, network(X, threads=self.threads), weights)
            record[f"val_{self.metric}"] = abs(float(value))
        return read_value(record, self.metric)

    def on_epoch_end(self, network, epoch, record):
        """Compare the epoch with the best one; return whether to stop."""
        is_late = self.seconds is not None and time.monotonic() - self.start >= self.seconds
        if self.stop_epoch is not None:
            return is_late or epoch >= self.stop_epoch
        value = self.compute(network, record)
        if value <= self.best:  # the last of equal ones, as in pytabkit
            self.best, self.best_epoch, self.snapshot = value, epoch, network.state.snapshot()
        is_stuck = self.patience is not None and epoch - self.best_epoch > self.patience
        return is_late or is_stuck

    def on_train_end(self, network, history):
        """Restore the parameters of the best epoch."""
        if self.snapshot is not None:
            network.state.restore(self.snapshot)
        self.snapshot = None
