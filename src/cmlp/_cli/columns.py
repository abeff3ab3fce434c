"""Columns of text: whether they hold numbers or categories, and their conversion."""

import itertools
import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from cmlp._cli.csv_files import MISSING
from cmlp._cli.csv_files import NUMBER as NUMBER_FORM
from cmlp._cli.errors import CommandError

# The kinds of columns. An identifier has another text in every row, which cannot help to predict.
NUMBER, CATEGORY, DATE = "number", "category", "date"
IDENTIFIER, EMPTY = "identifier", "empty"

# Numbers with a leading zero are codes, such as ZIP codes. It is searched in cells that follow a
# line break each, as a pattern that begins with a fixed character is faster than ``^``.
CODE = re.compile(r"\n[+-]?0\d")

DATE_FORM = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d\d))([T ]\d.*)?"
)

# Numbers that are not read as such: with separators of thousands, decimal commas in a file that is
# separated by commas, signs of currencies and of percent; and those that are read.
SIGN = "[$€£¥%]"
WRITTEN_NUMBER = re.compile(
    rf"[+-]?({SIGN}\s?)?[+-]?(\d{{1,3}}([,.'’\s]\d{{3}})+|\d+)([.,]\d+)?(\s?{SIGN})?"
)
PLAIN_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")

# Distinct texts that are compared with the form of a date, and shown in messages.
SHOWN = 20

# Distinct texts that are searched for numbers in another form.
MOST_TEXTS = 1000

# A text column in which at least this fraction of the values are numbers is pointed out.
MOSTLY_NUMBERS = 0.5


@dataclass
class ColumnScan:
    """Counts of the cells of a column of text.

    Parameters
    ----------
    name : str
    missing : set of str
        The texts that mean a missing value.

    Attributes
    ----------
    n_rows, n_missing, n_points, n_commas : int
        Numbers of cells, of missing values, of numbers with a decimal point or none, and of numbers
        with a decimal comma.
    comma : str
        The first number with a decimal comma.
    others : Counter
        The texts that are not numbers.
    has_codes, has_dots : bool
        Whether a number has a leading zero, and whether a text has a point.
    """

    name: str
    missing: frozenset
    n_rows: int = 0
    n_missing: int = 0
    n_points: int = 0
    n_commas: int = 0
    comma: str = ""
    has_codes: bool = False
    has_dots: bool = False
    others: Counter = field(default_factory=Counter)

    def add(self, cells):
        """Count some cells, a tuple of stripped str."""
        counts = Counter(cells)
        self.n_rows += len(cells)
        for text in self.missing:
            self.n_missing += counts.pop(text, 0)
        if not counts:
            return
        joined = "\n" + "\n".join(counts)
        # Python reads 1_000 as a number.
        self.has_codes = self.has_codes or "_" in joined or CODE.search(joined) is not None
        self.has_dots = self.has_dots or "." in joined
        try:
            np.array([*counts], float)
            self.n_points += counts.total()
            return
        except ValueError:
            pass
        for text, count in counts.items():
            if not NUMBER_FORM.fullmatch(text):
                self.others[text] += count
            elif "," in text:
                self.n_commas += count
                self.comma = self.comma or text
            else:
                self.n_points += count

    def choose_kind(self, separator):
        """Return the kind of the column.

        Parameters
        ----------
        separator : str
            Of the file. Where it is a comma, or numbers have points too, a comma within a number
            may separate thousands.
        """
        if self.n_missing == self.n_rows:
            return EMPTY
        is_unclear = self.n_commas and (separator == "," or self.has_dots)
        if not (self.others or self.has_codes or is_unclear):
            return NUMBER
        n_present = self.n_rows - self.n_missing
        are_dates = self.others.total() == n_present and all(
            DATE_FORM.fullmatch(text) for text, _ in self.others.most_common(SHOWN)
        )
        if are_dates:
            return DATE
        return IDENTIFIER if len(self.others) == n_present > SHOWN else CATEGORY

    def find_written_number(self):
        """Return a number in a form that is not read, or None if most cells are other texts."""
        texts = list(itertools.islice(self.others, MOST_TEXTS))
        written = [text for text in texts if is_written_number(text)]
        n_written, n_texts = (sum(self.others[text] for text in each) for each in (written, texts))
        if n_written + self.n_commas <= (n_texts + self.n_commas) / 2:
            return None
        return written[0] if written else self.comma

    def describe_doubts(self, kind):
        """Yield a sentence for each reason why the column may not be what its user expects.

        Parameters
        ----------
        kind : str
            As chosen.
        """
        if kind == EMPTY:
            yield describe_empty(self.name)
        if kind in (IDENTIFIER, CATEGORY) and (shown := self.find_written_number()):
            yield describe_written_number(self.name, kind, shown)
            return
        if kind == IDENTIFIER:
            yield describe_identifier(self.name)
        n_present = self.n_rows - self.n_missing
        n_numbers, n_others = self.n_points + self.n_commas, self.others.total()
        if kind == CATEGORY and n_others and n_numbers > MOSTLY_NUMBERS * n_present:
            shown = ", ".join(repr(text) for text, _ in self.others.most_common(3))
            yield (
                f"column {self.name!r} is a category, as {n_others} of its {n_present} values are "
                f"not numbers, such as {shown}; --missing TEXT,TEXT adds texts of missing values"
            )


