"""Figures, axes and colors that the plots share."""

import math

import numpy as np

from cmlp._utils.validation import import_optional

# Okabe and Ito, "Color universal design", 2008: colors that the color-blind can tell apart. Black,
# which a dark background hides, is replaced by gray.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")


def import_pyplot(function):
    """Return `matplotlib.pyplot` for a function of `cmlp.plot`; see `import_optional`."""
    return import_optional("matplotlib.pyplot", f"{function}()", "Matplotlib", "plot")


def resolve_colors(function, cmap):
    """Return a `matplotlib.colors.Colormap`, given by name or as it is.

    Raises
    ------
    TypeError, ValueError
        If `cmap` is neither.
    """
    pyplot = import_pyplot(function)
    if isinstance(cmap, str) and cmap not in pyplot.colormaps():
        raise ValueError(f"cmap must be the name of a colormap of Matplotlib; got {cmap!r}")
    return pyplot.get_cmap(cmap)


def check_axes(name, ax):
    """Raise `TypeError` unless `ax` is an instance of `matplotlib.axes.Axes`."""
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise TypeError(f"{name} must be a matplotlib.axes.Axes; got {type(ax).__name__}")


def make_axes(function, ax, size=None):
    """Return the axes to draw into.

    Parameters
    ----------
    function : str
        Name of the function that draws, for the error message.
    ax : matplotlib.axes.Axes or None
        None: those of a new figure.
    size : tuple of two float, optional
        Width and height of a new figure in inches; by default Matplotlib's.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError
        If `ax` is something else.
    ImportError
        If Matplotlib is not installed.
    """
    pyplot = import_pyplot(function)
    if ax is None:
        return pyplot.subplots(figsize=size, layout="constrained")[1]
    check_axes("ax", ax)
    return ax


def make_grid(function, axes, count):
    """Return the axes of several images, ndarray of Axes.

    Parameters
    ----------
    function : str
        Name of the function that draws, for the error message.
    axes : array_like of matplotlib.axes.Axes, or None
        None: those of a new figure, in a grid that is about as wide as high.
    count : int
        Number of images, at least 1.

    Returns
    -------
    ndarray of Axes
        Of the shape of `axes`. Those without an image are invisible.

    Raises
    ------
    TypeError
        If `axes` is something else.
    ValueError
        If there are too few.
    ImportError
        If Matplotlib is not installed.
    """
    pyplot = import_pyplot(function)
    if axes is None:
        columns = math.ceil(math.sqrt(count))
        rows = math.ceil(count / columns)
        _, axes = pyplot.subplots(rows, columns, squeeze=False, layout="constrained")
    axes = np.asarray(axes)
    for each in axes.flat:
        check_axes("axes", each)
    if axes.size < count:
        raise ValueError(f"axes must have one for each of {count} images; got {axes.size}")
    for each in axes.flat:
        each.set_axis_off()
    return axes


def get_axes_size(ax):
    """Return width and height of axes in points, before a layout engine moves them."""
    box = ax.get_position()
    width, height = ax.get_figure(root=False).bbox.size
    points = 72 / ax.get_figure(root=True).dpi
    return box.width * width * points, box.height * height * points


def fit_font_size(points, characters):
    """Return the font size in which a line is at most `points` wide: Matplotlib's or a smaller one.

    Sizes are in points.
    """
    from matplotlib import rcParams

    # A character of Matplotlib's default font is 0.6 times as wide as the font is high.
    return min(rcParams["font.size"], points / (0.6 * max(characters, 1)))
