"""The ``.safetensors`` format, by the package of that name.

The arrays have the names and shapes of the ``.npz`` format; the metadata have one entry, ``cmlp``,
the JSON text of the header.
"""

import os

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cmlp.formats.archive import ArchiveReader, pack, unpack
from cmlp.formats.atomic import replace_file
from cmlp.formats.header import encode_header

# dtypes of networks, as the format names them
DTYPES = {"F32": "float32", "F64": "float64", "I8": "int8", "I32": "int32"}


def write(state, path, optimizer=False):
    """Write a state to a file, atomically; arguments and errors are those of `npz.write`."""
    write_archive(path, *pack(state, optimizer))


def write_archive(path, header, arrays):
    """Write a header and named arrays to a file; see `npz.write_archive`."""
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data = save(tensors, {"cmlp": encode_header(header)})
    with replace_file(path) as file:
        file.write(data)


def read(path, loss=None):
    """Return the state that a file stores; arguments and errors are those of `npz.read`."""
    with open_archive(path) as reader:
        return unpack(reader, loss)


def open_archive(path):
    """Return the reader of a file, to be used in a ``with`` statement."""
    return SafetensorsReader(path)


class SafetensorsReader(ArchiveReader):
    """Reads a file that `write` wrote; the interface is that of `npz.NpzReader`.

    Raises
    ------
    ValueError
        If the file is invalid; the message names it and the reason.
    """

    def __enter__(self):
        if not os.path.exists(self.path):
            raise FileNotFoundError(f"{self.path} does not exist")
        try:
            # safe_open checks all sizes and offsets against the size of the file.
            self.file = safe_open(self.path, framework="np")
            metadata = self.file.metadata() or {}
            self.unread = set(self.file.keys())
        except (SafetensorError, OSError) as error:
            raise self.make_error(error) from None
        if "cmlp" not in metadata:
            raise self.make_error("its metadata have no entry 'cmlp'")
        self.decode_header(metadata["cmlp"])
        return self

    def __exit__(self, *_):
        del self.file

    def read(self, name, shape, dtype):
        """Return the array `name`; raise ValueError unless it has this shape and dtype."""
        self.mark_read(name, name)
        found = self.file.get_slice(name)
        found_shape, found_dtype = tuple(found.get_shape()), found.get_dtype()
        found_dtype = DTYPES.get(found_dtype, found_dtype)
        if (found_shape, found_dtype) != (shape, dtype.name):
            raise self.make_error(
                f"{name!r} is {found_shape} of {found_dtype}, not {shape} of {dtype}"
            )
        return self.file.get_tensor(name)
