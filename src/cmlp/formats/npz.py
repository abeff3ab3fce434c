"""The ``.npz`` format: a JSON header and the arrays, no pickle anywhere.

A zip of uncompressed ``.npy`` members: ``header`` holds the bytes of a JSON object; each other
member is one array, ``weight_0`` (outputs, inputs), ``bias_0`` (outputs, 1) and so on.
"""

import zipfile

import numpy as np

from cmlp.files.atomic import replacing
from cmlp.files.headers import HeaderReader, header_text

MOST_HEADER_BYTES = 1 << 26


def write(path, header, arrays):
    """Write a header (a dict that JSON can hold) and named arrays, atomically."""
    text = header_text(header).encode()
    with replacing(path) as file:
        np.savez(file, header=np.frombuffer(text, np.uint8), **arrays)


class Reader(HeaderReader):
    """Reads a file that `write` wrote; every array is checked before it is read.

    No array can be larger than the file, as no member may be compressed.

    Raises
    ------
    ValueError
        Naming the file and what is wrong with it.
    """

    def __enter__(self):
        file = open(self.path, "rb")
        try:
            self.zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            file.close()
            raise self.broken(error) from None
        self.file = file
        try:
            self.unread = set(self.zip.namelist())
            self.header = self.parsed(self.read("header", None, np.dtype(np.uint8)).tobytes())
        except BaseException:
            self.__exit__(True)
            raise
        return self

    def __exit__(self, failed, *_):
        self.zip.close()
        self.file.close()
        super().__exit__(failed)

    def read(self, name, shape, dtype):
        """Return the array `name`, which must have this shape (None: a short vector) and dtype."""
        member = name + ".npy"
        self.take(member, name)
        try:
            if self.zip.getinfo(member).compress_type != zipfile.ZIP_STORED:
                raise self.broken(f"{name!r} is compressed")
            with self.zip.open(member) as stream:
                found, fortran, found_dtype = read_npy_header(stream)
                if shape is None and len(found) == 1 and found[0] <= MOST_HEADER_BYTES:
                    shape = found
                if (found, found_dtype) != (shape, dtype):
                    wanted = "a short vector" if shape is None else shape
                    raise self.broken(
                        f"{name!r} is {found} of {found_dtype}, not {wanted} of {dtype}"
                    )
                size = int(np.prod(shape)) * dtype.itemsize
                data = stream.read(size)
                if len(data) != size or stream.read(1):
                    raise self.broken(f"{name!r} does not have the {size} bytes of its shape")
        except (OSError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise self.broken(f"{name!r} cannot be read: {error}") from None
        return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def read_npy_header(stream):
    """Return shape, Fortran order and dtype of an ``.npy`` stream; leave it at the data."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version = np.lib.format.read_magic(stream)
        if version not in readers:
            raise ValueError(f"npy version {version} is unknown")
        return readers[version](stream)
    except ValueError as error:
        raise OSError(error) from None
