"""Files of separated values: encoding, separator and header are detected, rows are streamed."""

import contextlib
import csv
import gzip
import io
import itertools
import re
import zlib
from collections import Counter
from pathlib import Path

from cmlp._cli.errors import CommandError

# Characters and rows at the beginning of a file that decide about its separator and its header.
HEAD_CHARACTERS, HEAD_ROWS = 1 << 18, 500

# Rows that are transposed at once, so that their cells stay in the cache: 200,000 rows of 22 cells
# took 0.5 s in blocks of 128 or 256 rows, 0.7 s of 1024, 1.6 s of 8192 (Sapphire Rapids).
CHUNK_ROWS = 256

# In order of precedence: a comma is found in files with other separators, as a decimal comma.
SEPARATORS = ("\t", ";", "|", ",")

# Names on the command line of separators that a shell makes hard to type.
SEPARATOR_NAMES = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " "}

NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)

# Texts that mean that a value is missing: those of pandas, and the question mark of many data sets
# of the UCI repository.
MISSING = frozenset([
    "", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-NaN", "-nan", "NULL", "null",
    "None", "#NA", "#N/A N/A", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
])  # fmt: skip


class CsvFile:
    """A file of separated values, which may be compressed by gzip.

    Parameters
    ----------
    path : str
    separator : str, optional
        By default the one that divides every row at the beginning of the file into the same number
        of cells, at least two.
    header : bool, optional
        Whether the first row holds names. By default it does unless all its cells are numbers, or
        each of its other cells occurs again below it.
    encoding : str, optional
        By default UTF-8, or UTF-16 if the file begins with its byte order mark.

    Attributes
    ----------
    names : list of str
        ``x0``, ``x1``, ... where a column has no name.
    has_header : bool
    is_unnamed : list of bool
        Whether a column has no name although the file has a header.

    Raises
    ------
    CommandError
        If the file is empty, has no rows below the header, or two columns have the same name.
    OSError
        If the file cannot be read.
    """

    def __init__(self, path, separator=None, header=None, encoding=None):
        self.path, self.encoding = path, encoding
        with self.open() as file:
            head = file.read(HEAD_CHARACTERS) + file.readline()
            is_whole = not file.read(1)
        lines = list(io.StringIO(head, newline=""))
        self.separator = detect_separator(lines, path) if separator is None else separator
        rows = split_rows(lines, self.separator)
        if not rows:
            raise CommandError(f"{path}: the file has no rows")
        self.has_header = find_header(rows) if header is None else header
        if self.has_header and len(rows) == 1 and is_whole:
            raise CommandError(f"{path}: the file has no rows below the header")
        first = [cell.strip() for cell in rows[0]]
        named = first if self.has_header else [""] * len(first)
        self.names = [name or f"x{i}" for i, name in enumerate(named)]
        self.is_unnamed = [self.has_header and not name for name in named]
        name, count = Counter(self.names).most_common(1)[0]
        if count > 1:
            raise CommandError(f"{path}: {count} columns have the name {name!r}")

    @contextlib.contextmanager
    def open(self):
        """Open the file as text; errors of its contents become `CommandError`."""
        with open(self.path, "rb") as raw:
            open_file = gzip.open if raw.read(2) == b"\x1f\x8b" else open
        try:
            if self.encoding is None:
                with open_file(self.path, "rb") as raw:
                    has_mark = raw.read(2) in (b"\xff\xfe", b"\xfe\xff")
                self.encoding = "utf-16" if has_mark else "utf-8-sig"
            with open_file(self.path, "rt", newline="", encoding=self.encoding) as file:
                yield file
        except UnicodeError as error:
            raise CommandError(
                f"{self.path}: not a text in {self.encoding.removesuffix('-sig')}: {error}; give "
                "its encoding, such as --encoding latin-1"
            ) from None
        except LookupError as error:
            raise CommandError(f"--encoding: {error}") from None
        except (csv.Error, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise CommandError(f"{self.path}: the file cannot be read: {error}") from None

    def iterate_rows(self):
        """Yield (line, cells) for each row below the header; `line` is the one on which it ends."""
        with self.open() as file:
            reader = make_reader(file, self.separator)
            rows = ((reader.line_num, row) for row in reader if row)
            for line, row in itertools.islice(rows, int(self.has_header), None):
                if len(row) != len(self.names):
                    raise CommandError(
                        f"{self.path}: row {line} has {len(row)} columns instead of "
                        f"{len(self.names)}"
                    )
                yield line, row

    def iterate_chunks(self):
        """Yield (lines, columns): line numbers, and a tuple of stripped cells for each column."""
        for chunk in batched(self.iterate_rows(), CHUNK_ROWS):
            lines, rows = zip(*chunk, strict=True)
            columns = zip(*rows, strict=True)
            yield lines, [tuple(map(str.strip, column)) for column in columns]


def batched(iterable, size):
    """Yield lists of `size` items; the last one may be shorter."""
    iterator = iter(iterable)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def make_reader(lines, separator):
    """Return a `csv.reader`; after the separator, spaces before a quote are skipped."""
    try:
        return csv.reader(lines, delimiter=separator, skipinitialspace=separator != " ")
    except (TypeError, ValueError):
        raise CommandError(
            f"--separator must be one character, or {', '.join(SEPARATOR_NAMES)}; got {separator!r}"
        ) from None


def split_rows(lines, separator):
    """Return the first rows that are not empty, at most `HEAD_ROWS` lists of cells."""
    try:
        rows = (row for row in make_reader(lines, separator) if row)
        return list(itertools.islice(rows, HEAD_ROWS))
    except csv.Error as error:
        raise CommandError(f"the file cannot be read: {error}") from None


def detect_separator(lines, path):
    """Return the separator of a file by its first lines, a comma if none divides all rows."""
    if ".tsv" in Path(path).suffixes:
        return "\t"
    best, best_share = ",", 0.0
    for separator in SEPARATORS:
        try:
            counts = [len(row) for row in split_rows(lines, separator)]
        except CommandError:
            continue
        if not counts or counts[0] < 2:
            continue
        share = counts.count(counts[0]) / len(counts)
        if share == 1:
            return separator
        if share > best_share:
            best, best_share = separator, share
    return best


def find_header(rows):
    """Return whether the first row holds the names of the columns.

    Parameters
    ----------
    rows : list of list of str
    """
    below = [set(column) for column in itertools.zip_longest(*rows[1:], fillvalue="")]
    below += [set()] * (len(rows[0]) - len(below))
    texts = [
        (cell, values)
        for cell, values in zip(rows[0], below, strict=False)
        if cell.strip() not in MISSING and not NUMBER.fullmatch(cell.strip())
    ]
    if not texts:
        return all(not cell.strip() for cell in rows[0]) and len(rows) > 1
    return not all(cell in values for cell, values in texts)
