"""Layer specifications: one dataclass for each kind of layer.

To add a kind of layer, write a module here with a subclass of `Layer` and add the class to
`LAYERS`; the compiled engine has a header of the same name and a table of its own (see
CONTRIBUTING.md).
"""

from cmlp._model.layers.base import Layer
from cmlp._model.layers.dense import Dense
from cmlp._model.layers.encoders import (
    Embedding,
    Encoder,
    OneHot,
    Periodic,
    Scale,
    check_encoders,
    list_segments,
    trace_codes,
)
from cmlp._model.layers.input_dropout import InputDropout
from cmlp._model.layers.input_noise import InputNoise
from cmlp._utils.validation import look_up

__all__ = [
    "LAYERS", "Dense", "Embedding", "Encoder", "InputDropout", "InputNoise", "Layer", "OneHot",
    "Periodic", "Scale", "check_encoders", "layer_from_header", "list_segments", "trace_codes",
]  # fmt: skip

# Kind of layer, as files name it -> class.
LAYERS = {layer.kind: layer for layer in (
    Dense, InputNoise, InputDropout, Scale, OneHot, Embedding, Periodic,
)}  # fmt: skip


def layer_from_header(header):
    """Return the layer that a file's header describes.

    Raises
    ------
    KeyError
        If a value is missing.
    TypeError, ValueError
        If the header is not a dict, the kind is unknown, or a value does not fit.
    """
    if not isinstance(header, dict):
        raise TypeError(f"a layer must be an object; got {header!r}")
    values = dict(header)
    return look_up("kind", values.pop("kind"), LAYERS).from_header(values)
