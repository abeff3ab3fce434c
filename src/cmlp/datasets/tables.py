"""Readers for tables: CSV files with a label column, and NumPy archives."""

import csv
import math
import zipfile

import numpy as np

from cmlp._utils.validation import find_similar
from cmlp.datasets.idx import MAX_DEFLATE_RATIO, read_into
from cmlp.formats.npy import read_npy_header

# Column names that `load_csv` takes for the labels, in order of precedence.
LABEL_NAMES = ("label", "labels", "class", "target", "y")

# The arrays of an archive with separate training and test data.
SPLIT_NAMES = ("x_train", "y_train", "x_test", "y_test")


def load_csv(path, label=None, header=None):
    """Read a CSV file of numbers.

    Parameters
    ----------
    path : str or os.PathLike
    label : str, int, bool or None
        The label column: its name, or its index from 0 (negative counts from the end). None
        selects the column named label, labels, class, target or y, else the last one. False
        treats all columns as features.
    header : bool, optional
        Whether the first line holds column names. None: it does if any of its cells is not a
        number.

    Returns
    -------
    X : ndarray of float32, shape (n_samples, n_features)
        All columns except the label column.
    y : ndarray of shape (n_samples,) or None
        int64 if all labels are integers, else float64. None if `label` is False.

    Raises
    ------
    ValueError
        If the file has no rows, the rows differ in length, a cell is not a finite number (the
        message gives the line, counted from 1, and the column, counted from 0), or the label
        column does not exist.
    OSError
        If the file cannot be opened.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        try:
            rows = [(line, row) for line, row in number_rows(csv.reader(file)) if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not a CSV file in UTF-8: {error}") from None
    if not rows:
        raise ValueError(f"{path}: the file has no rows")
    first = rows[0][1]
    if header is None:
        header = not all(is_number(cell) for cell in first)
    names = [cell.strip() for cell in first] if header else None
    rows = rows[1:] if header else rows
    if not rows:
        raise ValueError(f"{path}: the file has no rows below the header")
    table = np.array([parse_row(path, line, row, len(first)) for line, row in rows])
    lines = [line for line, _ in rows]
    if label is False:
        return convert_features(path, lines, table), None
    column = find_label_column(path, label, names, table.shape[1])
    y = table[:, column]
    # float64 holds all integers up to 2^53.
    has_integers = (y == np.trunc(y)).all() and (np.abs(y) <= 2**53).all()
    return (
        convert_features(path, lines, np.delete(table, column, axis=1)),
        y.astype(np.int64) if has_integers else y.copy(),
    )


def convert_features(path, lines, table):
    """Return features as float32; raise `ValueError` with the line of one that is too large."""
    with np.errstate(over="ignore"):
        features = table.astype(np.float32)
    is_finite = np.isfinite(features)
    if not is_finite.all():
        row, column = np.argwhere(~is_finite)[0]
        raise ValueError(
            f"{path}: row {lines[row]} holds {table[row, column]:g}, which is beyond float32"
        )
    return features


def number_rows(reader):
    """Yield (line, row) for each row: the number, from 1, of the line on which it ends."""
    for row in reader:
        yield reader.line_num, row


def is_number(cell):
    """Return whether `float` can parse a cell."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def parse_row(path, line, row, columns):
    """Return the cells of a row as a list of `columns` finite floats, or raise `ValueError`."""
    if len(row) != columns:
        raise ValueError(f"{path}: row {line} has {len(row)} columns instead of {columns}")
    try:
        values = [float(cell) for cell in row]
        if np.isfinite(values).all():
            return values
    except ValueError:
        pass
    for column, cell in enumerate(row):
        if not is_number(cell) or not np.isfinite(float(cell)):
            raise ValueError(
                f"{path}: row {line}, column {column} holds {cell!r}, which is not a finite number"
            )


