"""Predictions and scores of samples that the ranks of a communicator share."""

import contextlib

import numpy as np

from cmlp._training.exchange import open_exchange
from cmlp._training.shard_metrics import ShardMetrics


def take_rows(array, rows):
    """Return some rows, a slice, of an array, a sparse matrix or a data frame."""
    if hasattr(array, "iloc"):
        return array.iloc[rows]
    return (array if hasattr(array, "shape") else np.asarray(array))[rows]


def count_rows(array):
    """Return the number of rows."""
    return array.shape[0] if hasattr(array, "shape") else len(array)


@contextlib.contextmanager
def join_ranks(comm):
    """Return an `Exchange` in a ``with`` block that ends on all ranks if it ends on one.

    Raises
    ------
    TypeError
        If `comm` is not a communicator.
    RankError
        If the block ends by an exception on another rank.
    """
    exchange = open_exchange(comm)
    with exchange.defer_interrupts(), exchange.aborts():
        yield exchange


def divide(exchange, n_samples):
    """Return the first row of each rank, and the number of rows.

    Raises
    ------
    ValueError
        If the ranks have different numbers of samples.
    """
    if exchange.share([n_samples])[0] != n_samples:
        raise ValueError(
            f"X must have the same samples on all ranks; got {n_samples} on rank {exchange.rank}"
        )
    return np.arange(exchange.size + 1) * n_samples // exchange.size


def predict_on_ranks(predict, X, comm):
    """Return predictions for all rows of X on all ranks; each rank computes some of them.

    Parameters
    ----------
    predict : callable
        Called with some rows of X, and whether progress may be shown; returns an array with one
        item for each row.
    X : array_like
        The same on all ranks.
    comm : communicator
    """
    with join_ranks(comm) as exchange:
        cuts = divide(exchange, count_rows(X))
        rows = slice(cuts[exchange.rank], cuts[exchange.rank + 1])
        part = predict(take_rows(X, rows), exchange.rank == 0)
        found = np.empty((cuts[-1], *part.shape[1:]), part.dtype)
        found[rows] = part
        exchange.sum_vector(np.zeros(1))  # that all ranks have come so far
        for rank in range(exchange.size):
            share = found[cuts[rank] : cuts[rank + 1]]
            if share.size:
                comm.Bcast(share, rank)
        return found


def measure_on_ranks(measure, make_metrics, X, y, comm, distribute):
    """Return the `Metrics` of the samples of all ranks.

    Parameters
    ----------
    measure : callable
        Returns the `Metrics` of the samples (X, y).
    make_metrics : callable
        Returns the same without samples.
    X, y : array_like
        With `distribute` the same on all ranks, which take a part each; otherwise their own.
    comm : communicator
    distribute : bool
    """
    with join_ranks(comm) as exchange:
        X, y = take_part(exchange, X, y, distribute)
        part, total = measure(X, y).sums, make_metrics()
        shift = exchange.share(part.arrays.get("first", np.zeros(1)))
        sums = ShardMetrics(total, [part], shift)
        sums.add(exchange.sum_vector(sums.collect()))
        return total


def take_part(exchange, X, y, distribute):
    """Return the samples of this rank: with `distribute` its share of the rows of X and y."""
    if not distribute:
        return X, y
    cuts = divide(exchange, count_rows(X))
    if cuts[-1] != count_rows(y):
        raise ValueError(f"y must have {cuts[-1]} samples, like X; got shape {np.shape(y)}")
    rows = slice(cuts[exchange.rank], cuts[exchange.rank + 1])
    return take_rows(X, rows), take_rows(y, rows)


def join_outputs(compute, X, y, comm, distribute):
    """Return targets and outputs for the samples of all ranks, in the order of the ranks.

    Parameters
    ----------
    compute : callable
        Returns targets and outputs, two arrays, for samples (X, y).
    X, y, comm, distribute
        As for `measure_on_ranks`.
    """
    with join_ranks(comm) as exchange:
        own = compute(*take_part(exchange, X, y, distribute))
        parts = [exchange.share_object(own, rank) for rank in range(exchange.size)]
        return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
