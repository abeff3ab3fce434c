"""Plots of a regressor's predictions."""

import numpy as np

from cmlp._utils.validation import check_integer, look_up, to_list
from cmlp.plot.figures import COLORS, make_axes
from cmlp.plot.models import predict_values

KINDS = {"actual_vs_predicted": "true value", "residual_vs_predicted": "true - predicted value"}


def residuals(model, X, y, *, kind="actual_vs_predicted", labels=None, subsample=2000, ax=None):
    """Draw the true values, or the errors, of a regressor against its predictions.

    Parameters
    ----------
    model : Network, QuantizedNetwork or regressor
        A network of the task regression, or a fitted regressor with scikit-learn's methods.
    X : array_like, data frame or sparse matrix
        The samples, as `model` takes them.
    y : array_like, shape (n,) or (n, n_targets)
    kind : {"actual_vs_predicted", "residual_vs_predicted"}, default "actual_vs_predicted"
        Whether the y-axis shows the true values or the residuals, true minus predicted values.
    labels : sequence of str, optional
        Names of the targets.
    subsample : int or None, default 2000
        Maximum number of samples that are drawn; a random selection that is always the same. None
        draws all.
    ax : matplotlib.axes.Axes, optional
        By default the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The title states R^2, the mean over the targets, and the root of the mean squared error, of
        all samples.

    Raises
    ------
    TypeError, ValueError
        If the model is not a regressor that predicts one value of each target, or another argument
        is not one of the above.
    ImportError
        If Matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from cmlp import Network, plot
    >>> X = np.random.default_rng(0).random((90, 4))
    >>> net = Network([4, 8, 1], activation="relu", loss="mse", seed=0)
    >>> plot.residuals(net, X, X[:, 0]).get_xlabel()
    'predicted value'
    """
    look_up("kind", kind, KINDS)
    if subsample is not None:
        subsample = check_integer("subsample", subsample)
    true, predicted = predict_values(model, X, y)
    n_samples, n_targets = true.shape
    names = [f"target {i}" for i in range(n_targets)]
    if labels is not None:
        names = [str(label) for label in to_list("labels", labels, "names")]
        if len(names) != n_targets:
            raise ValueError(
                f"labels must be {n_targets} names, one for each target; got {len(names)}"
            )
    error = true - predicted
    shown = slice(None)
    if subsample is not None and subsample < n_samples:
        shown = np.sort(np.random.default_rng(0).choice(n_samples, subsample, replace=False))
    ax = make_axes("residuals", ax)
    values = true if kind == "actual_vs_predicted" else error
    size = 20 if len(values[shown]) <= 500 else 8
    for i, name in enumerate(names):
        ax.scatter(predicted[shown, i], values[shown, i], size, COLORS[i % len(COLORS)],
                   alpha=0.5, linewidths=0, label=name)  # fmt: skip
    if kind == "actual_vs_predicted":
        ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
        ax.plot(ends, ends, ":", color="gray")
        ax.set_aspect("equal", adjustable="datalim")
    else:
        ax.axhline(0, linestyle=":", color="gray")
    r2, rmse = compute_r2(true, error), np.sqrt((error**2).mean())
    ax.set(xlabel="predicted value", ylabel=KINDS[kind], title=f"R² {r2:.4f}, RMSE {rmse:.4g}")
    if n_targets > 1 or labels is not None:
        ax.legend()
    return ax


def compute_r2(true, error):
    """Return the mean over the targets of R^2, that of `cmlp.metrics`."""
    total = ((true - true.mean(axis=0)) ** 2).sum(axis=0)
    squares = (error**2).sum(axis=0)
    of_constant = np.where(squares == 0, 1.0, 0.0)
    return np.where(total > 0, 1 - squares / np.where(total > 0, total, 1), of_constant).mean()
