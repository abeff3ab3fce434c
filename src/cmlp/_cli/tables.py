"""Tables in files: columns of numbers and categories by name."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cmlp._cli.columns import (
    CATEGORY,
    DATE,
    EMPTY,
    IDENTIFIER,
    NUMBER,
    SHOWN,
    ColumnScan,
    convert_categories,
    convert_numbers,
    describe_empty,
    describe_identifier,
    make_missing,
)
from cmlp._cli.csv_files import SEPARATOR_NAMES, CsvFile
from cmlp._cli.errors import CommandError, list_names, suggest
from cmlp._cli.parquet_files import UNSUPPORTED, read_arrays
from cmlp.datasets.tables import find_label_column

TABLE_EXTENSIONS = (".csv", ".tsv", ".txt", ".data", ".parquet")


@dataclass
class Table:
    """Some rows of a file.

    Attributes
    ----------
    path : str
    columns : dict from str to ndarray, shape (n_rows,)
        Numbers as float64, NaN where missing; categories as objects, str or None.
    lines : ndarray of int, shape (n_rows,)
        The line of a row in the file, counted from 1; for a Parquet file the number of the row.
    has_names : bool
        Whether the names of the columns are in the file.
    doubts : list of str
        Sentences on columns that may be a mistake.
    """

    path: str
    columns: dict
    lines: np.ndarray
    has_names: bool = True
    doubts: list = field(default_factory=list)

    def __len__(self):
        return len(self.lines)

    def take(self, rows):
        """Return the rows of a mask or of indices."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        return Table(self.path, columns, self.lines[rows], self.has_names, self.doubts)

    def pop(self, name):
        """Return the table without a column, and that column."""
        columns = dict(self.columns)
        column = columns.pop(name)
        return Table(self.path, columns, self.lines, self.has_names, self.doubts), column

    def to_matrix(self, names=None):
        """Return columns of numbers as float32, (n_rows, n_columns).

        Raises
        ------
        CommandError
            If a column has categories, a missing value, or a number beyond float32.
        """
        names = list(self.columns) if names is None else names
        matrix = np.empty((len(self), len(names)), np.float32)
        for i, name in enumerate(names):
            column = self.columns[name]
            is_missing = find_missing(column)
            if column.dtype == object or is_missing.any():
                row = 0 if column.dtype == object else is_missing.argmax()
                raise CommandError(
                    f"{self.path}: column {name!r} must hold numbers for a network, none of them "
                    f"missing; got {'no value' if is_missing[row] else repr(column[row])} in row "
                    f"{self.lines[row]}"
                )
            with np.errstate(over="ignore"):
                matrix[:, i] = column
            if not np.isfinite(matrix[:, i]).all():
                row = (~np.isfinite(matrix[:, i])).argmax()
                raise CommandError(
                    f"{self.path}: row {self.lines[row]} holds {column[row]:g}, which is beyond "
                    "float32"
                )
        return matrix


def find_missing(column):
    """Return where a column has no value, bool (n_rows,)."""
    if column.dtype == object:
        return np.array([value is None for value in column.tolist()], bool)
    return np.isnan(column)


def is_table(path):
    """Return whether the name of a file is that of a table."""
    suffixes = Path(path).suffixes
    return bool(suffixes) and (
        suffixes[-1] in TABLE_EXTENSIONS
        or (suffixes[-1] == ".gz" and len(suffixes) > 1 and suffixes[-2] in TABLE_EXTENSIONS)
    )


def is_parquet(path):
    """Return whether the name of a file is that of a Parquet file."""
    return str(path).endswith(".parquet")


def open_csv(path, options):
    """Return the `CsvFile` that a path and the options of the command line select."""
    separator = options.separator
    return CsvFile(
        path, SEPARATOR_NAMES.get(separator, separator), options.header, options.encoding
    )


