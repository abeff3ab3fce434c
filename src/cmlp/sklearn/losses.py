"""The losses of the estimators: scikit-learn's names, and the losses of cmlp."""

from dataclasses import replace

import numpy as np
from sklearn.metrics import d2_pinball_score

from cmlp import losses
from cmlp.losses import LOSSES, Loss

# Names of the argument `loss` -> names in `cmlp.losses`. scikit-learn's have priority: its
# "poisson" is the deviance.
CLASSIFIER_LOSSES = {"log_loss": "cross_entropy"} | {
    name: name
    for name in ("cross_entropy", "binary_cross_entropy", "quadratic", "hinge", "squared_hinge")
}
REGRESSOR_LOSSES = {"squared_error": "quadratic", "poisson": "poisson_deviance"} | {
    name: name for name, loss in LOSSES.items() if not loss.has_class_targets and name != "poisson"
}

SMOOTHED = "cross_entropy", "binary_cross_entropy"  # the losses that have a label smoothing

# Activation of a network's last layer -> scikit-learn's `out_activation_`.
OUT_ACTIVATIONS = {"softmax": "softmax", "sigmoid": "logistic", "identity": "identity"}


def choose_class_loss(loss, label_smoothing, is_multiclass):
    """Return the loss of a classifier's network.

    Parameters
    ----------
    loss : str or cmlp.losses.Loss
        A key of `CLASSIFIER_LOSSES`, or one of these losses.
    label_smoothing : float
    is_multiclass : bool
        Whether there are several outputs, for classes that exclude each other. The cross-entropy of
        two classes, which have one output, and that of labels are the binary cross-entropy.

    Returns
    -------
    cmlp.losses.Loss

    Raises
    ------
    ValueError
        If the loss is not a key of `CLASSIFIER_LOSSES`, or `label_smoothing` does not suit it.
    """
    found = loss if isinstance(loss, Loss) else LOSSES[CLASSIFIER_LOSSES[loss]]
    if found.name not in CLASSIFIER_LOSSES:
        raise ValueError(
            f"loss must be one of {', '.join(CLASSIFIER_LOSSES)} for a classifier; "
            f"got {found.name!r}"
        )
    if label_smoothing:
        if found.name not in SMOOTHED or found.parameter:
            raise ValueError(
                "label_smoothing must be 0 unless loss is a cross-entropy without one; got "
                f"{label_smoothing!r} with loss={loss!r}"
            )
        found = replace(found, parameter=float(label_smoothing))
    if found.name == "cross_entropy" and not is_multiclass:
        return losses.binary_cross_entropy(found.parameter)
    return found


def choose_real_loss(loss, quantiles):
    """Return the loss of a regressor's network.

    Parameters
    ----------
    loss : str, cmlp.losses.Loss or callable
        A key of `REGRESSOR_LOSSES`, one of these losses or ``"poisson"`` of `cmlp.losses`, or a
        loss in Python as for `cmlp.Network`.
    quantiles : float or sequence of float
        Of ``"pinball"``. Several never cross.

    Returns
    -------
    cmlp.losses.Loss

    Raises
    ------
    TypeError, ValueError
        If the loss has classes as targets, or the quantiles are invalid or given for another loss.
    """
    is_pinball = isinstance(loss, str) and loss == "pinball"
    if not is_pinball and np.any(np.asarray(quantiles) != 0.5):
        raise ValueError(f"quantiles must be 0.5 unless loss='pinball'; got {quantiles!r}")
    if is_pinball:
        return losses.pinball(quantiles, non_crossing=np.ndim(quantiles) == 1)
    found = LOSSES[REGRESSOR_LOSSES[loss]] if isinstance(loss, str) else losses.resolve_loss(loss)
    if found.has_class_targets:
        raise ValueError(
            f"loss must be one of {', '.join(REGRESSOR_LOSSES)} for a regressor; got {found.name!r}"
        )
    return found


def has_scores(loss):
    """Return whether the outputs of a classifier with a loss are scores, not probabilities."""
    name = loss if isinstance(loss, str) else getattr(loss, "name", None)
    return name in LOSSES and LOSSES[name].scores


def is_averaged_over_outputs(loss):
    """Return whether scikit-learn averages a loss over the outputs, over which cmlp sums.

    Parameters
    ----------
    loss : str, cmlp.losses.Loss or callable
        The argument of a regressor.
    """
    if isinstance(loss, str):
        loss = LOSSES.get(REGRESSOR_LOSSES.get(loss, ""))
    return getattr(loss, "name", None) in ("quadratic", "poisson_deviance")


def split_quantiles(loss, predictions):
    """Return the predictions for each quantile, shape (quantiles, n_samples, n_targets)."""
    blocks = predictions.reshape(len(predictions), len(loss.quantiles), -1)
    return np.moveaxis(blocks, 1, 0)


def measure_quantiles(loss, y, predictions, sample_weight):
    """Return the mean over the quantiles of `sklearn.metrics.d2_pinball_score`.

    Parameters
    ----------
    loss : cmlp.losses.Loss
        `pinball`.
    y : ndarray, shape (n_samples,) or (n_samples, n_targets)
    predictions : ndarray
        As `predict` returns them.
    sample_weight : ndarray, shape (n_samples,), or None
    """
    y = np.asarray(y)
    scores = [
        d2_pinball_score(y, block.reshape(y.shape), sample_weight=sample_weight, alpha=quantile)
        for block, quantile in zip(
            split_quantiles(loss, predictions), loss.quantiles, strict=True
        )
    ]  # fmt: skip
    return float(np.mean(scores))
