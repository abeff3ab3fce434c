"""The ``.npz`` format: a JSON header and the arrays, no pickle anywhere.

A zip of uncompressed ``.npy`` members: ``header`` holds the bytes of a JSON object, `FORMAT` and
`VERSION` in it; each other member is one array, ``weight_0`` (outputs, inputs),
``bias_0`` (outputs, 1) and so on.
"""

import json
import os
import zipfile

import numpy as np

from cmlp.files.atomic import replacing

FORMAT, VERSION = "cmlp", 1
MOST_HEADER_BYTES = 1 << 26


def header_text(header):
    """Return a header as JSON, with the format and its version."""
    return json.dumps(
        {"format": FORMAT, "version": VERSION, **header}, default=lambda number: number.item()
    )


def parsed_header(text, broken):
    """Return a header, of a known format and version, by its JSON; `broken` makes the error."""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise broken(f"its header is not JSON: {error}") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise broken(f"its header does not say format {FORMAT!r}")
    if header.get("version") != VERSION:
        raise broken(f"its version is {header.get('version')!r}, known is {VERSION}")
    return header


def write(path, header, arrays):
    """Write a header (a dict that JSON can hold) and named arrays, atomically."""
    text = header_text(header).encode()
    with replacing(path) as file:
        np.savez(file, header=np.frombuffer(text, np.uint8), **arrays)


class Reader:
    """Reads a file that `write` wrote; every array is checked before it is read.

    No array can be larger than the file, as no member may be compressed.

    Raises
    ------
    ValueError
        Naming the file and what is wrong with it.
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        self.unread = set()

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
            self.header = self.read_header()
        except BaseException:
            self.__exit__(True)
            raise
        return self

    def __exit__(self, failed, *_):
        self.zip.close()
        self.file.close()
        if not failed and self.unread:
            raise self.broken(f"it holds members that are unknown: {sorted(self.unread)}")

    def broken(self, reason):
        """Return the error that says why the file is refused."""
        return ValueError(f"{self.path} is not a network file: {reason}")

    def read_header(self):
        """Return the header, of a known format and version."""
        return parsed_header(self.read("header", None, np.dtype(np.uint8)).tobytes(), self.broken)

    def read(self, name, shape, dtype):
        """Return the array `name`, which must have this shape (None: a short vector) and dtype."""
        member = name + ".npy"
        if member not in self.unread:
            raise self.broken(f"it has no array {name!r}")
        self.unread.discard(member)
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
