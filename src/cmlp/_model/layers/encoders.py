"""Encoders: input layers with parameters, or with other numbers of outputs than inputs."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from cmlp._core import kernels
from cmlp._model.layers.base import Layer
from cmlp._utils.fields import checked_field
from cmlp._utils.validation import check_bool, check_integer, check_positive, look_up, to_list

# Columns that an encoder reads or computes at most: plans list them one by one.
MAX_COLUMNS = 2**20


class ColumnPlan(NamedTuple):
    """Where an encoder's columns come from and go to; the compiled engine points to the arrays.

    Attributes
    ----------
    column, target : ndarray of int32, shape (selected,)
        Index of each column that is replaced, and of its first output.
    kept_column, kept_target : ndarray of int32, shape (kept,)
        The same for the columns that are copied.
    categories : ndarray of int32, shape (selected,) or (0,)
        Number of categories of each column.
    first_row : ndarray of int64, shape (selected,) or (0,)
        Number of categories of all columns before each column.
    outputs_per_column : int
        Columns that the linear map of a periodic embedding, or a table, computes.
    """

    column: np.ndarray
    target: np.ndarray
    kept_column: np.ndarray
    kept_target: np.ndarray
    categories: np.ndarray
    first_row: np.ndarray
    outputs_per_column: int


class Encoder(Layer):
    """Base class of the encoders, which replace some columns and copy the others, in order.

    Attributes
    ----------
    columns : tuple of int or None
        Indices of the columns that are replaced; None: all.
    categories : tuple of int
        Number of categories of each of them; empty if they are numbers.
    outputs_per_column : int
        Columns that a linear map or a table computes for each of them.
    """

    columns: tuple[int, ...] | None = None
    categories: tuple[int, ...] = ()
    outputs_per_column = 1

    def select(self, inputs):
        """Return the indices of the columns that are replaced, a list of int."""
        return list(range(inputs) if self.columns is None else self.columns)

    def count_column_outputs(self):
        """Return the number of outputs for each column that is replaced, an int or a list."""
        raise NotImplementedError

    def list_widths(self, inputs):
        """Return the number of outputs of each input column."""
        widths, counts = [1] * inputs, self.count_column_outputs()
        for i, column in enumerate(self.select(inputs)):
            widths[column] = counts if isinstance(counts, int) else counts[i]
        return widths

    def count_outputs(self, inputs):
        """Return the number of columns that the layer computes from `inputs` columns."""
        return sum(self.list_widths(inputs))

    def check_inputs(self, inputs):
        """Raise `ValueError` unless the layer suits this number of columns."""
        if self.columns is not None and max(self.columns) >= inputs:
            raise ValueError(
                f"columns of {type(self).__name__} must be below {inputs}, the number of columns "
                f"that it reads; got {list(self.columns)}"
            )

    def plan(self, inputs):
        """Return the `ColumnPlan` for this number of columns."""
        selected = self.select(inputs)
        targets = np.cumsum([0, *self.list_widths(inputs)])[:-1]
        replaced = set(selected)
        kept = [column for column in range(inputs) if column not in replaced]
        categories = list(self.categories)
        return ColumnPlan(
            np.array(selected, np.int32), targets[selected].astype(np.int32),
            np.array(kept, np.int32), targets[kept].astype(np.int32),
            np.array(categories, np.int32), np.cumsum([0, *categories])[:-1].astype(np.int64),
            self.outputs_per_column,
        )  # fmt: skip


def check_encoders(layers, inputs):
    """Return input layers as a tuple of encoders that suit one another.

    Parameters
    ----------
    layers : sequence of Encoder
    inputs : int
        Number of columns that the first one reads.

    Raises
    ------
    TypeError, ValueError
        If an item has another type, there are too many, or a column does not fit.
    """
    layers = tuple(to_list("input_layers", layers, "layers of cmlp.layers"))
    for layer in layers:
        if not isinstance(layer, Encoder):
            raise TypeError(f"input_layers must be layers of cmlp.layers; got {layer!r}")
    if len(layers) > kernels.MAX_ENCODERS:
        raise ValueError(
            f"input_layers must have at most {kernels.MAX_ENCODERS} layers; got {len(layers)}"
        )
    trace_codes(layers, inputs)
    return layers


def trace_codes(layers, inputs):
    """Return the number of categories of each column of X that holds codes, a dict from int.

    Raises
    ------
    ValueError
        If an encoder reads a column that does not exist, or categories from a column that an
        earlier layer computes, or there are too many columns.
    """
    if not layers:
        return {}
    check_width("inputs", inputs)
    origins, found = list(range(inputs)), {}
    for layer in layers:
        layer.check_inputs(len(origins))
        check_width(f"the columns of {type(layer).__name__}", layer.count_outputs(len(origins)))
        categories, selected = layer.categories, layer.select(len(origins))
        for column, count in zip(selected, categories, strict=False):
            if origins[column] is None:
                raise ValueError(
                    f"columns of {type(layer).__name__} must be columns of X, which no earlier "
                    f"layer changes; got {column}"
                )
            found[origins[column]] = count
        widths, replaced = layer.list_widths(len(origins)), set(selected)
        origins = [
            origins[column] if column not in replaced else None
            for column, width in enumerate(widths)
            for _ in range(width)
        ]
    return found


def list_segments(layers, inputs):
    """Return the columns that encoders compute, as runs and as the categories of one-hot columns.

    Parameters
    ----------
    layers : sequence of Encoder
        As `check_encoders` accepts them.
    inputs : int

    Returns
    -------
    list of (int, int)
        Number of columns; and the column of X with the code of the category whose column is not 0,
        or -1 for a run of other columns. Empty without one-hot columns.
    """
    origins: list = list(range(inputs))  # a column of X, (column of X, category), or -1
    for layer in layers:
        selected = {column: i for i, column in enumerate(layer.select(len(origins)))}
        widths, before, origins = layer.list_widths(len(origins)), origins, []
        for column, width in enumerate(widths):
            if column not in selected or layer.kind == "scale":
                origins.append(before[column])
            elif layer.kind == "one_hot" and layer.categories[selected[column]] != 2:
                origins += [(before[column], category) for category in range(width)]
            else:
                origins += [-1] * width
    segments: list = []
    for origin in origins:
        code_column, category = origin if isinstance(origin, tuple) else (-1, 0)
        size, last = segments[-1] if segments else (0, None)
        if category and (last, size) != (code_column, category):
            code_column = -1  # other layers read the categories before
        if last == code_column:
            segments[-1] = size + 1, last
        else:
            segments.append((1, code_column))
    return segments if any(column >= 0 for _, column in segments) else []


def check_width(name, columns):
    """Raise `ValueError` if encoders cannot read or compute that many columns."""
    if columns > MAX_COLUMNS:
        raise ValueError(f"{name} must be at most {MAX_COLUMNS} with input_layers; got {columns}")


def check_columns(argument, value):
    """Raise unless `value` is a sequence of different column indices."""
    columns = [check_integer(argument, each, 0) for each in to_list(argument, value, "integers")]
    if not columns or len(set(columns)) < len(columns):
        raise ValueError(f"{argument} must be different integers, at least one; got {value!r}")


def check_categories(argument, value):
    """Raise unless `value` is a sequence of positive integers."""
    for each in to_list(argument, value, "integers"):
        check_integer(argument, each, 1, 2**31 - 1)


def check_kind(argument, value):
    """Raise unless `value` is a kind of periodic embedding."""
    look_up(argument, value, PERIODIC_KINDS)


def check_frequencies(argument, value):
    """Raise unless `value` is a number of frequencies that the engine supports."""
    check_integer(argument, value, 1, kernels.PERIODIC_FREQUENCIES)


@dataclass(frozen=True, eq=False, repr=False)
class Scale(Encoder):
    """Multiply each column by a factor that training learns; 1 at first.

    The tensor is ``input_scale``, shape (columns, 1).

    Parameters
    ----------
    frozen : bool, default False
        Whether training leaves the factors as they are.
    """

    kind: ClassVar[str] = "scale"

    frozen: bool = checked_field(check_bool, False)

    def count_column_outputs(self):
        """Return 1."""
        return 1

    def tensors(self, inputs):
        """Return the shape of the factors."""
        return {"input_scale": (inputs, 1)}

    def draw(self, rng, init, inputs):
        """Return ones."""
        return {"input_scale": np.ones((inputs, 1))}


class CategoryEncoder(Encoder):
    """Base class of the encoders of category codes: 1 to the number of categories, 0 for none."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("columns", "categories"):
            object.__setattr__(self, name, tuple(int(each) for each in getattr(self, name)))
        if len(self.categories) != len(self.columns):
            raise ValueError(
                f"categories must be one number for each of the {len(self.columns)} columns; "
                f"got {list(self.categories)}"
            )

    @property
    def header(self):
        """The specification as a dict that JSON can hold."""
        lists = {"columns": list(self.columns), "categories": list(self.categories)}
        return {**super().header, **lists}


