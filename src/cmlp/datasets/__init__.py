"""Data sets: readers for common file formats, MNIST downloads, and generated digits."""

from cmlp.datasets.augmentation import AugmentedImages, augment
from cmlp.datasets.digits import make_digits
from cmlp.datasets.idx import load_idx
from cmlp.datasets.mnist import load_fashion_mnist, load_mnist
from cmlp.datasets.tables import load_csv, load_npz

__all__ = [
    "AugmentedImages",
    "augment",
    "load_csv",
    "load_fashion_mnist",
    "load_idx",
    "load_mnist",
    "load_npz",
    "make_digits",
]
