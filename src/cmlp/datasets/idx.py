"""Reader for IDX files, the format of the MNIST database, plain or gzip-compressed.

Layout (LeCun, Cortes and Burges, "The MNIST database"): two zero bytes; one byte for the
element type; one byte for the number of dimensions; each dimension as a big-endian uint32;
then the elements, big-endian and row-major.
"""

import gzip
import math
import os
import sys
import zlib

import numpy as np

# Type byte -> NumPy dtype.
TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

GZIP_MAGIC = b"\x1f\x8b"

# Highest possible ratio of decompressed to compressed size ("zlib technical details",
# https://zlib.net/zlib_tech.html).
MAX_DEFLATE_RATIO = 1032

MAX_DIMENSIONS = 64  # NumPy's limit


def load_idx(path):
    """Read an IDX file, plain or gzip-compressed.

    The array is allocated only if its size is consistent with the length of the file.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    ndarray
        Shape and type as stored, in native byte order.

    Raises
    ------
    ValueError
        If the file is not an IDX file, is truncated, has trailing bytes, or its gzip data are
        corrupt. The message names the file and the reason.
    OSError
        If the file cannot be opened.
    """
    with open(path, "rb") as file:
        file_size = os.fstat(file.fileno()).st_size
        is_packed = file.read(2) == GZIP_MAGIC
        file.seek(0)
        try:
            if not is_packed:
                return read_idx(file, path, file_size)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return read_idx(unpacked, path, file_size * MAX_DEFLATE_RATIO)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: the gzip data are corrupt: {error}") from None


def read_idx(stream, path, max_bytes):
    """Read the array from a binary stream that holds at most `max_bytes` bytes."""
    start = stream.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in TYPES:
        raise ValueError(f"{path}: not an IDX file; its first bytes are {start!r}")
    dtype, dimensions = np.dtype(TYPES[start[2]]), start[3]
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise ValueError(f"{path}: truncated, the sizes of {dimensions} dimensions are missing")
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
    size = math.prod(shape) * dtype.itemsize
    # NumPy's limit, which counts dimensions of 0 as 1.
    if size == 0 and math.prod(max(n, 1) for n in shape) * dtype.itemsize > sys.maxsize:
        raise ValueError(f"{path}: its shape {shape} is too large")
    if size > max_bytes:
        raise ValueError(f"{path}: truncated, its shape {shape} needs {size} bytes")
    if dimensions > MAX_DIMENSIONS:
        raise ValueError(
            f"{path}: the number of dimensions must be at most {MAX_DIMENSIONS}; got {dimensions}"
        )
    data = np.empty(size, np.uint8)
    found = read_into(stream, memoryview(data))
    if found < size:
        raise ValueError(f"{path}: truncated, its shape {shape} needs {size} bytes; found {found}")
    if stream.read(1):
        raise ValueError(
            f"{path}: oversized, it has more bytes than the {size} that its shape {shape} needs"
        )
    return data.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def read_into(stream, view):
    """Fill `view` from the stream; return the number of bytes read, less at its end."""
    done = 0
    while done < len(view) and (count := stream.readinto(view[done:])):
        done += count
    return done
