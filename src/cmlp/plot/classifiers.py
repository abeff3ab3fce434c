"""Plots of a classifier's predictions: the confusion matrix and the reliability diagram."""

import numpy as np

from cmlp._utils.validation import check_bool, check_integer, look_up
from cmlp.plot.figures import COLORS, fit_font_size, get_axes_size, make_axes, resolve_colors
from cmlp.plot.models import predict_classes, unwrap

# Value of `normalize` -> axis over which the fractions sum to 1.
NORMALIZED = {"true": 1, "pred": 0, "all": None}

# Size of a cell of a new figure, of everything else in its height, and its greatest height; inches.
CELL, MARGIN, LARGEST = 0.32, 1.6, 20.0

# Font size in points below which the numbers of cells are left out.
LEAST_FONT_SIZE = 4.0


def confusion_matrix(model, X, y, labels=None, normalize=None, *, cmap="Blues", colorbar=True,
                     ax=None):  # fmt: skip
    """Draw the number of samples of each class that are predicted as each class.

    Parameters
    ----------
    model : Network, QuantizedNetwork or classifier
        A network of the task binary or multiclass, or a fitted classifier with scikit-learn's
        attributes and methods.
    X : array_like, data frame or sparse matrix
        The samples, as `model` takes them.
    y : array_like, shape (n,)
        Their labels; for a network also one-hot rows.
    labels : sequence of str, optional
        Names of the classes, in the order of `classes_` or of the outputs.
    normalize : {"true", "pred", "all"}, optional
        Show fractions of the samples of each true class, of each predicted class, or of all
        samples; fractions of no samples are 0.
    cmap : str or matplotlib.colors.Colormap, default "Blues"
    colorbar : bool, default True
    ax : matplotlib.axes.Axes, optional
        By default the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Each row is a true class, each column a predicted one. Without space for them, cells have no
        numbers.

    Raises
    ------
    TypeError, ValueError
        If the model is not a classifier of single labels, or another argument is not one of the
        above.
    ImportError
        If Matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from cmlp import Network, plot
    >>> X, y = np.random.default_rng(0).random((90, 4)), np.arange(90) % 3
    >>> net = Network([4, 8, 3], loss="cross_entropy", seed=0)
    >>> ax = plot.confusion_matrix(net, X, y, labels=["red", "green", "blue"])
    >>> ax.get_xlabel()
    'predicted class'
    """
    if normalize is not None:
        look_up("normalize", normalize, NORMALIZED)
    check_bool("colorbar", colorbar)
    cmap = resolve_colors("confusion_matrix", cmap)
    found = predict_classes(model, X, y, labels)
    counts = count_pairs(found.true, found.predicted, len(found.classes))
    values = counts
    if normalize is not None:
        total = counts.sum(axis=NORMALIZED[normalize], keepdims=True)
        values = counts / np.maximum(total, 1)
    inches = min(LARGEST, MARGIN + CELL * len(counts))
    size = (inches + MARGIN, inches) if inches > 4.8 else None
    ax = make_axes("confusion_matrix", ax, size)
    image = ax.imshow(values, cmap=cmap, vmin=0,
                      vmax=1 if normalize in ("true", "pred") else None)  # fmt: skip
    write_cells(ax, image, values)
    label_classes(ax, found.names)
    accuracy = np.trace(counts) / counts.sum()
    ax.set_title(f"accuracy {accuracy:.2%} of {counts.sum():,} samples")
    if colorbar:
        name = "samples" if normalize is None else "fraction of samples"
        ax.get_figure(root=False).colorbar(image, ax=ax, label=name)
    return ax


def count_pairs(true, predicted, classes):
    """Return how often each pair of classes occurs, ndarray of int, shape (classes, classes)."""
    pairs = np.bincount(true * classes + predicted, minlength=classes**2)
    return pairs.reshape(classes, classes)


def write_cells(ax, image, values):
    """Write the value into each cell of an image, black or white, unless the font is too small."""
    texts = [f"{value:.2f}" if values.dtype.kind == "f" else str(value) for value in values.flat]
    # The colorbar and the labels take about a third of the width.
    cell = min(get_axes_size(ax)) / len(values) * 0.8
    size = fit_font_size(cell, max(map(len, texts)))
    if size < LEAST_FONT_SIZE:
        return
    colors = image.cmap(image.norm(values)).reshape(-1, 4)
    for i, (text, color) in enumerate(zip(texts, colors, strict=True)):
        row, column = divmod(i, len(values))
        ax.text(column, row, text, ha="center", va="center", fontsize=size,
                color="white" if is_dark(color) else "black")  # fmt: skip


def is_dark(color):
    """Return whether white contrasts more with a color (r, g, b, a) than black does.

    By the relative luminance of WCAG 2.2, at which both contrasts are equal if it is 0.179.
    """
    rgb = np.asarray(color[:3])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722] < 0.179


def label_classes(ax, names):
    """Name the classes on both axes; long names of columns are rotated."""
    ticks = range(len(names))
    width, _ = get_axes_size(ax)
    size = fit_font_size(0.8 * width / len(names), 1)
    is_wide = 0.6 * size * max(map(len, names)) * len(names) > 0.7 * width
    ax.set_xticks(ticks, names, fontsize=size, rotation=45 if is_wide else 0,
                  ha="right" if is_wide else "center", rotation_mode="anchor")  # fmt: skip
    ax.set_yticks(ticks, names, fontsize=size)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")