def find_column(path, names, has_names, column):
    """Return the name of a column that is given by its name or its index.

    Parameters
    ----------
    path : str
    names : list of str
    has_names : bool
    column : str, int or None
        None for the column named label, labels, class, target or y, else the last.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    if column in names:
        return column
    return names[find_label_column(path, column, names if has_names else None, len(names))]


def scan_table(path, options, target=None, dropped=(), categorical=()):
    """Read a table to train on, and infer the kind of each column.

    Columns without values, text that differs in every row, and numbers without a name are left out,
    unless they are the target.

    Parameters
    ----------
    path : str
    options : argparse.Namespace
        With `separator`, `header`, `encoding` and `missing`.
    target : str, optional
        The column of the target, as for `find_column`.
    dropped, categorical : sequence of str
        Columns to leave out, and columns that are categories whatever they hold.

    Returns
    -------
    table : Table
    target : str
        The name of its column.

    Raises
    ------
    CommandError, ValueError, OSError, ImportError
        If the file cannot be read, a column does not exist, or holds dates.
    """
    missing = make_missing(options.missing)
    if is_parquet(path):
        source, has_names = read_arrays(path, missing), True
        names = list(source)
    else:
        source = open_csv(path, options)
        names, has_names = source.names, source.has_header
    dropped = [find_column(path, names, has_names, name) for name in dropped]
    categorical = {find_column(path, names, has_names, name) for name in categorical}
    names = [name for name in names if name not in dropped]
    if not names:
        raise CommandError(f"{path}: no column is left")
    target = find_column(path, names, has_names, target)
    scan = scan_parquet if is_parquet(path) else scan_csv
    return scan(path, source, missing, names, target, categorical), target


def scan_csv(path, file, missing, names, target, categorical):
    """Return columns of a CSV file as a `Table`; see `scan_table`.

    The file is read twice, first to infer the kinds, so that at most one block of rows is in memory
    as text.
    """
    index = {name: i for i, name in enumerate(file.names)}
    scans = {name: ColumnScan(name, missing) for name in names}
    for _, columns in file.iterate_chunks():
        for name, scan in scans.items():
            scan.add(columns[index[name]])
    if not scans[target].n_rows:
        raise CommandError(f"{path}: the file has no rows below the header")
    kinds, doubts = {}, []
    for name, scan in scans.items():
        kind = scan.choose_kind(file.separator)
        if name in categorical and kind != EMPTY:
            kind = CATEGORY
        elif name == target:
            kind = {EMPTY: NUMBER, IDENTIFIER: CATEGORY}.get(kind, kind)
        if kind == DATE:
            raise make_date_error(path, name, repr(next(iter(scan.others))))
        if kind == NUMBER and file.is_unnamed[index[name]] and name != target:
            doubts.append(f"column {index[name] + 1} has numbers and no name; it is left out")
            continue
        if name not in categorical or kind == EMPTY:
            doubts += scan.describe_doubts(kind)
        if kind in (NUMBER, CATEGORY):
            kinds[name] = kind
    table = read_columns(file, kinds, missing)
    table.doubts = doubts
    return table


def scan_parquet(path, columns, missing, names, target, categorical):
    """Return columns of a Parquet file as a `Table`; see `scan_table`."""
    found, doubts = {}, []
    for name in names:
        column = columns[name]
        n_rows, is_missing = len(column), find_missing(column)
        check_values(path, name, column)
        if name in categorical:
            column = to_categories(column)
        elif name == target:
            pass
        elif is_missing.all():
            doubts.append(describe_empty(name))
            continue
        elif column.dtype == object and len(set(column.tolist()) - {None}) == n_rows > SHOWN:
            doubts.append(describe_identifier(name))
            continue
        found[name] = column
    return Table(path, found, np.arange(1, 1 + n_rows), True, doubts)


def check_values(path, name, column):
    """Raise `CommandError` if a column of a Parquet file holds neither numbers nor categories."""
    if column.dtype != object:
        return
    for row, value in enumerate(column.tolist()):
        if isinstance(value, UNSUPPORTED):
            if isinstance(value, (bytes, list, dict)):
                raise CommandError(
                    f"{path}: column {name!r} must hold numbers, text or booleans; got "
                    f"{type(value).__name__} in row {row + 1}; leave it out with --drop {name}"
                )
            raise make_date_error(path, name, str(value))


def make_date_error(path, name, shown):
    """Return the error of a column with dates."""
    return CommandError(
        f"{path}: column {name!r} must not hold dates; got {shown}; convert them to numbers, such "
        f"as the year or the days since a date, or leave the column out with --drop {name}"
    )


def to_categories(column):
    """Return a column of numbers as texts, whole numbers without a point; others unchanged."""
    if column.dtype == object:
        return column
    texts = np.empty(len(column), object)
    texts[:] = [None if v != v else format_number(v) for v in column.tolist()]
    return texts


def format_number(value):
    """Return a number as text, a whole number without a point."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**63 else str(value)


