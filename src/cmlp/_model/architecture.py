"""`Architecture`: the layers, the loss and the initialization of a network."""

import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cmlp import losses
from cmlp._core import kernels
from cmlp._model.layers import (
    Dense,
    Encoder,
    InputDropout,
    InputNoise,
    Layer,
    check_encoders,
    layer_from_header,
    list_segments,
    trace_codes,
)
from cmlp._model.parameters import Tensor
from cmlp._model.tasks import list_tasks
from cmlp._utils.fields import Record
from cmlp._utils.validation import (
    broadcast_per_layer,
    check_fraction,
    check_integer,
    check_non_negative,
    check_normal,
    check_positive,
    to_list,
)
from cmlp.activations import ACTIVATIONS, PARAMETRIC, resolve_activation
from cmlp.initializers import resolve_initializer
from cmlp.normalizations import resolve_normalization

# Arguments of `Network` that are off by default. Headers of version 1 omit those that are off.
OPTIONS = ("dropout", "input_dropout", "input_noise", "normalization", "max_norm")


@dataclass(frozen=True, eq=False, repr=False)
class Architecture(Record):
    """The layers, the loss and the initialization of a network.

    Attributes
    ----------
    inputs : int
        Number of columns of X.
    layers : tuple of Layer
        Input noise and dropout first, then encoders, then at least one dense layer.
    loss : cmlp.losses.Loss
    init : str, float or callable
        As in `cmlp.Network`.
    dtype : numpy.dtype
        float32 or float64.
    seed : int
    compute_dtype : str, optional
        Name of the dtype of the operands of large products: that of `dtype`, the default, or
        ``"bfloat16"``.
    """

    inputs: int
    layers: tuple[Layer, ...]
    loss: losses.Loss
    init: object
    dtype: np.dtype
    seed: int
    compute_dtype: str = ""

    @classmethod
    def from_arguments(cls, sizes, *, activation="sigmoid", output=None, loss="quadratic",
                       init="auto", dtype="float32", dropout=0.0, input_dropout=0.0,
                       input_noise=0.0, normalization=None, max_norm=None, seed=None,
                       compute_dtype=None, input_layers=()):  # fmt: skip
        """Return the architecture for the arguments of `cmlp.Network`.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit; the message names it.
        """
        sizes = resolve_sizes(sizes)
        hidden = len(sizes) - 2
        loss = losses.resolve_loss(loss)
        rates = broadcast_per_layer("dropout", dropout, hidden)
        for rate in dropout if isinstance(dropout, (list, tuple)) else [dropout]:
            check_fraction("dropout", rate)
        check_fraction("input_dropout", input_dropout)
        check_non_negative("input_noise", input_noise)
        if max_norm is not None:
            check_positive("max_norm", max_norm)
            max_norm = float(max_norm)
        kinds = [normalization] * hidden
        if isinstance(normalization, (list, tuple)):
            kinds = broadcast_per_layer("normalization", normalization, hidden)
        activations = resolve_hidden_activations(activation, hidden)
        output = resolve_output(output, loss, sizes[-1])
        init, dtype = resolve_initializer(init), resolve_dtype(dtype)
        layers = [
            Dense(units, activation, resolve_normalization(kind), float(rate), max_norm)
            for units, activation, kind, rate in zip(
                sizes[1:-1], activations, kinds, rates, strict=True
            )
        ]
        layers.append(Dense(sizes[-1], output, max_norm=max_norm))
        layers = [*check_encoders(input_layers, sizes[0]), *layers]
        if input_dropout:
            layers.insert(0, InputDropout(float(input_dropout)))
        if input_noise:
            layers.insert(0, InputNoise(float(input_noise)))
        return cls(sizes[0], tuple(layers), loss, init, dtype, resolve_seed(seed),
                   resolve_compute_dtype(compute_dtype, dtype))  # fmt: skip

    def __post_init__(self):
        """Raise `ValueError` if the dtype does not suit a parameter of a component."""
        if not self.compute_dtype:
            object.__setattr__(self, "compute_dtype", self.dtype.name)
        for layer in self.dense:
            if layer.normalization is not None:
                name = f"eps of {type(layer.normalization).__name__}"
                check_normal(name, layer.normalization.eps, self.dtype)
            if layer.activation.parameter:
                name = f"the parameter of {layer.activation.name}"
                check_normal(name, layer.activation.parameter, self.dtype)
        self.loss.check_dtype(self.dtype)
        check_encoders(self.encoders, self.inputs)
        if self.code_columns and (self.input_noise or self.input_dropout):
            raise ValueError("input_noise and input_dropout must be 0 with OneHot or Embedding, "
                             "which read the codes of categories")  # fmt: skip

    @cached_property
    def dense(self):
        """The dense layers, a tuple."""
        return tuple(layer for layer in self.layers if isinstance(layer, Dense))

    @cached_property
    def encoders(self):
        """The input layers that compute other columns, a tuple."""
        return tuple(layer for layer in self.layers if isinstance(layer, Encoder))

    @cached_property  # every call of `Network` reads it
    def code_columns(self):
        """Number of categories of each column of X that holds their codes; a dict from int."""
        return trace_codes(self.encoders, self.inputs)

    @property
    def frozen(self):
        """Positions of the layers that are not trained, a frozenset of int."""
        return frozenset(i for i, layer in enumerate(self.layers) if layer.frozen)

    @property
    def segments(self):
        """The first dense layer's inputs, as `list_segments` returns them."""
        return list_segments(self.encoders, self.inputs)

    @property
    def encoded_inputs(self):
        """Number of inputs of the first dense layer."""
        columns = self.inputs
        for layer in self.encoders:
            columns = layer.count_outputs(columns)
        return columns

    @cached_property
    def sizes(self):
        """Numbers of columns: of X, then of each dense layer's outputs; a tuple of int."""
        return (self.inputs, *(layer.units for layer in self.dense))

    @property
    def outputs(self):
        """Number of outputs."""
        return self.layers[-1].units

    @property
    def targets(self):
        """Number of values that the outputs of a sample predict."""
        return self.loss.count_targets(self.outputs)

    @property
    def output(self):
        """The last layer's activation."""
        return self.layers[-1].activation

    @property
    def dropout(self):
        """Dropout rate of each hidden layer, a list."""
        return [layer.dropout for layer in self.dense[:-1]]

    @property
    def normalization(self):
        """Normalization of each hidden layer, or None; a list."""
        return [layer.normalization for layer in self.dense[:-1]]

    @property
    def input_dropout(self):
        """Dropout rate of the inputs; 0 if there is no such layer."""
        return next((layer.rate for layer in self.layers if isinstance(layer, InputDropout)), 0.0)

    @property
    def input_noise(self):
        """Standard deviation of the noise on the inputs; 0 if there is no such layer."""
        noises = (layer.deviation for layer in self.layers if isinstance(layer, InputNoise))
        return next(noises, 0.0)

    @property
    def dense_input_layer(self):
        """Kind of the first input layer that cannot transform sparse rows, or None."""
        for layer in self.layers:
            info = kernels.INPUT_LAYERS.get(layer.kind)
            if isinstance(layer, Encoder) or (info and not info.has_sparse_form):
                return layer.kind
        return None

    @property
    def rounds(self):
        """Whether the operands of large products are rounded to bfloat16."""
        return self.compute_dtype == "bfloat16"

    @property
    def max_norm(self):
        """Maximum norm of the weights into a unit, or None."""
        return self.layers[-1].max_norm

    @property
    def has_probabilities(self):
        """Whether the outputs are probabilities of classes."""
        return self.output.threshold > 0

    @property
    def tasks(self):
        """The tasks that the network can have, the default first; see `cmlp._model.tasks`."""
        return list_tasks(self.output, self.loss, self.outputs)

    @property
    def target_bounds(self):
        """The closed interval of allowed targets, a tuple of two float.

        The loss defines it. If the outputs are probabilities it is [0, 1]: no output reaches other
        targets. Other bounded outputs (tanh, relu, ...) do not restrict the targets
        of a regression, which may exceed the outputs' range by noise; R^2 shows if they do not
        fit. A loss in Python may have any targets.
        """
        is_restricted = self.has_probabilities and not self.loss.call
        return losses.UNIT_INTERVAL if is_restricted else self.loss.bounds

    @property
    def decision_threshold(self):
        """Smallest value of a classifier's single output, or of a label's, that predicts it."""
        return self.output.threshold

    def classify(self, outputs, task):
        """Return the predicted classes or labels for a classifier's outputs.

        Parameters
        ----------
        outputs : ndarray, shape (n, outputs)
        task : {"binary", "multiclass", "multilabel"}

        Returns
        -------
        ndarray of int, shape (n,), or (n, outputs) for multilabel
            Index of the largest output or, with one output and for each label, 1 if the output
            reaches the decision threshold and 0 otherwise.
        """
        if task == "multiclass":
            return outputs.argmax(axis=1)
        labels = (outputs >= self.decision_threshold).astype(np.intp)
        return labels if task == "multilabel" else labels[:, 0]

    @property
    def tensors(self):
        """The parameters of all layers in the order in which they are stored; a list of Tensor."""
        return self._list_tensors(lambda layer, columns: layer.tensors(columns))

    @property
    def statistics(self):
        """The running statistics of all layers; a list of Tensor."""
        return self._list_tensors(lambda layer, columns: layer.statistics(columns))

    def _list_tensors(self, get_shapes):
        found, columns, counts = [], self.inputs, {}
        for position, layer in enumerate(self.layers):
            number = counts[layer.kind] = counts.get(layer.kind, -1) + 1
            shapes = get_shapes(layer, columns)
            found += [Tensor(position, number, name, *shape) for name, shape in shapes.items()]
            columns = layer.count_outputs(columns)
        return found

    @property
    def shapes(self):
        """Shape of each array that training changes, by its name in a file."""
        tensors = [*self.tensors, *self.statistics]
        names = dict.fromkeys(tensor.name for tensor in tensors)
        return {t.key: (t.rows, t.columns) for name in names for t in tensors if t.name == name}

    @property
    def header(self):
        """The architecture as a dict that JSON can hold."""
        return {
            "inputs": self.inputs,
            "layers": [layer.header for layer in self.layers],
            "loss": self.loss.header,
            "init": "callable" if callable(self.init) else self.init,
            "dtype": self.dtype.name,
            "seed": self.seed,
            **({"compute_dtype": self.compute_dtype} if self.rounds else {}),
        }

    @classmethod
    def from_header(cls, header, loss=None):
        """Return the architecture that a file's header describes.

        Parameters
        ----------
        header : dict
            Of version 2, with `inputs` and `layers`, or of version 1, with `sizes`,
            `activation`, `output` and the options of `cmlp.Network`.
        loss : callable, optional
            The network's loss if it was a Python callable, which files do not store.

        Raises
        ------
        KeyError
            If a value is missing.
        TypeError, ValueError
            If a value does not fit.
        """
        common = {name: header[name] for name in ("loss", "init", "dtype", "seed")}
        common["compute_dtype"] = header.get("compute_dtype")
        if common["init"] == "callable":
            common["init"] = "auto"
        if loss is not None:
            common["loss"] = loss
        elif common["loss"] == losses.CALLABLE:
            common["loss"] = losses.raise_missing_loss
        if "layers" not in header:
            options = {name: header[name] for name in OPTIONS if name in header}
            names = ("activation", "output")
            return cls.from_arguments(
                header["sizes"], **{name: header[name] for name in names}, **common, **options
            )
        if not isinstance(header["layers"], list):
            raise TypeError(f"layers must be a list; got {header['layers']!r}")
        return cls.from_layers(
            header["inputs"], [layer_from_header(layer) for layer in header["layers"]], **common
        )

    @classmethod
    def from_layers(cls, inputs, layers, *, loss, init, dtype, seed, compute_dtype=None):
        """Return an architecture with the given layers, validated together.

        Raises
        ------
        TypeError, ValueError
            If the layers are not noise and dropout, encoders, and at least one dense layer, in
            this order; or the last layer does not suit the loss.
        """
        inputs, loss = check_integer("inputs", inputs, maximum=None), losses.resolve_loss(loss)
        dense = [layer for layer in layers if not layer.is_input_layer]
        ranks = [(isinstance(each, Encoder), not each.is_input_layer) for each in layers]
        if not dense or sorted(ranks, key=lambda rank: (rank[1], rank[0])) != ranks:
            raise ValueError(
                "layers must be input noise and dropout, encoders, and at least one dense layer, "
                "in this order"
            )
        for layer in dense[:-1]:
            resolve_hidden_activation("activation", layer.activation)
        last = dense[-1]
        resolve_output(last.activation, loss, last.units)
        if last.normalization is not None or last.dropout:
            raise ValueError("the last layer must have neither normalization nor dropout")
        dtype = resolve_dtype(dtype)
        return cls(inputs, tuple(layers), loss, resolve_initializer(init), dtype,
                   resolve_seed(seed), resolve_compute_dtype(compute_dtype, dtype))  # fmt: skip

    @property
    def options(self):
        """The arguments in `OPTIONS` that are on, with values that JSON can hold; a dict."""
        values = {name: getattr(self, name) for name in OPTIONS}
        return {
            name: [getattr(v, "header", v) for v in value] if isinstance(value, list) else value
            for name, value in values.items()
            if (any(value) if isinstance(value, list) else value)
        }

    def __str__(self):
        hidden = [layer.activation.header for layer in self.dense[:-1]]
        is_uniform = hidden and all(activation == hidden[0] for activation in hidden)
        values = {
            "activation": hidden[0] if is_uniform else hidden,
            "output": self.output.header,
            "loss": self.loss.header,
            **self.options,
            **({"input_layers": list(self.encoders)} if self.encoders else {}),
            "dtype": self.dtype.name,
            **({"compute_dtype": self.compute_dtype} if self.rounds else {}),
            "seed": self.seed,
        }
        return f"{list(self.sizes)}, " + ", ".join(f"{n}={v!r}" for n, v in values.items())


