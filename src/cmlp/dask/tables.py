"""The encoder and the targets that the partitions of a table share, learned on the cluster.

Functions named `describe_...`, `measure_...` and `sample_...` are tasks; they are pure and return
little.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from cmlp._utils.validation import convert_dtype
from cmlp.dask.partitions import make_seed
from cmlp.dask.scores import measure_predictions, merge_sums
from cmlp.tabular.categories import learn_categories
from cmlp.tabular.columns import Column, ObjectColumn
from cmlp.tabular.encoding import TableEncoder
from cmlp.tabular.fields import EncoderFields
from cmlp.tabular.scaling import learn_scale
from cmlp.tabular.selection import select_categorical
from cmlp.tabular.tables import list_column_names, prepare_table, split_columns
from cmlp.tabular.targets import RealTargets, choose_unit, convert_real
from cmlp.tabular.training import Samples

# Rows of the sample that medians and quartiles are taken of, if the table has more, and values that
# they have at most: 32 MB on the client. Their ranks have a standard error of 0.2%.
SAMPLE_ROWS, SAMPLE_VALUES = 2**16, 2**22


class ColumnDescription(NamedTuple):
    """A column of one partition, described by its type.

    Attributes
    ----------
    label : str
        The column in messages.
    is_categorical : bool
    is_decided : bool
        Whether it is known: a column of objects without values says nothing.
    """

    label: str
    is_categorical: bool
    is_decided: bool


class NumericSummary(NamedTuple):
    """A numeric column of one partition.

    Attributes
    ----------
    lowest, highest : float
        NaN if no value is present.
    has_missing : bool
    sample : ndarray of float64
        NaN where a value is missing.
    """

    lowest: float
    highest: float
    has_missing: bool
    sample: np.ndarray


@dataclass(frozen=True)
class TablePreparation:
    """Arguments of `prepare_partition` that all partitions of a table share.

    Attributes
    ----------
    architecture : Architecture
    encoder : TableEncoder
    columns : InputColumns
    targets : ClassTargets or RealTargets
    class_weight : ndarray of float64 or None
        One weight for each class.
    validation_fraction : float
        Fraction of each partition to validate with: 0 for none of it, 1 for validation data.
    seed : int
    """

    architecture: Any
    encoder: Any
    columns: Any
    targets: Any
    class_weight: np.ndarray | None
    validation_fraction: float
    seed: int

    def with_fraction(self, fraction):
        """Return the preparation with a `validation_fraction`; validation data have no weights."""
        class_weight = self.class_weight if fraction < 1 else None
        return replace(self, validation_fraction=fraction, class_weight=class_weight)

    @property
    def classes(self):
        """The labels of the classes, sorted."""
        return self.targets.classes

    def convert_samples(self, X, label):
        """Return the array of a `Partition` for a block of X."""
        table = with_label(label, self.encoder.transform, prepare_table(X))
        return (self.columns.join(table, self.encoder.dtype),)

    def encode_targets(self, y, name):
        """Return targets of the engine."""
        if not isinstance(self.targets, RealTargets):
            return self.targets.encode(y, name)
        encoded = self.targets.encode(convert_real(y, name), name)
        return convert_dtype(name, encoded, self.architecture.dtype)


def with_label(label, function, *args):
    """Call a function; errors of wrong data name the partition."""
    try:
        return function(*args)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{error} ({label})") from error


# Tasks.


def describe_columns(blocks, index):
    """Return the column names, or None, and a `ColumnDescription` of each column."""
    X = with_label(f"partition {index}", prepare_table, blocks.X)
    columns = with_label(f"partition {index}", split_columns, X)
    return list_column_names(X), [
        ColumnDescription(column.label, column.is_categorical, not has_no_values(column))
        for column in columns
    ]


def has_no_values(column):
    """Return whether all values of a column of objects are missing."""
    if not isinstance(column, ObjectColumn):
        return False
    return all(value is None or value != value for value in column.values)


def measure_columns(blocks, index, is_categorical, fraction, seed):
    """Return a `NumericSummary`, or a list of the categories that occur, for each column.

    Parameters
    ----------
    blocks : LoadedBlocks
    index : int
        Of the partition.
    is_categorical : ndarray of bool
    fraction : float
        Of the rows, for the sample.
    seed : int
    """
    columns = split_columns(prepare_table(blocks.X))
    n_rows, rows = len(blocks.y), slice(None)
    if fraction < 1:
        rng = np.random.default_rng(make_seed(seed, index))
        rows = np.sort(rng.permutation(n_rows)[: max(1, round(n_rows * fraction))])
    label = f"partition {index}"
    return [
        learn_categories(*with_label(label, column.factorize))
        if is_code
        else summarize_numbers(with_label(label, column.to_floats), rows)
        for column, is_code in zip(columns, is_categorical, strict=True)
    ]


def summarize_numbers(values, rows):
    """Return the `NumericSummary` of values, with a sample of the given rows."""
    is_missing = np.isnan(values)
    present = values[~is_missing]
    extremes = (float(present.min()), float(present.max())) if len(present) else (np.nan, np.nan)
    return NumericSummary(*extremes, bool(is_missing.any()), values[rows])


def describe_targets(blocks, index):
    """Return the least and the greatest value of each real target, (n_targets,)."""
    y = convert_real(blocks.y, f"y of partition {index}").reshape(len(blocks.y), -1)
    return y.min(0), y.max(0)


def measure_targets(blocks, index, unit):
    """Return weight, mean and squares of real targets divided by `unit`; see `cmlp.dask.scores`."""
    y = convert_real(blocks.y, f"y of partition {index}").reshape(len(blocks.y), -1) / unit
    return measure_predictions(np.zeros_like(y), y, blocks.sample_weight, is_classifier=False)


def sample_partition(partition, index, fold, fraction, are_held_out):
    """Return some rows of a `Partition` to train on, or that are held out, as `Samples`."""
    part = partition.select(fold)
    rows = part.held_out if are_held_out else part.training
    if rows is None:
        rows = np.arange(0 if are_held_out else len(part.target_array))
    rng = np.random.default_rng(make_seed(part.seed, index))
    rows = np.sort(rng.permutation(rows)[: int(np.ceil(len(rows) * fraction))])
    return Samples(part.arrays[0], part.target_array, part.sample_weight).take(rows)


# The client's part.


def learn_encoder(run, loaded, n_rows, arguments, seed):
    """Return the `TableEncoder` for the partitions that have rows.

    Parameters
    ----------
    run : ClusterRun
    loaded : dict from int to Future of LoadedBlocks
        By the number of the partition.
    n_rows : int
        Of all partitions.
    arguments : tuple (categorical_features, smooth_clip, dtype)
    seed : int

    Notes
    -----
    All rows count for extremes, categories and missing values; if there are more than
    `SAMPLE_ROWS`, a sample of them for medians and quartiles.
    """
    described = run.submit_each("columns", describe_columns, loaded)
    names = described[0][0]
    columns = [decide_column(parts) for parts in zip(*(found for _, found in described),
                                                     strict=True)]  # fmt: skip
    is_categorical = select_categorical(arguments[0], names, columns)
    fraction = min(SAMPLE_ROWS, max(1, SAMPLE_VALUES // len(columns))) / n_rows
    parts = run.submit_each("scales", measure_columns, loaded, is_categorical, fraction, seed)
    merged = [
        merge_categories(found) if is_code else merge_numbers(found)
        for found, is_code in zip(zip(*parts, strict=True), is_categorical, strict=True)
    ]
    scales = [merged[i] for i in np.flatnonzero(~is_categorical)]
    medians, factors, has_missing = zip(*scales, strict=True) if scales else ((), (), ())
    has_names = names is not None and all(isinstance(name, str) for name in names)
    return TableEncoder.from_state(EncoderFields(
        *arguments, names if has_names else None, is_categorical, np.array(has_missing, bool),
        [merged[i] for i in np.flatnonzero(is_categorical)], np.array(medians, np.float64),
        np.array(factors, np.float64),
    ))  # fmt: skip


def decide_column(parts):
    """Return the `Column` that the `ColumnDescription`s of all partitions describe."""
    decided = [part for part in parts if part.is_decided] or parts
    return Column(parts[0].label, any(part.is_categorical for part in decided))


def merge_categories(parts):
    """Return the categories of all partitions."""
    values = [value for part in parts for value in part]
    return learn_categories(np.arange(len(values)), values)


def merge_numbers(parts):
    """Return median, factor and whether values are missing; see `learn_scale`."""
    present = [part for part in parts if not np.isnan(part.lowest)]
    has_missing = any(part.has_missing for part in parts)
    extremes = (min(part.lowest for part in present), max(part.highest for part in present)) \
        if present else None  # fmt: skip
    sample = np.concatenate([part.sample for part in parts])
    return (*learn_scale(sample, extremes)[:2], has_missing)


def learn_real_targets(run, loaded, is_vector):
    """Return the `RealTargets` of the partitions that have rows."""
    ranges = run.submit_each("ranges", describe_targets, loaded)
    lowest = np.min([low for low, _ in ranges], axis=0)
    highest = np.max([high for _, high in ranges], axis=0)
    unit = choose_unit(lowest, highest)
    weight, mean, square, _ = merge_sums(run.submit_each("moments", measure_targets, loaded, unit))
    if not weight.all():
        raise ValueError("sample_weight must be positive for at least one sample")
    return RealTargets.from_moments(mean, square / weight, unit, lowest, highest, is_vector)


def sample_rows(run, fold, most_rows, are_held_out=False):
    """Return about `most_rows` rows at most of a run as `Samples`.

    Parameters
    ----------
    run : ClusterRun
    fold : Fold or None
        As `ClusterRun.select` was given.
    most_rows : int
    are_held_out : bool, default False
        Whether to return rows that are held out, instead of rows to train on.
    """
    futures = run.validation if are_held_out else run.partitions
    n_rows = run.n_validation if are_held_out else sum(n_samples for n_samples, *_ in run.sizes)
    name = f"rows-{'prepared' if fold is None else fold.number}-{are_held_out}"
    parts = run.submit_each(
        name, sample_partition, dict(enumerate(futures)), fold, min(1.0, most_rows / n_rows),
        are_held_out,
    )  # fmt: skip
    weights = [part.weights for part in parts]
    return Samples(
        np.concatenate([part.X for part in parts]),
        np.concatenate([part.targets for part in parts]),
        None if weights[0] is None else np.concatenate(weights),
    )
