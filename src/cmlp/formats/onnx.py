"""The ONNX format, by the package ``onnx``: `write` exports a model, `read` imports one."""

from cmlp.formats.onnx_export import write
from cmlp.formats.onnx_import import read

__all__ = ["read", "write"]