@dataclass(frozen=True, eq=False, repr=False)
class OneHot(CategoryEncoder):
    """Replace columns of category codes by one column for each category.

    The column of the code is 1 and the others are 0. Two categories have one column, -1 for code 1
    and 1 for code 2. All columns of code 0, a missing or unknown category, are 0.

    Parameters
    ----------
    columns : sequence of int
        Indices of the columns.
    categories : sequence of int
        Number of categories of each column; the codes are 0 to that number.
    """

    kind: ClassVar[str] = "one_hot"

    columns: tuple[int, ...] = checked_field(check_columns)
    categories: tuple[int, ...] = checked_field(check_categories)

    def count_column_outputs(self):
        """Return the number of outputs of each column."""
        return [1 if each == 2 else each for each in self.categories]


@dataclass(frozen=True, eq=False, repr=False)
class Embedding(CategoryEncoder):
    """Replace columns of category codes by vectors that training learns, one for each category.

    Code 0, a missing or unknown category, has zeros, which are not trained. The tensor
    ``embedding``, shape (dim, all categories), has the vectors of all columns in their order; at
    first they are standard normal.

    Guo and Berkhahn, "Entity embeddings of categorical variables", arXiv:1604.06737, 2016.

    Parameters
    ----------
    columns : sequence of int
        Indices of the columns.
    categories : sequence of int
        Number of categories of each column; the codes are 0 to that number.
    dim : int, default 8
        Length of the vectors.
    frozen : bool, default False
        Whether training leaves the vectors as they are.
    """

    kind: ClassVar[str] = "embedding"

    columns: tuple[int, ...] = checked_field(check_columns)
    categories: tuple[int, ...] = checked_field(check_categories)
    dim: int = checked_field(check_integer, 8)
    frozen: bool = checked_field(check_bool, False)

    @property
    def outputs_per_column(self):
        """Length of the vectors."""
        return self.dim

    def count_column_outputs(self):
        """Return the length of the vectors."""
        return self.dim

    def tensors(self, inputs):
        """Return the shape of the table."""
        return {"embedding": (self.dim, sum(self.categories))}

    def draw(self, rng, init, inputs):
        """Return standard normal vectors."""
        return {"embedding": rng.standard_normal((self.dim, sum(self.categories)))}


