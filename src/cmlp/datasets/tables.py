"""Tables for the command line: CSV files with a label column, and NumPy archives."""

import csv
from zipfile import BadZipFile

import numpy as np

LABEL_NAMES = ("label", "labels", "class", "target", "y")


def load_csv(path, label=None, header=None):
    """Read a CSV file of numbers.

    Parameters
    ----------
    path : str or os.PathLike
    label : str, int, bool or None
        The column of labels: its name, or its number from 0 (negative from the end). None
        takes one that is called label, class, target or y, else the last; False says that
        there is none.
    header : bool, optional
        Whether the first line names the columns. None looks: a line with anything but
        numbers is a header.

    Returns
    -------
    X : ndarray of float32, shape (n, columns without the label)
    y : ndarray or None
        Shape (n,): int64 where all labels are whole, else float64.

    Raises
    ------
    ValueError
        If there are no rows, a row has another length, a cell is no finite number (row,
        from 1 as an editor counts, and column are named), or there is no such column.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = [(number, row) for number, row in numbered(csv.reader(file)) if row]
    if not rows:
        raise ValueError(f"{path}: there are no rows")
    first = rows[0][1]
    if header is None:
        header = not all(is_number(cell) for cell in first)
    names = [cell.strip() for cell in first] if header else None
    rows = rows[1:] if header else rows
    if not rows:
        raise ValueError(f"{path}: there are no rows below the header")
    table = np.array([numbers(path, number, row, names or first) for number, row in rows])
    if label is False:
        return table.astype(np.float32), None
    column = label_column(path, label, names, table.shape[1])
    y = table[:, column]
    whole = (y == np.trunc(y)).all()
    return (
        np.delete(table, column, axis=1).astype(np.float32),
        y.astype(np.int64) if whole else y.copy(),
    )


def numbered(reader):
    """Yield each row with the number of the line that it ends on."""
    for row in reader:
        yield reader.line_num, row


def is_number(cell):
    """Return whether a cell is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def numbers(path, number, row, first):
    """Return a row as floats; what is no finite number is named."""
    if len(row) != len(first):
        raise ValueError(f"{path}: row {number} has {len(row)} columns, expected {len(first)}")
    try:
        values = [float(cell) for cell in row]
        if np.isfinite(values).all():
            return values
    except ValueError:
        pass
    for column, cell in enumerate(row):
        if not is_number(cell) or not np.isfinite(float(cell)):
            raise ValueError(
                f"{path}: row {number}, column {column} holds {cell!r}, which is no finite number"
            )


def label_column(path, label, names, columns):
    """Return the number of the label column."""
    if label is None:
        lower = [name.lower() for name in names or ()]
        return next((lower.index(name) for name in LABEL_NAMES if name in lower), columns - 1)
    if names and label in names:
        return names.index(label)
    try:
        number = int(label)
    except (TypeError, ValueError):
        raise ValueError(
            f"{path}: there is no column {label!r}; "
            + (f"there are {', '.join(names)}" if names else "the file has no header")
        ) from None
    if not -columns <= number < columns:
        raise ValueError(f"{path}: there is no column {number}; there are {columns}")
    return number % columns


def load_npz(path):
    """Read a data set from a NumPy archive.

    Parameters
    ----------
    path : str or os.PathLike
        With arrays ``X`` and ``y``, or ``x_train``, ``y_train``, ``x_test``, ``y_test``.

    Returns
    -------
    train, test : tuple of ndarray, tuple of ndarray or None
        (X, y) each; `y` is None where the archive has an ``X`` alone.

    Raises
    ------
    ValueError
        If it is no archive of plain arrays, or has none of those names.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
    except (ValueError, BadZipFile, EOFError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: no archive of arrays: {error}") from None
    if {"x_train", "y_train", "x_test", "y_test"} <= set(arrays):
        parts = [arrays[name] for name in ("x_train", "y_train", "x_test", "y_test")]
        return tuple(parts[:2]), tuple(parts[2:])
    if "X" in arrays:
        return (arrays["X"], arrays.get("y")), None
    raise ValueError(
        f"{path}: it must hold X and y, or x_train, y_train, x_test and y_test; "
        f"it holds {', '.join(arrays) or 'nothing'}"
    )