def is_written_number(text):
    """Return whether a text is a number in a form that is not read as one, such as ``$1,200``."""
    return WRITTEN_NUMBER.fullmatch(text) is not None and not PLAIN_NUMBER.fullmatch(text)


def describe_written_number(name, kind, shown):
    """Return the sentence on a column of numbers that are not read as such."""
    treated = "is left out" if kind == IDENTIFIER else "is a category"
    return (
        f"column {name!r} {treated}, as its numbers have separators of thousands, decimal commas "
        f"or signs, such as {shown!r}; write them like 1234.5 to make it a column of numbers"
    )


def describe_empty(name):
    """Return the sentence on a column without values."""
    return f"column {name!r} has no values; it is left out"


def describe_identifier(name):
    """Return the sentence on a column of text that differs in every row."""
    return (
        f"column {name!r} has another text in every row; it is left out; --categorical {name} "
        "includes it"
    )


def convert_numbers(cells, missing, place):
    """Return cells as float64, (n_rows,), NaN where a value is missing.

    Parameters
    ----------
    cells : tuple of str
        With a decimal point or a decimal comma.
    missing : set of str
    place : callable
        Returns, for a row, where a message says that its cell is.

    Raises
    ------
    CommandError
        If a cell is neither a finite number nor missing.
    """
    texts = ["nan" if cell in missing else cell for cell in cells]
    try:
        numbers = np.array(texts, float)
    except ValueError:
        texts = [text.replace(",", ".") for text in texts]
        for row, text in enumerate(texts):
            if text != "nan" and not NUMBER_FORM.fullmatch(text):
                raise CommandError(f"{place(row)} must hold a number; got {cells[row]!r}") from None
        numbers = np.array(texts, float)
    is_infinite = np.isinf(numbers)
    if is_infinite.any():
        row = is_infinite.argmax()
        raise CommandError(f"{place(row)} must hold a finite number; got {cells[row]!r}")
    return numbers


def convert_categories(cells, missing, pool):
    """Return cells as an ndarray of str objects, (n_rows,), None where a value is missing.

    Parameters
    ----------
    cells : tuple of str
    missing : set of str
    pool : dict from str to str
        Equal texts become one object, which is added.
    """
    array = np.empty(len(cells), object)
    array[:] = [None if cell in missing else pool.setdefault(cell, cell) for cell in cells]
    return array


def make_missing(texts):
    """Return the texts that mean a missing value: `MISSING` and those separated by commas."""
    return MISSING | {text.strip() for text in (texts or "").split(",")}