def read_columns(file, kinds, missing):
    """Return columns of a CSV file, of given kinds, as a `Table`.

    Parameters
    ----------
    file : CsvFile
    kinds : dict from str to str
        Names of columns -> `NUMBER` or `CATEGORY`.
    missing : set of str

    Raises
    ------
    CommandError
        If a cell of a column of numbers is not one.
    """
    parts = {name: [] for name in kinds}
    pools = {name: {} for name in kinds}
    index = {name: i for i, name in enumerate(file.names)}
    lines = []
    for chunk_lines, columns in file.iterate_chunks():
        lines += chunk_lines
        for name, kind in kinds.items():
            cells = columns[index[name]]
            if kind == CATEGORY:
                part = convert_categories(cells, missing, pools[name])
            else:
                part = convert_numbers(
                    cells, missing,
                    lambda row, name=name, lines=chunk_lines: (
                        f"{file.path}: row {lines[row]}, column {name!r}"
                    ),
                )  # fmt: skip
            parts[name].append(part)
    arrays = {name: np.concatenate(each) if each else np.empty(0) for name, each in parts.items()}
    return Table(file.path, arrays, np.array(lines, int), file.has_header)


def read_table(path, options, kinds):
    """Read the columns of a table that a model needs.

    Parameters
    ----------
    path : str
    options : argparse.Namespace
        As for `scan_table`.
    kinds : callable
        Returns, for the names of the columns of the file and whether they are in the file, a dict
        from the names of those to read to `NUMBER` or `CATEGORY`.

    Returns
    -------
    Table

    Raises
    ------
    CommandError, ValueError, OSError, ImportError
        If the file cannot be read, or a column is missing or does not fit its kind.
    """
    missing = make_missing(options.missing)
    if not is_parquet(path):
        file = open_csv(path, options)
        return read_columns(file, kinds(file.names, file.has_header), missing)
    columns, found = read_arrays(path, missing), {}
    for name, kind in kinds(list(columns), True).items():
        column = columns[name]
        check_values(path, name, column)
        if kind == CATEGORY:
            found[name] = to_categories(column)
        elif column.dtype == object:
            found[name] = convert_numbers(
                ["" if value is None else value for value in column.tolist()], missing,
                lambda row, name=name: f"{path}: row {row + 1}, column {name!r}",
            )  # fmt: skip
        else:
            found[name] = column
    return Table(path, found, np.arange(1, 1 + len(next(iter(columns.values())))))


def check_columns(path, names, needed):
    """Raise `CommandError` that lists the needed columns that a table does not have."""
    absent = [name for name in needed if name not in names]
    if absent:
        others = [name for name in names if name not in needed]
        hint = suggest(absent[0], others) if len(absent) == 1 else ""
        raise CommandError(
            f"{path}: the model needs the column{'s' * (len(absent) > 1)} {list_names(absent)}"
            f"{hint}; the file has {list_names(names)}"
        )
