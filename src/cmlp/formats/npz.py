"""The ``.npz`` format: a JSON header and arrays in a zip archive, without pickles.

The archive has uncompressed ``.npy`` members. ``header`` contains the bytes of a JSON object;
every other member is one array: ``weight_0`` (outputs, inputs), ``bias_0`` (outputs, 1) and so on.
"""

import zipfile

import numpy as np

from cmlp.formats.archive import ArchiveReader, pack, unpack
from cmlp.formats.atomic import replace_file
from cmlp.formats.header import encode_header
from cmlp.formats.npy import read_npy_header

MAX_HEADER_BYTES = 64 << 20


def write(state, path, optimizer=False):
    """Write a state to a file, atomically; see `cmlp.Network.save`.

    Parameters
    ----------
    state : ModelState
        Its checkpoint is stored too, unless `optimizer` is True.
    path : str or os.PathLike
    optimizer : bool, default False
        Store the state of the optimizer of `partial_fit`.

    Raises
    ------
    ValueError
        If `optimizer` is True and the state has no optimizer.
    TypeError
        If the header contains other values than numbers, strings, lists and dicts.
    FileNotFoundError
        If the directory of `path` does not exist.
    """
    write_archive(path, *pack(state, optimizer))


def write_archive(path, header, arrays):
    """Write a header and named arrays to a file, atomically.

    Parameters
    ----------
    path : str or os.PathLike
    header : dict
        Without format and version.
    arrays : dict of ndarray

    Raises
    ------
    TypeError, FileNotFoundError
        As for `write`.
    """
    text = encode_header(header).encode()
    with replace_file(path) as file:
        try:
            np.savez(file, header=np.frombuffer(text, np.uint8), **arrays)
        except ValueError as error:
            # Ctrl-C between two statements of zipfile can leave a member open. Closing the archive
            # then fails, and that error would hide the interruption.
            if isinstance(error.__context__, KeyboardInterrupt):
                raise error.__context__ from None
            raise


def read(path, loss=None):
    """Return the state that a file stores; see `cmlp.Network.load`.

    Parameters
    ----------
    path : str or os.PathLike
    loss : callable, optional
        The network's loss if it was a callable, which files do not store.

    Returns
    -------
    ModelState

    Raises
    ------
    ValueError
        If the file is invalid; the message names it and the reason.
    FileNotFoundError
        If the file does not exist.
    """
    with open_archive(path) as reader:
        return unpack(reader, loss)


def open_archive(path):
    """Return the reader of a file, to be used in a ``with`` statement."""
    return NpzReader(path)


class NpzReader(ArchiveReader):
    """Reads a file that `write` wrote; every array is checked before it is read.

    Compressed members are refused, so no array is larger than the file.

    Raises
    ------
    ValueError
        If the file is invalid; the message names it and the reason.
    """

    def __enter__(self):
        file = open(self.path, "rb")
        try:
            self.archive = zipfile.ZipFile(file)
        except Exception as error:  # zipfile raises many types
            file.close()
            raise self.make_error(error) from None
        self.file = file
        try:
            names = self.archive.namelist()
            self.unread = set(names)
            if len(names) > len(self.unread):
                raise self.make_error("two members have the same name")
            self.decode_header(self.read("header", None, np.dtype(np.uint8)).tobytes())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.archive.close()
        self.file.close()

    def read(self, name, shape, dtype):
        """Return an array.

        Parameters
        ----------
        name : str
        shape : tuple of int or None
            None accepts any vector of at most `MAX_HEADER_BYTES` elements.
        dtype : numpy.dtype

        Raises
        ------
        ValueError
            If the array is missing, compressed, damaged, or has another shape or dtype.
        """
        member = name + ".npy"
        self.mark_read(member, name)
        try:
            if self.archive.getinfo(member).compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{name!r} is compressed")
            with self.archive.open(member) as stream:
                return read_member(stream, name, shape, dtype)
        except ValueError as error:
            raise self.make_error(error) from None
        except Exception as error:  # zipfile raises many types
            raise self.make_error(f"{name!r} cannot be read: {error}") from None


def read_member(stream, name, shape, dtype):
    """Return the array of an open ``.npy`` member; see `NpzReader.read`."""
    try:
        found, is_fortran, found_dtype = read_npy_header(stream)
    except ValueError as error:
        raise ValueError(f"{name!r} cannot be read: {error}") from None
    if shape is None and len(found) == 1 and found[0] <= MAX_HEADER_BYTES:
        shape = found
    if (found, found_dtype) != (shape, dtype):
        expected = "a short vector" if shape is None else shape
        raise ValueError(f"{name!r} is {found} of {found_dtype}, not {expected} of {dtype}")
    size = int(np.prod(shape)) * dtype.itemsize
    data = stream.read(size)
    if len(data) != size or stream.read(1):
        raise ValueError(f"{name!r} does not have the {size} bytes of its shape")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")
