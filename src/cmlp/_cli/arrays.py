"""Data sets of arrays: digits, directories of IDX files, NumPy archives."""

import sys
from pathlib import Path

import numpy as np

from cmlp import datasets
from cmlp._cli.errors import CommandError
from cmlp.datasets.mnist import FILES, find_file

DEFAULT_DATA = "mnist if it is found or can be downloaded, else digits"

# Data sets that are chosen by name.
NAMES = ("mnist", "fashion-mnist", "digits")

# Seconds that `cmlp train` without data waits for the download of MNIST before it uses generated
# digits instead.
DOWNLOAD_SECONDS = 8.0

# Numbers of generated digits for training and for testing.
GENERATED_SAMPLES = 20_000, 4_000

# If the data do not include test data, `train` tests with 1 / TEST_DIVISOR of the samples.
TEST_DIVISOR = 6


def check_file(path):
    """Raise `CommandError` if a file to read is a directory, or ``-``."""
    if path == "-":
        raise CommandError("-: standard input is not supported; give the name of a file")
    if Path(path).is_dir():
        raise CommandError(f"{path}: it is a directory; give the name of a file")


def has_file(name):
    """Return whether the data are a file; raise `CommandError` if they are nothing at all."""
    if name is None or name in NAMES:
        return False
    if name == "-":
        check_file(name)
    if not Path(name).exists():
        raise CommandError(
            f"--data {name}: no such file; it must be mnist, fashion-mnist, digits, a directory "
            "of IDX files, or a .npz, .csv, .tsv or .parquet file"
        )
    return not Path(name).is_dir()


def load_data(name):
    """Return the data set of a name.

    Parameters
    ----------
    name : str or None
        ``mnist``, ``fashion-mnist``, ``digits``, a directory or a ``.npz`` file.

    Returns
    -------
    train : tuple (X, y)
        All rows of a table without test data of its own.
    test : tuple (X, y) or None
    """
    if name is None:
        return load_mnist_or_digits()
    if name == "mnist":
        return datasets.load_mnist()
    if name == "fashion-mnist":
        return datasets.load_fashion_mnist()
    if name == "digits":
        return generate_digits()
    if Path(name).is_dir():
        # `load_mnist` would search other directories too.
        if not any(find_file(Path(name, sub), FILES[0]) for sub in (".", "mnist")):
            raise CommandError(f"--data {name}: the directory must have {FILES[0]}, also as .gz")
        return datasets.load_mnist(name, download=False)
    if name.endswith(".npz"):
        train, test = datasets.load_npz(name)
        return check_table(name, train), None if test is None else check_table(name, test)
    raise CommandError(
        f"--data {name}: it must end in .csv, .tsv, .parquet or .npz, or be a directory of IDX "
        "files"
    )


def check_table(name, table):
    """Return X and y of an archive; y of shape (n_samples, 1) becomes (n_samples,).

    Parameters
    ----------
    name : str
        The archive.
    table : tuple (X, y)
    """
    X, y = table
    if y is None:
        raise CommandError(f"--data {name}: it must have an array y")
    if X.ndim == 0 or y.ndim not in (1, 2) or len(X) != len(y):
        raise CommandError(
            f"--data {name}: y must have shape (n,) or (n, outputs), and n must be the number of "
            f"rows of X; got shapes {X.shape} of X and {y.shape} of y"
        )
    if len(y) == 0:
        raise CommandError(f"--data {name}: X must have at least one row; got 0")
    if y.dtype.kind not in "biuf":
        raise CommandError(f"--data {name}: y must hold real numbers; got {y.dtype}")
    return X, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def load_mnist_or_digits():
    """Return MNIST if it is found or can be downloaded quickly, else generated digits."""
    try:
        return datasets.load_mnist(patience=DOWNLOAD_SECONDS)
    except (OSError, ValueError):
        print(
            "MNIST was not found: training on generated digits; to use MNIST, set CMLP_DATA "
            "to a directory with mnist/*.gz, or run 'cmlp train --data mnist' online",
            file=sys.stderr,
        )
        return generate_digits()


def generate_digits():
    """Return generated digits for training and for testing."""
    return tuple(datasets.make_digits(n, seed) for seed, n in enumerate(GENERATED_SAMPLES))


def split_rows(n_rows, fraction=None, classes=None):
    """Return the rows to train on and those to test with, always the same.

    Parameters
    ----------
    n_rows : int
    fraction : float, optional
        Of the rows to test with, at least one; by default 1 / `TEST_DIVISOR`. 0 tests with none.
    classes : ndarray of int, shape (n_rows,), optional
        Classes that are to have the same proportions in both parts; every one has rows to train on.

    Returns
    -------
    train, test : ndarray of int

    Raises
    ------
    CommandError
        If the rows are too few, or `fraction` is not in [0, 1).
    """
    if fraction is not None and not 0 <= fraction < 1:
        raise CommandError(f"--test-split must be at least 0 and below 1; got {fraction}")
    if n_rows < 2:
        raise CommandError(f"the data must have at least 2 samples; got {n_rows}")
    order = np.random.default_rng(0).permutation(n_rows)
    n_test = max(1, n_rows // TEST_DIVISOR if fraction is None else int(n_rows * fraction))
    if fraction == 0:
        return order, order[:0]
    if classes is None:
        return order[n_test:], order[:n_test]
    order = order[np.argsort(classes[order], kind="stable")]
    is_test = np.zeros(n_rows, bool)
    is_test[np.linspace(0, n_rows - 1, n_test + 2)[1:-1].round().astype(int)] = True
    firsts = np.r_[True, np.diff(classes[order]) != 0]
    is_test &= ~firsts
    if not is_test.any():
        is_test[np.flatnonzero(~firsts)[:1]] = True
    return order[~is_test], order[is_test]


def split_arrays(X, y, fraction=None):
    """Return (X, y) to train on and (X, y) to test with; see `split_rows`."""
    train, test = split_rows(len(X), fraction)
    return (X[train], y[train]), (X[test], y[test])
