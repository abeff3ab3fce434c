"""MNIST and Fashion-MNIST, read from a local directory or downloaded once into a cache."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from cmlp.datasets.idx import load_idx

# The names of the IDX files, without .gz: training images and labels, test images and labels.
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class Source:
    """A data set in MNIST's layout and the mirrors that provide it.

    Attributes
    ----------
    name : str
        Name of the data set's directory.
    mirrors : tuple of str
        Base URLs, tried in this order.
    sha256 : tuple of str
        The hash of each of `FILES`: of the decompressed content, or, if `packed`, of the
        ``.gz`` file.
    packed : bool
    """

    name: str
    mirrors: tuple[str, ...]
    sha256: tuple[str, ...]
    packed: bool = False


MNIST = Source(
    "mnist",
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)

FASHION_MNIST = Source(
    "fashion-mnist",
    (
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    packed=True,
)


def load_mnist(root=None, download=True, *, patience=None):
    """Load the MNIST database of handwritten digits (LeCun, Cortes and Burges).

    Parameters
    ----------
    root : str or os.PathLike, optional
        A directory that contains the four IDX files, plain or ``.gz``, itself or in a
        subdirectory ``mnist``. It is searched first, then ``mnist`` in the directory given by
        the environment variable ``CMLP_DATA``, then the user's cache.
    download : bool, default True
        Whether to download the files from a public mirror into the cache if no directory has
        them.
    patience : float, optional
        Seconds after which the download fails; None: no limit.

    Returns
    -------
    (x_train, y_train), (x_test, y_test) : ndarray of uint8
        Images of shape (60000, 28, 28) and (10000, 28, 28); labels of shape (60000,) and
        (10000,).

    Raises
    ------
    FileNotFoundError
        If the files are not found and cannot be downloaded; the message says where to put
        them.
    ValueError
        If a file is corrupt.
    """
    return load(MNIST, root, download, patience)


def load_fashion_mnist(root=None, download=True, *, patience=None):
    """Load Fashion-MNIST (Xiao, Rasul and Vollgraf, arXiv:1708.07747).

    The errors are those of `load_mnist`; the subdirectory is ``fashion-mnist``.

    Parameters
    ----------
    root, download, patience
        As in `load_mnist`.

    Returns
    -------
    (X, y), (X_test, y_test) : ndarray
        As `load_mnist` returns them.
    """
    return load(FASHION_MNIST, root, download, patience)


def load(source, root, may_download, patience):
    """Find or download the files of a `Source`, and read them; see `load_mnist`."""
    folder = find(source, root)
    if folder is None:
        folder = get_cache_directory() / source.name
        if not may_download:
            raise FileNotFoundError(describe_missing(source, folder, "and may not be downloaded"))
        try:
            fetch(source, folder, patience)
        except OSError as error:
            raise FileNotFoundError(
                describe_missing(source, folder, f"and the download failed ({error})")
            ) from None
    x_train, y_train, x_test, y_test = (load_idx(find_file(folder, name)) for name in FILES)
    for images, labels in ((x_train, y_train), (x_test, y_test)):
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"{folder}: images of shape {images.shape} and labels of shape {labels.shape} "
                "must have one label for each image"
            )
    return (x_train, y_train), (x_test, y_test)


def find(source, root):
    """Return the first directory that has all files of a `Source`, or None.

    Parameters
    ----------
    source : Source
    root : str, os.PathLike or None
        See `load_mnist`.
    """
    bases = [root, os.environ.get("CMLP_DATA"), get_cache_directory()]
    for base in (Path(base) for base in bases if base):
        for folder in (base, base / source.name):
            # CMLP_DATA itself and the cache itself may hold another data set's files, which have
            # the same names; there only the subdirectory is searched.
            if (folder != base or base == Path(root or "")) and all(
                find_file(folder, name) for name in FILES
            ):
                return folder
    return None


def find_file(folder, name):
    """Return the path of a file, preferably of its ``.gz`` form, or None if both are missing."""
    return next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)


def fetch(source, folder, patience):
    """Download the files of a `Source` that `folder` does not have yet."""
    from cmlp.datasets.download import download  # imports ssl and http, which is slow

    deadline = None if patience is None else time.monotonic() + patience
    for name, sha256 in zip(FILES, source.sha256, strict=True):
        if not find_file(folder, name):
            download(
                f"{name}.gz", source.mirrors, sha256, folder,
                packed=source.packed, deadline=deadline,
            )  # fmt: skip


def describe_missing(source, folder, reason):
    """Return an error message that says where to put the files of a `Source`."""
    return (
        f"{source.name} is not on this machine {reason}. "
        f"Put {', '.join(f + '.gz' for f in FILES)} into {folder}, "
        f"or into the subdirectory {source.name!r} of the directory in CMLP_DATA"
    )


def get_cache_directory():
    """Return the user's cache directory for cmlp, which may not exist."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "cmlp"
