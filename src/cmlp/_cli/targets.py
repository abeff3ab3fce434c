"""The target of a table: its column, the task, and the values to learn."""

from dataclasses import dataclass

import numpy as np

from cmlp._cli.columns import is_written_number
from cmlp._cli.errors import CommandError
from cmlp._cli.tables import find_missing, format_number
from cmlp._utils.validation import look_up

CLASSIFICATION, REGRESSION = "classification", "regression"

# A target of whole numbers means classes if they are at most this many, each with this number of
# rows on average. More are rather counts, ratings or ages; `--task` decides otherwise.
MOST_NUMBERED_CLASSES, ROWS_PER_CLASS = 20, 5


@dataclass
class Target:
    """The target of a table.

    Attributes
    ----------
    name : str
    task : {"classification", "regression"}
    reason : str
        Why, or an empty string if the user has chosen it.
    values : ndarray, shape (n_rows,)
        float64, or labels: int64 or str.
    """

    name: str
    task: str
    reason: str
    values: np.ndarray

    def describe(self):
        """Return a line about column and task."""
        if self.task == REGRESSION:
            detail = f"{self.values.min():g} to {self.values.max():g}"
        else:
            classes = np.unique(self.values)
            shown = ", ".join(map(str, classes[:5])) + ", ..." * (len(classes) > 5)
            detail = f"{len(classes)} classes, {shown}"
        return f"target {self.name!r}: {self.task} ({detail}){self.reason}"


def take_target(table, name, task=None):
    """Divide a table into inputs and target.

    Parameters
    ----------
    table : Table
    name : str
        Of the target's column.
    task : {"classification", "regression"}, optional
        By default inferred.

    Returns
    -------
    inputs : Table
        The rows that have a target, without the target.
    target : Target
    n_dropped : int
        Number of rows without a target.

    Raises
    ------
    CommandError
        If the target is the only column, has fewer than two values, text that differs in every row,
        numbers in a form that is not read, or too many classes.
    """
    inputs, values = table.pop(name)
    if not inputs.columns:
        raise CommandError(f"{table.path}: the table must have a column beside the target {name!r}")
    is_missing = find_missing(values)
    if is_missing.any():
        inputs, values = inputs.take(~is_missing), values[~is_missing]
    if len(values) < 2:
        raise CommandError(
            f"{table.path}: at least 2 rows must have a target; got {len(values)} of {len(table)}"
        )
    distinct = np.unique(values if values.dtype != object else values.astype(str))
    check_distinct(table.path, name, values, distinct, task)
    inferred, reason = infer_task(values, distinct)
    if task is not None:
        look_up("--task", task, {CLASSIFICATION: None, REGRESSION: None})
        inferred, reason = task, ""
    if inferred == CLASSIFICATION:
        labels = convert_labels(values)
    elif values.dtype == object:
        raise CommandError(
            f"{table.path}: the target {name!r} must hold numbers for --task regression; got "
            f"{values[0]!r} in row {inputs.lines[0]}"
        )
    else:
        labels = values
    return inputs, Target(name, inferred, reason, labels), int(is_missing.sum())


def check_distinct(path, name, values, distinct, task):
    """Raise `CommandError` unless the different values of a target can be learned.

    Parameters
    ----------
    path, name : str
    values, distinct : ndarray
        All values, and the different ones.
    task : {"classification", "regression"} or None
        None to infer it.
    """
    if len(distinct) < 2:
        raise CommandError(
            f"{path}: the target {name!r} must have at least two different values; all "
            f"{len(values)} are {convert_labels(values)[0]}"
        )
    if values.dtype == object and task != CLASSIFICATION:
        written = [value for value in values.tolist() if is_written_number(value)]
        if len(written) > len(values) / 2:
            raise CommandError(
                f"{path}: the target {name!r} must hold numbers without separators of "
                f"thousands, decimal commas and signs, like 1234.5; got {written[0]!r}; --task "
                "classification takes them for classes"
            )
    if values.dtype == object and len(distinct) == len(values):
        raise CommandError(
            f"{path}: the target {name!r} must have the same text in several rows; all "
            f"{len(values)} differ, such as {values[0]!r}"
        )
    limit = max(MOST_NUMBERED_CLASSES, len(values) // 2)
    if task == CLASSIFICATION and len(distinct) > limit:
        raise CommandError(
            f"{path}: the target {name!r} must have at most {limit:,} classes for --task "
            f"classification, half of its rows; got {len(distinct):,}"
        )


def infer_task(values, distinct):
    """Return the task that values of a target mean, and why.

    Parameters
    ----------
    values, distinct : ndarray
        All values, and the different ones.
    """
    if values.dtype == object:
        return CLASSIFICATION, ", as it holds text"
    if (distinct != np.trunc(distinct)).any():
        return REGRESSION, ", as it holds numbers with fractions"
    if len(distinct) == 2:
        return CLASSIFICATION, ", as it has two different values"
    if len(distinct) <= min(MOST_NUMBERED_CLASSES, len(values) // ROWS_PER_CLASS):
        return CLASSIFICATION, (
            f", as it has only {len(distinct)} different whole numbers; --task regression learns "
            "them as quantities"
        )
    return REGRESSION, f", as it has {len(distinct)} different numbers"


def convert_labels(values):
    """Return labels of classes: int64 for whole numbers, else str."""
    if values.dtype == object:
        return values.astype(str)
    if (values == np.trunc(values)).all() and (np.abs(values) <= 2**53).all():
        return values.astype(np.int64)
    return np.array([format_number(value) for value in values.tolist()])
