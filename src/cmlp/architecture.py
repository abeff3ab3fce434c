"""What a network is made of: the arguments of `Network`, checked, and as a file's header."""

import os
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from cmlp import losses
from cmlp.activations import ACTIVATIONS, Activation, checked_activation
from cmlp.checks import (
    check_fraction,
    check_not_negative,
    check_positive,
    check_whole,
    one_for_each,
)
from cmlp.initializers import checked_initializer
from cmlp.normalizations import BatchNorm, LayerNorm, checked_normalization


@dataclass(frozen=True)
class Architecture:
    """Everything about a network but its parameters.

    Attributes
    ----------
    sizes : tuple of int
    activations : tuple of Activation
        The output's included.
    loss : cmlp.losses.Loss
    init : str, float or callable
    dtype : numpy.dtype
    dropout : tuple of float
        Of each hidden layer.
    input_dropout, input_noise : float
    normalization : tuple of BatchNorm, LayerNorm or None
        Of each hidden layer.
    max_norm : float or None
    seed : int
    """

    sizes: tuple[int, ...]
    activations: tuple[Activation, ...]
    loss: losses.Loss
    init: object
    dtype: np.dtype
    dropout: tuple[float, ...]
    input_dropout: float
    input_noise: float
    normalization: tuple[BatchNorm | LayerNorm | None, ...]
    max_norm: float | None
    seed: int

    # What the header of a file calls the arguments, and what those are where it is silent.
    OPTIONAL: ClassVar[dict] = {
        "dropout": 0.0, "input_dropout": 0.0, "input_noise": 0.0, "normalization": None,
        "max_norm": None,
    }  # fmt: skip

    @classmethod
    def checked(cls, sizes, activation, output, loss, init, dtype, dropout, input_dropout,
                input_noise, normalization, max_norm, seed):  # fmt: skip
        """Return one by the arguments of `Network`.

        Raises
        ------
        TypeError, ValueError
            Naming the argument that does not fit.
        """
        sizes = checked_sizes(sizes)
        hidden = len(sizes) - 2
        loss = losses.checked_loss(loss)
        rates = one_for_each("dropout", dropout, hidden)
        for rate in dropout if isinstance(dropout, (list, tuple)) else [dropout]:
            check_fraction("dropout", rate)
        check_fraction("input_dropout", input_dropout)
        check_not_negative("input_noise", input_noise)
        if max_norm is not None:
            check_positive("max_norm", max_norm)
        kinds = [normalization] * hidden
        if isinstance(normalization, (list, tuple)):
            kinds = one_for_each("normalization", normalization, hidden)
        return cls(
            sizes=sizes,
            activations=(
                *checked_activations(activation, hidden),
                checked_output(output, loss, sizes[-1]),
            ),
            loss=loss,
            init=checked_initializer(init),
            dtype=checked_dtype(dtype),
            dropout=tuple(float(rate) for rate in rates),
            input_dropout=float(input_dropout),
            input_noise=float(input_noise),
            normalization=tuple(checked_normalization(kind) for kind in kinds),
            max_norm=None if max_norm is None else float(max_norm),
            seed=checked_seed(seed),
        )

    @property
    def is_normalized(self):
        """Of each layer whether it is normalised; the last never is."""
        return [*(kind is not None for kind in self.normalization), False]

    @property
    def is_normalized_over_batches(self):
        """Of each layer whether it keeps running statistics."""
        return [*(isinstance(kind, BatchNorm) for kind in self.normalization), False]

    @property
    def shapes(self):
        """The shapes of all that training changes, by their names in a file."""
        pairs = list(enumerate(pairwise(self.sizes)))
        kept, running = self.is_normalized, self.is_normalized_over_batches
        return {
            **{f"weight_{l}": (o, i) for l, (i, o) in pairs},
            **{f"bias_{l}": (o, 1) for l, (_, o) in pairs},
            **{f"scale_{l}": (o, 1) for l, (_, o) in pairs if kept[l]},
            **{f"running_mean_{l}": (o, 1) for l, (_, o) in pairs if running[l]},
            **{f"running_variance_{l}": (o, 1) for l, (_, o) in pairs if running[l]},
        }

    @property
    def has_probabilities(self):
        """Whether the outputs are probabilities of classes."""
        return self.activations[-1].name in ("sigmoid", "softmax")

    @property
    def header(self):
        """The arguments as JSON can hold them."""
        *hidden, output = self.activations
        return {
            "sizes": list(self.sizes),
            "activation": [activation.header for activation in hidden],
            "output": output.header,
            "loss": self.loss.header,
            "init": "callable" if callable(self.init) else self.init,
            "dtype": self.dtype.name,
            "seed": self.seed,
            **{name: value for name, value in self.options.items() if self.is_set(name)},
        }

    @property
    def options(self):
        """Those that are off unless they are given, as JSON can hold them."""
        return {
            "dropout": list(self.dropout),
            "input_dropout": self.input_dropout,
            "input_noise": self.input_noise,
            "normalization": [None if k is None else k.header for k in self.normalization],
            "max_norm": self.max_norm,
        }

    def is_set(self, name):
        """Whether one of those is on."""
        value = getattr(self, name)
        return any(value) if isinstance(value, tuple) else bool(value)

    @classmethod
    def from_header(cls, header, loss=None):
        """Return one by a header, and a loss where it was a callable.

        Raises
        ------
        KeyError
            If it lacks an argument.
        TypeError, ValueError
            If one does not fit.
        """
        names = ("sizes", "activation", "output", "loss", "init", "dtype", "seed")
        arguments = {name: header[name] for name in names}
        if arguments["init"] == "callable":
            arguments["init"] = "auto"
        if loss is not None:
            arguments["loss"] = loss
        elif arguments["loss"] == losses.CALLABLE:
            arguments["loss"] = losses.forgotten
        given = {name: header.get(name, usual) for name, usual in cls.OPTIONAL.items()}
        return cls.checked(**arguments, **given)

    def __str__(self):
        *hidden, output = self.activations
        shown = {activation.header if isinstance(activation.header, str)
                 else tuple(activation.header) for activation in hidden}  # fmt: skip
        activation = [a.header for a in hidden] if len(shown) != 1 else hidden[0].header
        options = {n: v for n, v in self.options.items() if self.is_set(n)}
        given = {
            "activation": activation, "output": output.header, "loss": self.loss.header,
            **options, "dtype": self.dtype.name, "seed": self.seed,
        }  # fmt: skip
        return f"{list(self.sizes)}, " + ", ".join(f"{n}={v!r}" for n, v in given.items())


