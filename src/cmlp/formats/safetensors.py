"""The ``.safetensors`` format, by the package of that name: arrays, and a header as metadata.

The arrays have the names and shapes of the ``.npz`` format; the metadata hold ``cmlp``, the JSON
text of its header.
"""

import os

import numpy as np

from cmlp.checks import optional
from cmlp.files.atomic import replacing
from cmlp.files.headers import HeaderReader, header_text


def package():
    """Return the package; raises `ImportError` without it."""
    return optional("safetensors.numpy", ".safetensors files", "safetensors", "safetensors")


def write(path, header, arrays):
    """Write a header and named arrays, atomically."""
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data = package().save(tensors, {"cmlp": header_text(header)})
    with replacing(path) as file:
        file.write(data)


class Reader(HeaderReader):
    """Reads a file that `write` wrote; the interface is that of `npz.Reader`.

    Raises
    ------
    ValueError
        Naming the file and what is wrong with it.
    """

    def __enter__(self):
        package()
        from safetensors import SafetensorError, safe_open

        if not os.path.exists(self.path):
            raise FileNotFoundError(f"{self.path} does not exist")
        try:
            # The package checks all sizes and offsets against the file's before it reads.
            self.file = safe_open(self.path, framework="np")
            metadata = self.file.metadata() or {}
            self.unread = set(self.file.keys())
        except (SafetensorError, OSError) as error:
            raise self.broken(error) from None
        if "cmlp" not in metadata:
            raise self.broken("its metadata have no 'cmlp'")
        self.header = self.parsed(metadata["cmlp"])
        return self

    def read(self, name, shape, dtype):
        """Return the array `name`, which must have this shape and dtype."""
        self.take(name, name)
        found = self.file.get_slice(name)
        kinds = {"F32": "float32", "F64": "float64"}
        kind, size = kinds.get(found.get_dtype(), found.get_dtype()), tuple(found.get_shape())
        if (size, kind) != (shape, dtype.name):
            raise self.broken(f"{name!r} is {size} of {kind}, not {shape} of {dtype}")
        return self.file.get_tensor(name)
