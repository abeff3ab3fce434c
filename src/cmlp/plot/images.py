"""Images: weights of the first layer, and samples that a classifier confuses."""

import math

import numpy as np

from cmlp._utils.validation import check_bool, check_integer, check_positive, to_list
from cmlp.plot.figures import fit_font_size, get_axes_size, make_grid, resolve_colors
from cmlp.plot.models import get_network, predict_classes
from cmlp.quantized import QuantizedNetwork

# Number of units whose weights are drawn unless `units` selects some.
MAX_UNITS = 64


def first_layer_weights(model, shape=(28, 28), units=None, *, cmap="RdBu_r", limit=None,
                        colorbar=True, axes=None):  # fmt: skip
    """Draw the weights of units of the first layer as images, all with the same colors.

    Parameters
    ----------
    model : Network, QuantizedNetwork or fitted estimator of cmlp
        Without input layers. Of several networks the first one is drawn, and integers as the
        numbers that they stand for.
    shape : tuple (height, width), default (28, 28)
        Of an image; each of its pixels is an input of the network.
    units : sequence of int, optional
        Indices of the units. By default all or, of more than 64, the 64 whose weights have the
        greatest Euclidean norm, in ascending order of the indices.
    cmap : str or matplotlib.colors.Colormap, default "RdBu_r"
        Diverging: its center is the color of 0.
    limit : float, optional
        The colors are those of the numbers from -limit to limit; by default 99.5% of the weights
        that are drawn are between. The others have the color of the nearest limit.
    colorbar : bool, default True
    axes : array_like of matplotlib.axes.Axes, optional
        At least one for each image; by default a grid in a new figure.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        Those that have no image are invisible. A new figure has a title.

    Raises
    ------
    TypeError, ValueError
        If the network has input layers or weights that are not finite, or an argument is not one of
        the above.
    ImportError
        If Matplotlib is not installed.

    Examples
    --------
    >>> from cmlp import Network, plot
    >>> net = Network([64, 9, 10], activation="relu", loss="cross_entropy", seed=0)
    >>> plot.first_layer_weights(net, shape=(8, 8)).shape
    (3, 3)
    """
    check_bool("colorbar", colorbar)
    cmap = resolve_colors("first_layer_weights", cmap)
    network = get_network(model)
    if network.state.architecture.encoders:
        raise ValueError(
            "model must have no input layers, whose outputs are not the pixels of an image; "
            f"got {len(network.state.architecture.encoders)}"
        )
    weight = read_weights(network)
    shape = check_shape(shape, weight.shape[1], allows_colors=False)
    if not np.isfinite(weight).all():
        raise ValueError("model must have finite weights; got NaN or infinity")
    units = choose_units(weight, units)
    if limit is None:
        sizes = np.abs(weight[units])
        limit = float(np.quantile(sizes, 0.995)) or float(sizes.max()) or 1.0
    check_positive("limit", limit)
    is_new, axes = axes is None, make_grid("first_layer_weights", axes, len(units))
    for ax, unit in zip(axes.flat, units, strict=False):
        image = ax.imshow(weight[unit].reshape(shape), cmap=cmap, vmin=-limit, vmax=limit)
    figure = axes.flat[0].get_figure(root=False)
    if is_new:
        number = "all" if len(units) == len(weight) else f"{len(units)} of"
        figure.suptitle(f"weights of {number} {len(weight)} units")
    if colorbar:
        is_clipped = np.abs(weight[units]).max() > limit
        figure.colorbar(image, ax=axes.ravel().tolist(), label="weight",
                        extend="both" if is_clipped else "neither")  # fmt: skip
    return axes


def read_weights(network):
    """Return the weights of the first layer, ndarray, shape (units, inputs)."""
    if isinstance(network, QuantizedNetwork):
        first = network.layers[0]
        return first.weight * first.weight_scale[:, None]
    return network.weight[0]


def choose_units(weight, units):
    """Return the indices of units as a list; see `first_layer_weights`."""
    if units is None:
        norms = np.linalg.norm(weight, axis=1)
        return sorted(np.argsort(-norms, kind="stable")[:MAX_UNITS].tolist())
    found = [
        check_integer("units", unit, 0, len(weight) - 1)
        for unit in to_list("units", units, "integers")
    ]
    if not found:
        raise ValueError("units must have at least one index; got none")
    return found