def calibration_curve(model, X, y, n_bins=10, *, strategy="uniform", pos_label=None, label=None,
                      histogram=True, ax=None):  # fmt: skip
    """Draw a reliability diagram: how often predictions of each confidence are right.

    With two classes, the confidence is the probability of the second one, and the diagram shows the
    fraction of the samples of that class. With several, it is the probability of the predicted
    class, and the diagram shows the accuracy. Below it is a histogram of the confidences.

    The legend states the expected calibration error: the mean over the bins, weighted by their
    number of samples, of the distance between mean confidence and accuracy. Guo et al., "On
    calibration of modern neural networks", ICML 2017, arXiv:1706.04599, section 2.

    Parameters
    ----------
    model : Network, QuantizedNetwork or classifier
        As in `confusion_matrix`, with probabilities.
    X, y : array_like
        As in `confusion_matrix`.
    n_bins : int, default 10
        Number of intervals of confidences.
    strategy : {"uniform", "quantile"}, default "uniform"
        Whether the intervals have the same width or, up to ties, the same number of samples.
    pos_label : object, optional
        A class: the confidence is its probability, also if there are several classes. For a
        network, the index of the class.
    label : str, optional
        Name of the line in the legend; by default the class of the network or of the estimator.
    histogram : bool, default True
        Whether to draw the histogram, into axes for which `ax` becomes smaller.
    ax : matplotlib.axes.Axes, optional
        By default the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes of the diagram.

    Raises
    ------
    TypeError, ValueError
        If the model has no probabilities of classes, or another argument is not one of the above.
    ImportError
        If Matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from cmlp import Network, plot
    >>> X, y = np.random.default_rng(0).random((90, 4)), np.arange(90) % 3
    >>> net = Network([4, 8, 3], loss="cross_entropy", seed=0)
    >>> plot.calibration_curve(net, X, y, n_bins=5).get_ylabel()
    'accuracy'
    """
    n_bins = check_integer("n_bins", n_bins, 1, 10_000)
    look_up("strategy", strategy, {"uniform": None, "quantile": None})
    check_bool("histogram", histogram)
    found = predict_classes(model, X, y, with_probabilities=True)
    confidence, is_right, names = select_confidences(found, pos_label)
    edges = np.linspace(0, 1, n_bins + 1)
    if strategy == "quantile" and np.ptp(confidence) > 0:
        edges = np.unique(np.quantile(confidence, edges))
    counts, means, rates = average_bins(confidence, is_right, edges)
    error = counts / counts.sum() @ np.abs(means - rates)
    label = type(unwrap(model)).__name__ if label is None else label
    ax = make_axes("calibration_curve", ax)
    color = COLORS[sum(line.get_marker() == "o" for line in ax.get_lines()) % len(COLORS)]
    if color == COLORS[0]:
        ax.plot([0, 1], [0, 1], ":", color="gray", label="perfect calibration")
    has_samples = counts > 0
    ax.plot(means[has_samples], rates[has_samples], "o-", color=color,
            label=f"{label} (ECE {error:.4f})")  # fmt: skip
    ax.set(xlabel=names[0], ylabel=names[1], xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.legend()
    if histogram:
        draw_histogram(ax, counts, edges, color)
    return ax


def select_confidences(found, pos_label):
    """Return the confidences, whether each prediction is right, and the names of both axes.

    Parameters
    ----------
    found : ClassPredictions
    pos_label : object
        As in `calibration_curve`.

    Returns
    -------
    confidence : ndarray of float64, shape (n,)
    is_right : ndarray of bool, shape (n,)
    names : tuple (str, str)

    Raises
    ------
    ValueError
        If `pos_label` is not a class.
    """
    if pos_label is None and len(found.classes) != 2:
        confidence = found.probabilities[np.arange(len(found.true)), found.predicted]
        return confidence.clip(0, 1), found.predicted == found.true, ("confidence", "accuracy")
    positive = 1
    if pos_label is not None:
        if pos_label not in found.classes:
            raise ValueError(
                f"pos_label must be one of {', '.join(map(repr, found.classes))}; got {pos_label!r}"
            )
        positive = found.classes.index(pos_label)
    name = found.names[positive]
    names = f"probability of class {name}", f"fraction of class {name}"
    return found.probabilities[:, positive].clip(0, 1), found.true == positive, names


def average_bins(confidence, is_right, edges):
    """Return the number of samples, the mean confidence and the accuracy of each interval.

    An interval includes its upper end, the first one both; means of no samples are 0.
    """
    index = np.searchsorted(edges[1:-1], confidence)
    counts, *sums = (
        np.bincount(index, weights, len(edges) - 1) for weights in (None, confidence, is_right)
    )
    return counts, *(each / np.maximum(counts, 1) for each in sums)


def draw_histogram(ax, counts, edges, color):
    """Draw the fraction of the samples in each interval below axes, which become smaller."""
    figure, spec = ax.get_figure(root=False), ax.get_subplotspec()
    if spec is None:
        box = ax.get_position()
        ax.set_position([box.x0, box.y0 + 0.3 * box.height, box.width, 0.7 * box.height])
        below = figure.add_axes([box.x0, box.y0, box.width, 0.22 * box.height], sharex=ax)
    else:
        upper, lower = spec.subgridspec(2, 1, height_ratios=(3, 1), hspace=0.12)
        ax.set_subplotspec(upper)
        below = figure.add_subplot(lower, sharex=ax)
    below.bar(edges[:-1], counts / counts.sum(), np.diff(edges), align="edge", color=color,
              edgecolor="white", linewidth=0.5)  # fmt: skip
    below.set(xlabel=ax.get_xlabel(), ylabel="samples")
    below.yaxis.set_major_formatter("{x:.0%}")
    ax.set_xlabel("")
    ax.tick_params(labelbottom=False)
