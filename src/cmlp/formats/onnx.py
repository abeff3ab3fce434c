"""The ONNX format, by the package ``onnx``: `write` exports a model, `read` imports one."""

from cmlp._model.quantized import QuantizedState
from cmlp.formats import onnx_export, onnx_quantized
from cmlp.formats.onnx_import import read

__all__ = ["read", "write"]


def write(state, path, **options):
    """Write a `ModelState` or a `QuantizedState`; see `onnx_export.write`."""
    if isinstance(state, QuantizedState):
        options["add_layers"] = onnx_quantized.add_layers
    onnx_export.write(state, path, **options)
