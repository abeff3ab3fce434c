"""The digits that all peers train on."""

from cmlp import datasets


def digits():
    """Return (X, y), (X_test, y_test), flat uint8 images, and the name of the data set."""
    try:
        train, test = datasets.load_mnist(download=False)
        name = "MNIST"
    except FileNotFoundError:
        train, test = datasets.make_digits(20_000, 0), datasets.make_digits(4_000, 1)
        name = "generated digits"
    return *((X.reshape(len(X), -1), y) for X, y in (train, test)), name
