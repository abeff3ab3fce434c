"""A model of the time of an exchange and of a training step on several nodes.

A message of n bytes takes ``latency + n / bandwidth`` (Hockney, "The communication challenge for
MPP: Intel Paragon and Meiko CS-2", Parallel Computing 20(3), 1994). The exchanges of
`cmlp._training.exchange` are recursive doubling, and for large gradients recursive halving and
doubling of the vector; their costs in this model are those of Thakur, Rabenseifner and Gropp,
"Optimization of collective communication operations in MPICH", IJHPCA 19(1), 2005. With
r = log2(ranks):

- small: ``r * (latency + n / bandwidth)`` and r additions of n bytes;
- large: ``2 * r * latency + 2 * (ranks - 1) / ranks * n / bandwidth`` and an addition of
  ``(ranks - 1) / ranks * n`` bytes.

The counts below include the headers, and the parts in which the halves are sent.
"""

from typing import NamedTuple

import numpy as np

from cmlp._training.exchange import ALIGNMENT, LARGE_BYTES, PART_BYTES


class Line(NamedTuple):
    """The time of some operations on some bytes: ``count * latency + bytes / bandwidth``.

    It describes a link, with messages as operations, or the local part of an exchange, with the
    work of Python per message and the rate of additions.

    Attributes
    ----------
    latency : float
        Seconds for each operation.
    bandwidth : float
        Bytes per second.
    """

    latency: float
    bandwidth: float

    def predict(self, counts, sizes):
        """Return the seconds of `counts` operations on `sizes` bytes in all."""
        return np.multiply(counts, self.latency) + np.divide(sizes, self.bandwidth)


def fit_line(counts, sizes, seconds):
    """Return the `Line` with the least sum of squares of relative errors.

    Parameters
    ----------
    counts, sizes, seconds : array_like of float, shape (n,)
        Number of operations, their bytes in all, and the time measured.

    Returns
    -------
    Line
        Its latency is not negative, and its bandwidth positive, possibly infinite.
    """
    seconds = np.asarray(seconds, float)
    terms = np.column_stack((counts, sizes)) / seconds[:, None]
    # Columns of comparable size; otherwise the least squares lose digits.
    scales = np.linalg.norm(terms, axis=0)
    scales[scales == 0] = 1
    factors = np.linalg.lstsq(terms / scales, np.ones(len(seconds)), rcond=None)[0] / scales
    if factors.min() < 0:  # without the negative term
        keep = int(np.argmax(factors))
        column = terms[:, keep]
        factors = np.zeros(2)
        factors[keep] = column.sum() / (column @ column)
    return Line(float(factors[0]), float(1 / factors[1]) if factors[1] else float("inf"))


def find_errors(line, counts, sizes, seconds):
    """Return the relative errors of the predicted times, shape (n,)."""
    return line.predict(counts, sizes) / np.asarray(seconds, float) - 1


def count_rounds(ranks):
    """Return log2(ranks).

    Raises
    ------
    ValueError
        If `ranks` is not a power of two.
    """
    if ranks < 1 or ranks & (ranks - 1):
        raise ValueError(f"ranks must be a power of two; got {ranks}")
    return ranks.bit_length() - 1


def count_messages(size, ranks):
    """Return what one rank sends in the exchange of a gradient.

    Parameters
    ----------
    size : int
        Bytes of the gradient.
    ranks : int
        A power of two.

    Returns
    -------
    messages : int
    sent : float
        Bytes of all messages.
    """
    rounds = count_rounds(ranks)
    if size < LARGE_BYTES:
        return rounds, rounds * (size + ALIGNMENT)
    parts = sum(max(1, -(-(size >> i) // PART_BYTES)) for i in range(1, rounds + 1))
    return 2 * rounds + parts, rounds * ALIGNMENT + 2 * (ranks - 1) / ranks * size


def count_added_bytes(size, ranks):
    """Return the number of bytes of a gradient of `size` bytes that one rank adds."""
    if size < LARGE_BYTES:
        return float(count_rounds(ranks) * size)
    count_rounds(ranks)
    return (ranks - 1) / ranks * size


def predict_exchange(size, ranks, link, local):
    """Return the seconds of the exchange of a gradient.

    Parameters
    ----------
    size : int
        Bytes of the gradient.
    ranks : int
    link : Line
        Messages between two nodes.
    local : Line
        The work beside the messages: Python for each message, and additions.
    """
    messages, sent = count_messages(size, ranks)
    return float(
        link.predict(messages, sent) + local.predict(messages, count_added_bytes(size, ranks))
    )


class ComputeTimes:
    """Time of a step of one node without communication, against its batch size.

    Parameters
    ----------
    seconds : dict from int to float
        Batch size -> measured seconds per step.
    """

    def __init__(self, seconds):
        self.batches = sorted(seconds)
        self.seconds = [seconds[batch] for batch in self.batches]

    def predict(self, batch):
        """Return the seconds of a step.

        Between measured batch sizes the time is interpolated linearly. Beyond the largest one it
        is proportional to the batch; below the smallest one it is constant.
        """
        most = self.batches[-1]
        if batch > most:
            return self.seconds[-1] * batch / most
        return float(np.interp(batch, self.batches, self.seconds))


class Prediction(NamedTuple):
    """A predicted step.

    Attributes
    ----------
    nodes : int
    seconds : float
        Of a step.
    share : float
        Fraction of the step that is communication.
    gain : float
        Samples per second relative to one node. Weak scaling would have at best, and strong
        scaling seldom exceeds, `nodes`.
    """

    nodes: int
    seconds: float
    share: float
    gain: float


def predict_scaling(compute, size, batch, nodes, link, local, is_weak):
    """Return the predicted steps on several numbers of nodes.

    Parameters
    ----------
    compute : ComputeTimes
    size : int
        Bytes of the gradient.
    batch : int
        Batch size of each node with weak scaling, of all nodes together otherwise.
    nodes : sequence of int
        Powers of two. With strong scaling, those above `batch` are omitted: a shard needs a
        sample.
    link, local : Line
    is_weak : bool

    Returns
    -------
    list of Prediction
    """
    found, alone = [], compute.predict(batch)
    for count in nodes:
        if not is_weak and count > batch:
            break
        exchange = predict_exchange(size, count, link, local)
        seconds = compute.predict(batch if is_weak else batch / count) + exchange
        gain = alone / seconds * (count if is_weak else 1)
        found.append(Prediction(count, seconds, exchange / seconds, gain))
    return found
