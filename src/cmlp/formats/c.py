"""The C format: `write` exports one self-contained C99 file with a header."""

from cmlp._model.quantized import QuantizedState
from cmlp.formats import c_quantized, c_source


def write(state, path, **options):
    """Write a `ModelState` or a `QuantizedState`; see `c_source.write`."""
    if isinstance(state, QuantizedState):
        options["renderer"] = c_quantized.QuantizedRenderer
    c_source.write(state, path, **options)