def resolve_sizes(sizes):
    """Return the widths of the layers as a tuple of int."""
    given = to_list("sizes", sizes, "integers")
    widths = tuple(check_integer(f"sizes[{i}]", size) for i, size in enumerate(given))
    if len(widths) < 2:
        raise ValueError(f"sizes must have the inputs and at least one layer; got {sizes!r}")
    return widths


def resolve_hidden_activation(argument, activation):
    """Return the `Activation` of a hidden layer, given as an object or by name."""
    allowed = {name: a for name, a in ACTIVATIONS.items() if a.hidden} | PARAMETRIC
    return resolve_activation(argument, activation, allowed)


def resolve_hidden_activations(activation, hidden):
    """Return an `Activation` for each of `hidden` layers."""
    if isinstance(activation, (list, tuple)):
        given = broadcast_per_layer("activation", activation, hidden)
        return [resolve_hidden_activation("activation", each) for each in given]
    return [resolve_hidden_activation("activation", activation)] * hidden


def resolve_output(output, loss, outputs):
    """Return the last layer's `Activation`, which must suit the loss as `outputs` must.

    Parameters
    ----------
    output : str, Activation or None
        None for the default of the loss.
    loss : cmlp.losses.Loss
    outputs : int
        Number of outputs.
    """
    output = resolve_activation("output", loss.output if output is None else output)
    if loss.outputs is not None and output.name not in loss.outputs:
        raise ValueError(
            f"output must be one of {', '.join(loss.outputs)} for loss={loss.name!r}; "
            f"got {output.name!r}"
        )
    loss.count_targets(outputs)
    if output.name == "softmax" and outputs == 1:
        raise ValueError(
            "output must not be 'softmax' with one output, for which it is always 1; use two "
            "outputs, or loss='binary_cross_entropy' with one"
        )
    return output


