"""MNIST and Fashion-MNIST: found on this machine, or downloaded once."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from cmlp.datasets.idx import load_idx

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class Source:
    """Where a data set of MNIST's layout comes from.

    Attributes
    ----------
    name : str
        Of its folder.
    mirrors : tuple of str
    sha256 : tuple of str
        Of each of `FILES`: of the decompressed bytes, or, when `packed`, of the ``.gz``.
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
    """Return the MNIST database of handwritten digits (LeCun, Cortes and Burges).

    Parameters
    ----------
    root : str or os.PathLike, optional
        A folder with the four IDX files, plain or ``.gz``, or with a folder ``mnist`` of
        them. Looked at first; then the environment's `CMLP_DATA`, then the user's cache.
    download : bool, default True
        Whether to fetch the files from a public mirror into the cache if they are nowhere.
    patience : float, optional
        Seconds after which a download is given up.

    Returns
    -------
    (x_train, y_train), (x_test, y_test) : ndarray
        Images uint8 (60000, 28, 28) and (10000, 28, 28), labels uint8 (60000,) and (10000,).

    Raises
    ------
    FileNotFoundError
        If the files are nowhere and cannot be had; it says where to put them.
    ValueError
        If a file is damaged.
    """
    return load(MNIST, root, download, patience)


def load_fashion_mnist(root=None, download=True, *, patience=None):
    """Return Fashion-MNIST (Xiao, Rasul and Vollgraf, arXiv:1708.07747); see `load_mnist`."""
    return load(FASHION_MNIST, root, download, patience)


def load(source, root, may_download, patience):
    """Find, else fetch, the files of a source and read them."""
    folder = find(source, root)
    if folder is None:
        folder = cache() / source.name
        if not may_download:
            raise FileNotFoundError(absent(source, folder, "and it may not be downloaded"))
        try:
            fetch(source, folder, patience)
        except OSError as error:
            raise FileNotFoundError(
                absent(source, folder, f"and the download failed ({error})")
            ) from None
    x_train, y_train, x_test, y_test = (load_idx(present(folder, name)) for name in FILES)
    for images, labels in ((x_train, y_train), (x_test, y_test)):
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"{folder}: images of shape {images.shape} and labels of shape {labels.shape} "
                "do not belong together"
            )
    return (x_train, y_train), (x_test, y_test)


def find(source, root):
    """Return the first folder that holds all files, or None."""
    places = [root, os.environ.get("CMLP_DATA"), cache()]
    for place in (Path(place) for place in places if place):
        for folder in (place, place / source.name):
            # The bare folder of the environment or the cache may hold another data set.
            if (folder != place or place == Path(root or "")) and all(
                present(folder, name) for name in FILES
            ):
                return folder
    return None


def present(folder, name):
    """Return the path of a file, packed or plain, or None."""
    return next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)


def fetch(source, folder, patience):
    """Download the files that are not there yet."""
    from cmlp.datasets.download import download  # with ssl and http, slow to import

    deadline = None if patience is None else time.monotonic() + patience
    for name, sha256 in zip(FILES, source.sha256, strict=True):
        if not present(folder, name):
            download(
                f"{name}.gz", source.mirrors, sha256, folder,
                packed=source.packed, deadline=deadline,
            )  # fmt: skip


def absent(source, folder, why):
    """Return the message that says where the files are looked for."""
    return (
        f"{source.name} is not on this machine {why}. Put {', '.join(f + '.gz' for f in FILES)} "
        f"into {folder}, or into a folder {source.name!r} of the one that CMLP_DATA names"
    )


def cache():
    """Return the user's cache folder for cmlp."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "cmlp"
