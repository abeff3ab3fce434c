"""``cmlp predict``: the predictions of a model for each row of a file."""

import contextlib
import csv
import gzip
import io
import sys
from pathlib import Path

import numpy as np

from cmlp import datasets
from cmlp._cli.arrays import check_file
from cmlp._cli.columns import (
    NUMBER,
    ColumnScan,
    convert_categories,
    convert_numbers,
    make_missing,
)
from cmlp._cli.errors import CommandError
from cmlp._cli.models import choose_inputs, choose_kinds, is_estimator, load_model, make_inputs
from cmlp._cli.parquet_files import read_lists, write_parquet
from cmlp._cli.tables import is_parquet, is_table, open_csv, read_table
from cmlp.formats.atomic import replace_file

# Predictions that are converted to text at once: NumPy takes 128 bytes for the text of a number.
BLOCK_ROWS = 4096


def run_predict(options):
    """Write the rows of a table with a model's predictions, as CSV.

    For other files, and with --raw, one prediction for each row is printed on a line.
    """
    model, path = load_model(options.model), options.file
    check_file(path)
    check_out(options, is_table(path))
    if not is_table(path):
        if is_estimator(model):
            raise CommandError(
                f"{options.model} is a model for tables: give a .csv or .parquet file"
            )
        write_raw(predict_raw(model, load_samples(path), options.proba), options.out)
        return
    chosen = []

    def choose(names, has_names):
        chosen[:] = choose_inputs(model, path, names, has_names, options.target)
        return choose_kinds(model, chosen)

    table = read_table(path, options, choose)
    X = make_inputs(model, table, chosen)
    if options.raw:
        write_raw(predict_raw(model, X, options.proba), options.out)
        return
    columns = predict_columns(model, X, options.column)
    if options.proba:
        columns |= predict_probabilities(model, X)
    if is_parquet(options.out or ""):
        lists = read_all(path, options)
        check_free(path, lists, columns)
        with replace_file(options.out) as file:
            write_parquet(lists | {k: v.tolist() for k, v in columns.items()}, file, options.out)
        return
    numbers = [name for name, kind in choose_kinds(model, chosen).items() if kind == NUMBER]
    if options.out:
        with open_text(options.out) as file:
            write_rows(path, options, columns, numbers, file)
    else:
        write_rows(path, options, columns, numbers, sys.stdout)


def check_out(options, has_columns):
    """Raise `CommandError` if ``--out`` cannot be written or does not suit the data."""
    out = options.out
    if out is None:
        return
    if not Path(out).parent.is_dir() or Path(out).is_dir():
        raise CommandError(f"--out {out}: it must be a file in an existing directory")
    if is_parquet(out) and (options.raw or not has_columns):
        raise CommandError(f"--out {out}: a Parquet file needs a table, and no --raw")
    is_known = is_table(out) and not out.endswith(".parquet.gz")
    if has_columns and not (options.raw or is_known):
        raise CommandError(
            f"--out {out}: it must end in .csv, .tsv, .txt or .data, also with .gz, or in .parquet"
        )


def load_samples(path):
    """Return the samples in a file of an array, X."""
    extension = Path(path).suffix.lower()
    if extension == ".npz":
        return datasets.load_npz(path)[0][0]
    if extension == ".npy":
        return np.load(path, allow_pickle=False)
    return datasets.load_idx(path)


def predict_raw(model, X, proba):
    """Return the outputs, or the probabilities, if `proba` is true, else the predictions."""
    if not proba:
        return model.predict(X)
    if not is_estimator(model):
        return model(X)
    check_classifier(model)
    return model.predict_proba(X)