# Kind of a periodic embedding -> whether it has phases, relu, and the number itself as an output.
PERIODIC_KINDS = {
    "pbld": (True, False, True), "pblrd": (True, True, True), "plr": (False, True, False),
    "pl": (False, False, False),
}  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Periodic(Encoder):
    """Replace numeric columns by embeddings of sines and cosines with learned frequencies.

    For a number x, each column has outputs W p + c with p = (cos(2 pi w x), sin(2 pi w x)), or
    p = cos(2 pi w x + b) if the kind has phases b:

    ===========  ======  ====  ==================
    kind         phases  relu  x is an output too
    ===========  ======  ====  ==================
    ``"pl"``     no      no    no
    ``"plr"``    no      yes   no
    ``"pbld"``   yes     no    yes, the last
    ``"pblrd"``  yes     yes   yes, the last
    ===========  ======  ====  ==================

    The tensors are ``frequency`` w and ``phase`` b, (frequencies, columns); ``periodic_weight`` W,
    (features, columns * outputs), and ``periodic_bias`` c, (outputs, columns), without the output
    x. At first w is normal with deviation `sigma`, b uniform in [-pi, pi], W and c uniform in
    +-1 / sqrt(features).

    Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in tabular deep
    learning", NeurIPS 2022, section 3.3; with phases, Holzmüller, Grinsztajn and Steinwart,
    "Better by default", NeurIPS 2024, section 3.

    Parameters
    ----------
    columns : sequence of int, optional
        Indices of the columns; by default all.
    frequencies : int, default 16
        Number of frequencies of each column; at most 256.
    outputs : int, default 4
        Number of outputs of each column, x included; at least 2 with it.
    sigma : float, default 0.1
        Standard deviation of the initial frequencies.
    type : {"pbld", "pblrd", "plr", "pl"}, default "pbld"
    frozen : bool, default False
        Whether training leaves the parameters as they are.
    """

    kind: ClassVar[str] = "periodic"

    columns: tuple[int, ...] | None = checked_field(check_columns, None, optional=True)
    frequencies: int = checked_field(check_frequencies, 16)
    outputs: int = checked_field(check_integer, 4)
    sigma: float = checked_field(check_positive, 0.1)
    type: str = checked_field(check_kind, "pbld")
    frozen: bool = checked_field(check_bool, False)

    def __post_init__(self):
        super().__post_init__()
        if self.columns is not None:
            object.__setattr__(self, "columns", tuple(int(each) for each in self.columns))
        if self.outputs_per_column < 1:
            raise ValueError(f"outputs must be at least 2 for type={self.type!r}; got 1")

    @property
    def has_phases(self):
        """Whether the cosines have phases, and sines are left out."""
        return PERIODIC_KINDS[self.type][0]

    @property
    def rectifies(self):
        """Whether relu is applied to the outputs."""
        return PERIODIC_KINDS[self.type][1]

    @property
    def keeps_value(self):
        """Whether the number itself is the last output."""
        return PERIODIC_KINDS[self.type][2]

    @property
    def features(self):
        """Number of sines and cosines of each column."""
        return self.frequencies * (1 if self.has_phases else 2)

    @property
    def outputs_per_column(self):
        """Number of outputs of the linear map."""
        return self.outputs - self.keeps_value

    def count_column_outputs(self):
        """Return the number of outputs of each column."""
        return self.outputs

    def tensors(self, inputs):
        """Return the shapes of frequencies, phases, weights and biases."""
        columns, frequencies = len(self.select(inputs)), self.frequencies
        shapes = {"frequency": (frequencies, columns)}
        if self.has_phases:
            shapes["phase"] = (frequencies, columns)
        shapes["periodic_weight"] = (self.features, columns * self.outputs_per_column)
        shapes["periodic_bias"] = (self.outputs_per_column, columns)
        return shapes

    def draw(self, rng, init, inputs):
        """Return the initial values of the tensors."""
        limit = 1 / np.sqrt(self.features)
        return {
            name: self.sigma * rng.standard_normal(shape) if name == "frequency"
            else rng.uniform(-np.pi, np.pi, shape) if name == "phase"
            else rng.uniform(-limit, limit, shape)
            for name, shape in self.tensors(inputs).items()
        }  # fmt: skip

    @property
    def header(self):
        """The specification as a dict that JSON can hold."""
        columns = None if self.columns is None else list(self.columns)
        return {**super().header, **({} if columns is None else {"columns": columns})}
