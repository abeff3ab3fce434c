"""IDX files: the format of the MNIST database, plain or gzip.

Layout (LeCun, Cortes and Burges, the MNIST page): two zero bytes, a byte for the
type, a byte for the number of dimensions, each dimension as a big-endian uint32,
then the elements, big-endian, the last dimension fastest.
"""

import gzip
import math
import os
import zlib

import numpy as np

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

# Deflate cannot expand data further than this (zlib's technical notes).
MOST_EXPANSION = 1032


def load_idx(path):
    """Read an IDX file, plain or gzip.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    ndarray
        Of the file's shape and type, in the machine's byte order.

    Raises
    ------
    ValueError
        If the file is truncated, too long, corrupt, or no IDX file: naming the file and
        the reason. Nothing is allocated that the file's length could not fill.
    OSError
        If it cannot be opened.
    """
    with open(path, "rb") as file:
        room = os.fstat(file.fileno()).st_size
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            if not packed:
                return read_idx(file, path, room)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return read_idx(unpacked, path, room * MOST_EXPANSION)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: the gzip data are corrupt: {error}") from None


def read_idx(stream, path, room):
    """Read the array from a stream of at most `room` bytes."""
    start = stream.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in TYPES:
        raise ValueError(f"{path}: no IDX file, it begins with {start!r}")
    dtype, dimensions = np.dtype(TYPES[start[2]]), start[3]
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise ValueError(f"{path}: truncated, the sizes of {dimensions} dimensions are missing")
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
    size = math.prod(shape) * dtype.itemsize
    if size > room:
        raise ValueError(f"{path}: truncated, its shape {shape} needs {size} bytes")
    if dimensions > 64:
        raise ValueError(f"{path}: {dimensions} dimensions, at most 64 are possible")
    data = np.empty(size, np.uint8)
    found = read_into(stream, memoryview(data))
    if found < size:
        raise ValueError(f"{path}: truncated, its shape {shape} needs {size} bytes, found {found}")
    if stream.read(1):
        raise ValueError(
            f"{path}: oversized, there are bytes after the {size} of its shape {shape}"
        )
    return data.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def read_into(stream, view):
    """Fill `view` from the stream; return how many bytes there were."""
    done = 0
    while done < len(view) and (got := stream.readinto(view[done:])):
        done += got
    return done