@contextlib.contextmanager
def open_text(path):
    """Open a file to write text to, compressed if its name ends in ``.gz``; see `replace_file`."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(replace_file(path))
        if path.endswith(".gz"):
            file = stack.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0))
        text = io.TextIOWrapper(file, "utf-8", newline="")
        try:
            yield text
            text.flush()
        finally:
            text.detach()  # the others close their files


def write_raw(out, path):
    """Write predictions, shape (n_rows,) or (n_rows, n_outputs), as one line for each row."""
    rows = out if out.ndim == 2 else out[:, None]
    text = "".join(",".join(row) + "\n" for row in iterate_texts(rows))
    if path is None:
        sys.stdout.write(text)
    else:
        with open_text(path) as file:
            file.write(text)


def check_classifier(model):
    """Raise `CommandError` if a model does not predict classes."""
    is_classifier = hasattr(model, "classes_") if is_estimator(model) else model.is_classifier
    if not is_classifier:
        raise CommandError("--proba needs a classifier; the model predicts numbers")


def predict_columns(model, X, column):
    """Return the predictions as columns.

    Parameters
    ----------
    model : Network, QuantizedNetwork or estimator
    X : ndarray or dict from str to ndarray
        See `make_inputs`.
    column : str
        Name of the column of predictions, and the beginning of the names of several.

    Returns
    -------
    dict from str to ndarray, shape (n_rows,)
    """
    has_std = getattr(model, "loss", None) == "gaussian_nll"
    predictions, std = model.predict(X, return_std=True) if has_std else (model.predict(X), None)
    names = range(1 if predictions.ndim == 1 else predictions.shape[1])
    quantiles = list_quantiles(model)
    if len(quantiles) > 1:  # the lowest quantile of all targets first
        targets = len(names) // len(quantiles)
        names = quantiles
        if targets > 1:
            names = [f"{target}_{quantile}" for quantile in quantiles for target in range(targets)]
    found = {}
    for values, end in ((predictions, ""), (std, "_std")):
        if values is not None and values.ndim == 1:
            found[f"{column}{end}"] = values
        elif values is not None:
            found |= {
                f"{column}_{name}{end}": each for name, each in zip(names, values.T, strict=True)
            }
    return found


def list_quantiles(model):
    """Return the quantiles that a model predicts, a list of float, empty if it predicts others."""
    if is_estimator(model):
        is_pinball = getattr(model, "loss", None) == "pinball"
        return np.atleast_1d(model.quantiles).tolist() if is_pinball else []
    return list(model.state.architecture.loss.quantiles)


def predict_probabilities(model, X):
    """Return a column of probabilities for each class, named after it: ``proba_<class>``."""
    check_classifier(model)
    proba = model.predict_proba(X)
    if is_estimator(model):
        classes = model.classes_.tolist()
    else:
        if proba.shape[1] == 1:
            proba = np.hstack([1 - proba, proba])
        classes = range(proba.shape[1])
    return {f"proba_{label}": each for label, each in zip(classes, proba.T, strict=True)}


def check_free(path, names, columns):
    """Raise `CommandError` if a table has a column with the name of one of predictions."""
    for name in columns:
        if name in names:
            raise CommandError(
                f"{path}: the file has a column {name!r}; give another name for predictions by "
                "--column"
            )


def write_rows(path, options, columns, numbers, file):
    """Write the rows of a table with further columns.

    Parameters
    ----------
    path : str
    options : argparse.Namespace
    columns : dict from str to ndarray, shape (n_rows,)
    numbers : list of str
        Columns of the table that hold numbers; with decimal commas the new ones have them too.
    file : text file object
    """
    comma = False
    if is_parquet(path):
        lists = read_lists(path)
        names, separator = list(lists), ","
        rows = (
            ["" if v is None else str(v) for v in row] for row in zip(*lists.values(), strict=True)
        )
    else:
        source = open_csv(path, options)
        names, separator = source.names, source.separator
        rows = (row for _, row in source.iterate_rows())
        if separator != ",":
            comma = has_decimal_commas(source, numbers)
    check_free(path, names, columns)
    writer = csv.writer(file, delimiter=separator, lineterminator="\n")
    writer.writerow([*names, *columns])
    added = zip(*(format_values(each, comma) for each in columns.values()), strict=True)
    for row, more in zip(rows, added, strict=True):
        writer.writerow([*row, *more])


def has_decimal_commas(source, names):
    """Return whether columns of numbers of a `CsvFile` have decimal commas, by its first rows."""
    indices = [source.names.index(name) for name in names]
    _, first = next(source.iterate_chunks())
    return any("," in cell for i in indices for cell in first[i])


def format_values(values, comma):
    """Return an iterator of the values of a column as text; `comma` selects decimal commas."""
    if comma and values.dtype.kind == "f":
        return (text.replace(".", ",") for text in iterate_texts(values))
    return iterate_texts(values)


def iterate_texts(values):
    """Yield the items of an array as str or, of one with two axes, its rows as lists of str.

    A number has the fewest digits that are read as the same number of its dtype.
    """
    for start in range(0, len(values), BLOCK_ROWS):
        yield from values[start : start + BLOCK_ROWS].astype(str).tolist()


def read_all(path, options):
    """Return all columns of a table, a dict from names to lists of numbers or texts."""
    if is_parquet(path):
        return read_lists(path)
    source, missing = open_csv(path, options), make_missing(options.missing)
    parts = [columns for _, columns in source.iterate_chunks()]
    lists = {}
    for i, name in enumerate(source.names):
        cells = [cell for columns in parts for cell in columns[i]]
        scan = ColumnScan(name, missing)
        scan.add(cells)
        if scan.choose_kind(source.separator) == NUMBER:
            numbers = convert_numbers(cells, missing, lambda row, name=name: f"{name}, row {row}")
            lists[name] = [None if value != value else value for value in numbers.tolist()]
        else:
            lists[name] = convert_categories(cells, missing, {}).tolist()
    return lists
