"""A diagram of the layers of a network."""

from typing import NamedTuple

import numpy as np

from cmlp._model.description import describe_layers, describe_noise
from cmlp._model.quantized import QuantizedState
from cmlp._utils.validation import check_bool, check_integer
from cmlp.plot.figures import COLORS, fit_font_size, get_axes_size, make_axes
from cmlp.plot.models import get_network

# Width of a column of a new figure in inches, and its greatest width.
COLUMN, LARGEST = 1.25, 30.0

# Radius of a circle, in units of the distance between the centers of two.
RADIUS = 0.36


class Column(NamedTuple):
    """A column of the diagram.

    Attributes
    ----------
    title : str
        Above the circles.
    lines : list of str
        Below the circles.
    units : int
    color : str
    is_dense : bool
        Whether each unit reads all units of the column before.
    """

    title: str
    lines: list
    units: int
    color: str
    is_dense: bool


def architecture(model, *, max_units=10, show_parameters=True, ax=None):
    """Draw the layers of a network as columns of circles, one for each unit.

    Below each layer are its number of units, activation, normalization and dropout, and its number
    of parameters.

    Parameters
    ----------
    model : Network, QuantizedNetwork or fitted estimator of cmlp
        Of several networks, which have the same layers, one is drawn.
    max_units : int, default 10
        Maximum number of circles of a layer, from 3 to 100; dots stand for the other units.
    show_parameters : bool, default True
        Whether to state the number of parameters.
    ax : matplotlib.axes.Axes, optional
        By default the axes of a new figure, which is wider if there are many layers.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of the above.
    ImportError
        If Matplotlib is not installed.

    Examples
    --------
    >>> from cmlp import Network, plot
    >>> net = Network([784, 128, 10], activation="relu", loss="cross_entropy", dropout=0.2)
    >>> plot.architecture(net).get_title()
    'Network, 101,770 parameters, loss cross_entropy'
    """
    max_units = check_integer("max_units", max_units, 3, 100)
    check_bool("show_parameters", show_parameters)
    network = get_network(model)
    layers = describe_layers(network.state)
    columns = list_columns(network.state, layers, show_parameters)
    size = min(LARGEST, max(6.4, COLUMN * len(columns) + 0.4)), 4.8
    ax = make_axes("architecture", ax, size)
    draw_columns(ax, columns, max_units)
    title = [type(network).__name__]
    if show_parameters:
        title.append(f"{sum(layer.parameters for layer in layers):,} parameters")
    ax.set_title(", ".join([*title, f"loss {network.loss}"]))
    return ax


def list_columns(state, layers, show_parameters):
    """Return the columns of a diagram: the inputs, then the layers that compute other columns."""
    is_quantized = isinstance(state, QuantizedState)
    noise = [] if is_quantized else describe_noise(state.architecture)
    inputs = state.architecture.inputs
    found = [Column("inputs", [f"{inputs:,}", *noise], inputs, COLORS[6], False)]
    for layer in layers:
        if layer.kind in ("InputNoise", "InputDropout"):
            continue
        is_dense, is_last = layer.dense_index is not None, layer is layers[-1]
        lines = [f"{layer.outputs:,}"]
        lines += [layer.activation] if layer.activation else []
        if layer.normalization:
            name = layer.normalization.split("(")[0]
            lines.append(name if name.endswith("Norm") else f"{name} norm")
        lines += [f"dropout {layer.dropout:g}"] if layer.dropout else []
        if show_parameters:
            lines.append(f"{layer.parameters:,} params")
        title, color = f"hidden {layer.dense_index}", COLORS[0]
        if not is_dense:
            title, color = layer.kind, COLORS[2]
        elif is_last:
            title, color = "outputs", COLORS[1]
        found.append(Column(title, lines, layer.outputs, color, is_dense))
    return found


def place_circles(units, max_units):
    """Return the heights of a column's circles, around 0, and whether dots replace the middle."""
    if units <= max_units:
        return np.arange(units) - (units - 1) / 2, False
    heights = np.arange(max_units) - (max_units - 1) / 2
    middle = max_units // 2
    return np.delete(heights, middle) if max_units % 2 else np.delete(
        heights, [middle - 1, middle]
    ), True  # fmt: skip


def draw_columns(ax, columns, max_units):
    """Draw circles, the connections between them, and the text above and below."""
    from matplotlib.collections import EllipseCollection, LineCollection

    placed = [place_circles(column.units, max_units) for column in columns]
    tallest = max(np.ptp(heights) + 1 for heights, _ in placed)
    before: np.ndarray = np.empty(0)
    longest = max(len(line) for column in columns for line in (column.title, *column.lines))
    width, height = get_axes_size(ax)
    size = fit_font_size(0.95 * width / len(columns), longest)
    for x, (column, (heights, is_cut)) in enumerate(zip(columns, placed, strict=True)):
        y = heights / tallest
        if x and column.is_dense:
            pairs = [((x - 1, low), (x, high)) for low in before for high in y]
            ax.add_collection(LineCollection(pairs, colors="0.5", linewidths=0.4, alpha=0.5,
                                             zorder=1))  # fmt: skip
        elif x:
            ax.annotate("", (x - 0.25, 0), (x - 0.75, 0), arrowprops={"arrowstyle": "->"})
        diameter = 2 * RADIUS / tallest
        ax.add_collection(EllipseCollection(
            diameter, diameter, 0, units="y", offsets=np.column_stack([np.full(len(y), x), y]),
            transOffset=ax.transData, facecolors=column.color, edgecolors="black", zorder=2,
        ))  # fmt: skip
        if is_cut:
            ax.scatter([x] * 3, np.array([-0.25, 0, 0.25]) / tallest, 4, "0.5", zorder=2)
        ax.text(x, 0.53, column.title, ha="center", va="bottom", fontsize=size)
        ax.text(x, -0.53, "\n".join(column.lines), ha="center", va="top", fontsize=size)
        before = y
    lines = max(len(column.lines) for column in columns)
    # The text takes its part of the height, the circles the rest.
    text = (lines + 1.6) * 1.25 * size / height
    below = (lines + 0.3) * 1.25 * size / height / max(1 - text, 0.3)
    ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-0.53 - below * 1.06, 0.66))
    ax.set_axis_off()
