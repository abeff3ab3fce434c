"""File formats and models of other frameworks: the registry.

`base` documents the protocol and how to add a format.
"""

import os

from cmlp._utils.validation import decode_path, look_up
from cmlp.formats.base import Format

FORMATS = {
    format.name: format
    for format in (
        Format("npz", "npz", ".npz", reads=True, writes=True, is_native=True),
        Format(
            "safetensors", "safetensors", ".safetensors", package="safetensors.numpy",
            package_title="safetensors", extra="safetensors", reads=True, writes=True,
            is_native=True,
        ),
        Format(
            "onnx", "onnx", ".onnx", package="onnx", package_title="onnx", extra="onnx",
            reads=True, writes=True,
        ),
        Format("c", "c", ".c", writes=True),
        Format("html", "html", ".html", writes=True),
        Format(
            "torch", "torch", package="torch", package_title="PyTorch", extra="torch",
            reads=True, writes=True,
        ),
        Format(
            "keras", "keras", package="keras", package_title="Keras", extra="keras",
            reads=True, writes=True,
        ),
        Format(
            "sklearn", "sklearn_mlp", package="sklearn.neural_network",
            package_title="scikit-learn", extra="sklearn", reads=True,
        ),
    )
}  # fmt: skip


def get_format(name):
    """Return the `Format` of this name; raise ValueError if there is none."""
    return look_up("format", name, FORMATS)


def get_native_format(path, for_reading=False):
    """Return the native format of a file, chosen by its extension.

    Parameters
    ----------
    path : str or os.PathLike
    for_reading : bool, default False
        Treat unknown extensions as ``.npz``, so that a renamed file still loads.

    Returns
    -------
    Format

    Raises
    ------
    ValueError
        If no native format has the extension.
    """
    path = decode_path(path)
    extension = os.path.splitext(path)[1]
    native = {f.extension: f for f in FORMATS.values() if f.is_native}
    if extension in native:
        return native[extension]
    if for_reading:
        return FORMATS["npz"]
    raise ValueError(f"path must end in {' or '.join(native)}; got {path!r}")


def list_export_formats():
    """Return the formats that write files: a list of `Format`."""
    return [f for f in FORMATS.values() if f.writes and f.extension is not None]