def checked_sizes(sizes):
    """Return the widths as a tuple of int."""
    if isinstance(sizes, (str, bytes)) or not hasattr(sizes, "__iter__"):
        raise TypeError(f"sizes must be a sequence of whole numbers, got {sizes!r}")
    checked = tuple(check_whole(f"sizes[{i}]", size) for i, size in enumerate(sizes))
    if len(checked) < 2:
        raise ValueError(f"sizes must hold the inputs and at least one layer, got {sizes!r}")
    return checked


def checked_activations(activation, hidden):
    """Return an `Activation` for each hidden layer."""
    allowed = {name: a for name, a in ACTIVATIONS.items() if a.hidden}
    several = isinstance(activation, (list, tuple))
    found = one_for_each("activation", activation, hidden) if several else [activation] * hidden
    if not several:
        checked_activation("activation", activation, allowed)
    return [checked_activation("activation", a, allowed) for a in found]


def checked_output(output, loss, outputs):
    """Return the last layer's `Activation`, which must suit the loss."""
    output = checked_activation("output", loss.output if output is None else output)
    if loss.outputs is not None and output.name not in loss.outputs:
        raise ValueError(
            f"output={output.name!r} does not suit loss={loss.name!r}; "
            f"allowed are {', '.join(loss.outputs)}"
        )
    if output.name == "softmax" and outputs == 1:
        raise ValueError(
            "softmax of a single output is always 1; take two outputs, or "
            "loss='binary_cross_entropy' with one"
        )
    return output


def checked_dtype(dtype):
    """Return float32 or float64 as a numpy.dtype."""
    try:
        checked = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype must be float32 or float64, got {dtype!r}") from None
    if checked not in (np.float32, np.float64) or not checked.isnative:
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
    return checked


def checked_seed(seed):
    """Return the seed, or one from the system."""
    if seed is None:
        return int.from_bytes(os.urandom(8), "little")
    seed = check_whole("seed", seed, 0)
    if seed >= 2**64:
        raise ValueError(f"seed must be below 2**64, got {seed}")
    return seed