def find_label_column(path, label, names, columns):
    """Return the index of the label column.

    Parameters
    ----------
    path : str or os.PathLike
        For error messages.
    label : str, int or None
        As in `load_csv`.
    names : list of str or None
        The column names, if the file has a header.
    columns : int
        Number of columns.
    """
    if label is None:
        lower = [name.lower() for name in names or ()]
        return next((lower.index(name) for name in LABEL_NAMES if name in lower), columns - 1)
    if names and label in names:
        return names.index(label)
    try:
        index = int(label)
    except (TypeError, ValueError):
        near = find_similar(label, names) if names and isinstance(label, str) else None
        hint = f" (did you mean {near!r}?)" if near else ""
        raise ValueError(
            f"{path}: column {label!r} does not exist{hint}; "
            + (f"the columns are {', '.join(names)}" if names else "the file has no header")
        ) from None
    if not -columns <= index < columns:
        raise ValueError(f"{path}: column {index} does not exist; the file has {columns} columns")
    return index % columns


def load_npz(path):
    """Read a data set from a NumPy archive.

    Parameters
    ----------
    path : str or os.PathLike
        An archive with the arrays ``X`` and, optionally, ``y``, or with ``x_train``,
        ``y_train``, ``x_test`` and ``y_test``.

    Returns
    -------
    train : tuple (X, y)
        `y` is None if the archive has only ``X``.
    test : tuple (X, y) or None
        None if the archive has no separate test data.

    Raises
    ------
    ValueError
        If the file is not a NumPy archive, an array is damaged, holds Python objects or does not
        fit into memory, or these arrays are missing.
    OSError
        If the file cannot be opened.

    Notes
    -----
    Other arrays of the archive are not read. No array is allocated before its size is known to be
    possible for the number of compressed bytes.
    """
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = {i.filename.removesuffix(".npy"): i for i in archive.infolist()}
                names = next((n for n in (SPLIT_NAMES, ("X", "y")) if set(n) <= set(members)), "X")
                arrays = {
                    name: read_member(archive, members[name]) for name in names if name in members
                }
        except MemoryError:
            raise ValueError(f"{path}: its arrays do not fit into memory") from None
        except Exception as error:  # zipfile and the decompressors raise many types
            raise ValueError(f"{path}: not a NumPy archive: {error}") from None
    if names == SPLIT_NAMES:
        x_train, y_train, x_test, y_test = arrays.values()
        return (x_train, y_train), (x_test, y_test)
    if "X" in arrays:
        return (arrays["X"], arrays.get("y")), None
    raise ValueError(
        f"{path}: it must hold X and y, or {', '.join(SPLIT_NAMES[:-1])} and {SPLIT_NAMES[-1]}; "
        f"got {', '.join(members) or 'an empty archive'}"
    )


def read_member(archive, member):
    """Return the array of a member of a zip archive.

    Parameters
    ----------
    archive : zipfile.ZipFile
    member : zipfile.ZipInfo

    Raises
    ------
    ValueError
        If it is not an array, is compressed by another method than deflate, or has another size
        than its header says.
    """
    name = member.filename
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name!r} must be stored or deflated")
    with archive.open(member) as stream:
        shape, is_fortran, dtype = read_npy_header(stream)
        if dtype.hasobject:
            raise ValueError(f"Object arrays are not supported: {name!r}")
        size = math.prod(shape) * dtype.itemsize
        # The headers of the archive and of the array may both be wrong; the file's length is not.
        ratio = 1 if member.compress_type == zipfile.ZIP_STORED else MAX_DEFLATE_RATIO
        if size > member.file_size or size > member.compress_size * ratio:
            raise ValueError(f"{name!r} does not have the {size} bytes of its shape {shape}")
        data = np.empty(size, np.uint8)
        if read_into(stream, memoryview(data)) != size or stream.read(1):
            raise ValueError(f"{name!r} does not have the {size} bytes of its shape {shape}")
    return data.view(dtype).reshape(shape, order="F" if is_fortran else "C")