def resolve_dtype(dtype):
    """Return float32 or float64 as a numpy.dtype."""
    try:
        resolved = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):  # NumPy parses a string such as "(2,f4"
        raise TypeError(f"dtype must be float32 or float64; got {dtype!r}") from None
    if resolved not in (np.float32, np.float64) or not resolved.isnative:
        raise ValueError(f"dtype must be float32 or float64; got {dtype!r}")
    return resolved


def resolve_compute_dtype(compute_dtype, dtype):
    """Return the name of the dtype of the operands of large products.

    Parameters
    ----------
    compute_dtype : str, numpy.dtype or None
        ``"bfloat16"``, or the dtype of the parameters; None for the latter.
    dtype : numpy.dtype
        float32 or float64, the dtype of the parameters.
    """
    if compute_dtype is None:
        return dtype.name
    name = compute_dtype
    if not isinstance(compute_dtype, str):
        try:
            name = np.dtype(compute_dtype).name
        except TypeError:
            name = None
    allowed = [dtype.name] if dtype == np.float64 else ["bfloat16", dtype.name]
    if name in allowed:
        return name
    error = TypeError if name is None else ValueError
    raise error(
        f"compute_dtype must be {' or '.join(map(repr, allowed))} if dtype is {dtype.name!r}; "
        f"got {compute_dtype!r}"
    )


def resolve_seed(seed):
    """Return the seed; None draws one from the operating system."""
    if seed is None:
        return int.from_bytes(os.urandom(8), "little")
    seed = check_integer("seed", seed, 0, maximum=None)
    if seed >= 2**64:
        raise ValueError(f"seed must be below 2**64; got {seed}")
    return seed
