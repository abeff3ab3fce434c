"""Preparation of the training of one of several networks on the same data."""

from cmlp._training.arguments import FitOptions, prepare_training
from cmlp._training.augmentation import AugmentedImages
from cmlp._training.inputs import prepare_rows


def prepare_one_of_many(network, X, y, options, sparse, threads, cache):
    """Return the `TrainingRun` of a network, on one thread.

    Parameters
    ----------
    network : Network
    X, y : array_like
        As in `Network.fit`. Each network distorts augmented images by itself.
    options : dict
        Arguments of `Network.fit`.
    sparse : bool or "auto"
    threads : int
        Number of threads that convert X.
    cache : dict
        Stores the conversions of X for the other networks.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the network is unchanged.
    """
    if not isinstance(X, AugmentedImages):
        X = prepare_rows(
            X, network.state.architecture, batch_size=FitOptions(**options).batch_size,
            sparse=sparse, threads=threads, cache=cache,
        )  # fmt: skip
        sparse = X.is_sparse
    return prepare_training(network, X, y, FitOptions(**options, sparse=sparse, threads=1))
