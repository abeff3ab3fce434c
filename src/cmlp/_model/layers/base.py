"""The interface of a layer specification."""

from dataclasses import MISSING, fields
from typing import ClassVar

from cmlp._utils.fields import Record, check_fields


class Layer(Record):
    """A layer's specification, without its parameters.

    Subclasses are frozen dataclasses. By default a layer has no parameters, and its
    number of outputs equals its number of inputs.

    Attributes
    ----------
    kind : str
        Name of the kind in files, in `LAYERS` and in the compiled engine.
    is_input_layer : bool
        Whether the layer transforms the network's input, before the first dense layer.
    frozen : bool
        Whether training leaves its parameters as they are; a field of the kinds that have any.
    """

    kind: ClassVar[str]
    is_input_layer: ClassVar[bool] = True
    frozen: bool = False

    def __post_init__(self):
        check_fields(self)

    def count_outputs(self, inputs):
        """Return the number of columns that the layer computes from `inputs` columns."""
        return inputs

    def tensors(self, inputs):
        """Return the shapes of the layer's parameters, a dict from name to (rows, columns)."""
        return {}

    def statistics(self, inputs):
        """Return the shapes of the arrays that training updates without gradients."""
        return {}

    def draw(self, rng, init, inputs):
        """Return the initial values of the tensors and statistics, a dict from name to array.

        Parameters
        ----------
        rng : numpy.random.Generator
        init : str, float or callable
            As in `cmlp.Network`.
        inputs : int
            Number of columns that the layer reads.
        """
        return {}

    @property
    def label(self):
        """Name of the layer in a table of layers."""
        return self.kind

    @property
    def header(self):
        """The specification as a dict that JSON can hold; values equal to the default are omitted.

        A value that has the attribute `header` is replaced by it.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)
                  if getattr(self, field.name) != field.default}  # fmt: skip
        return {"kind": self.kind, **{n: getattr(v, "header", v) for n, v in values.items()}}

    @classmethod
    def from_header(cls, values):
        """Return the layer for a header without its `kind`.

        Raises
        ------
        KeyError
            If a value is missing.
        TypeError, ValueError
            If a value is unknown or does not fit.
        """
        names = [field.name for field in fields(cls)]
        for name in values:
            if name not in names:
                raise ValueError(f"a layer of kind {cls.kind!r} must not have {name!r}")
        for field in fields(cls):
            if field.default is MISSING and field.name not in values:
                raise KeyError(field.name)
        return cls(**values)