def check_shape(shape, pixels, allows_colors):
    """Return the shape of an image as a tuple of int.

    Raises
    ------
    TypeError, ValueError
        If it does not have this number of elements, or is neither (height, width) nor, if
        `allows_colors`, (height, width, 3) or (height, width, 4).
    """
    given = tuple(check_integer("shape", size) for size in to_list("shape", shape, "integers"))
    is_colored = allows_colors and len(given) == 3 and given[2] in (3, 4)
    if len(given) != 2 and not is_colored:
        more = ", or (height, width, 3 or 4) for colors" if allows_colors else ""
        raise ValueError(f"shape must be (height, width){more}; got {given}")
    if math.prod(given) != pixels:
        raise ValueError(
            f"shape must have {pixels} elements, one for each input of the model; got {given}"
        )
    return given


def confident_mistakes(model, X, y, shape=(28, 28), n=16, labels=None, *, cmap="gray_r", axes=None):
    """Draw the samples that are misclassified with the highest predicted probability.

    Parameters
    ----------
    model : Network, QuantizedNetwork or classifier
        As in `confusion_matrix`, with probabilities.
    X : array_like, data frame or sparse matrix
        The samples, as `model` takes them; each one is an image.
    y : array_like, shape (n_samples,)
        Their labels; for a network also one-hot rows.
    shape : tuple (height, width), (height, width, 3) or (height, width, 4), default (28, 28)
        Of an image. Colors are scaled to their range in the image unless they are uint8.
    n : int, default 16
        Maximum number of images.
    labels : sequence of str, optional
        Names of the classes, in the order of `classes_` or of the outputs.
    cmap : str or matplotlib.colors.Colormap, default "gray_r"
        Of images without colors: white is the least, black the greatest value of each.
    axes : array_like of matplotlib.axes.Axes, optional
        At least `n`, or one for each mistake if there are fewer; by default a grid in a new figure.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        In descending order of the probability. Above each image are the true class, and the
        predicted one with its probability. Axes without an image are invisible. Without a mistake,
        the title of the first ones says so. A new figure has a title, too.

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
    >>> X, y = np.random.default_rng(0).random((90, 64)), np.arange(90) % 3
    >>> net = Network([64, 8, 3], loss="cross_entropy", seed=0)
    >>> plot.confident_mistakes(net, X, y, shape=(8, 8), n=6).shape
    (2, 3)
    """
    n, cmap = check_integer("n", n), resolve_colors("confident_mistakes", cmap)
    found = predict_classes(model, X, y, labels, with_probabilities=True)
    top = found.probabilities[np.arange(len(found.true)), found.predicted]
    mistakes = np.flatnonzero(found.true != found.predicted)
    rows = mistakes[np.argsort(-top[mistakes], kind="stable")][:n]
    images = take_samples(X, rows if len(rows) else np.arange(1))
    shape = check_shape(shape, images.shape[1], allows_colors=True)
    is_new, axes = axes is None, make_grid("confident_mistakes", axes, max(len(rows), 1))
    total = f"{len(found.true):,} samples"
    if not len(rows):
        axes.flat[0].set_title(f"no mistakes in {total}")
        return axes
    if is_new:
        figure = axes.flat[0].get_figure(root=False)
        figure.suptitle(f"{len(rows)} most confident of {len(mistakes):,} mistakes in {total}")
    titles = [
        f"true {found.names[found.true[row]]}\n"
        f"predicted {found.names[found.predicted[row]]}, {top[row]:.1%}"
        for row in rows
    ]
    longest = max(len(line) for title in titles for line in title.split("\n"))
    size = fit_font_size(get_axes_size(axes.flat[0])[0] * 1.25, longest)
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        ax.imshow(scale_colors(image.reshape(shape)), cmap=cmap)
        ax.set_title(title, fontsize=size)
    return axes


def take_samples(X, rows):
    """Return samples as rows of an array, shape (rows, pixels)."""
    if hasattr(X, "iloc"):
        X = X.iloc[rows]
    elif hasattr(X, "tocsr"):
        X = X.tocsr()[rows].toarray()
    else:
        X = np.asarray(X)[rows]
    return np.asarray(X).reshape(len(rows), -1)


def scale_colors(image):
    """Return an image; colors other than uint8 are scaled to [0, 1]."""
    if image.ndim == 2 or image.dtype == np.uint8:
        return image
    low, high = float(image.min()), float(image.max())
    return (image - low) / ((high - low) or 1.0)
