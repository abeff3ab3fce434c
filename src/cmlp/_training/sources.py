"""Sources of training data: arrays, or an iterable of batches, as chunks that the engine runs."""

from typing import NamedTuple

import numpy as np

from cmlp._core.inputs import Rows, Targets
from cmlp._core.training import shuffle


class Chunk(NamedTuple):
    """Samples that one `EpochRun` of the engine trains on: an epoch, or one batch of an iterable.

    Attributes
    ----------
    rows, targets : Rows, Targets
    values : ndarray or None
        Targets for a loss in Python.
    order : ndarray of uint32, shape (n,), or None
        Indices of the rows to train on, in this order; None: all rows in their stored order.
    batch_size : int
    sample_offset : int
        Number of samples of the epoch before this chunk.
    first_step : int
        Number of steps of the epoch before this chunk.
    steps : int
        Number of steps of the whole epoch; 0 if it is unknown.
    """

    rows: Rows
    targets: Targets
    values: np.ndarray | None
    order: np.ndarray | None
    batch_size: int
    sample_offset: int
    first_step: int
    steps: int

    @property
    def n_samples(self):
        """Number of samples."""
        return len(self.rows) if self.order is None else len(self.order)


def make_shuffled_order(seed, epoch, n_samples, out=None):
    """Return a permutation, uint32 (n_samples,), that is a function of seed and epoch alone.

    `out`, an array of this kind, is overwritten and returned if it is given.
    """
    order = np.empty(n_samples, np.uint32) if out is None else out
    shuffle(order, seed, epoch)
    return order


class ArraySource:
    """Arrays to train on; an epoch is one chunk.

    Parameters
    ----------
    rows, targets : Rows, Targets
    values : ndarray or None
        Targets for a loss in Python.
    subset : ndarray of uint32 or None
        Rows to train on; None for all.
    batch_size : int
    shuffle : bool
    drop_last : bool, default False
        Whether an epoch leaves out the samples, other ones in each epoch if they are shuffled, that
        do not fill a batch.

    Raises
    ------
    ValueError
        If `drop_last` would leave out all samples.

    Attributes
    ----------
    n_samples, steps : int
        Samples and steps of an epoch.
    has_one_chunk : bool
        Whether an epoch is one chunk, whose samples are the same in all epochs.
    """

    has_one_chunk = True

    def __init__(self, rows, targets, values, subset, batch_size, shuffle, drop_last=False):
        self.rows, self.targets, self.values = rows, targets, values
        self.subset, self.batch_size, self.shuffle = subset, batch_size, shuffle
        self.n_rows = self.n_samples = len(rows) if subset is None else len(subset)
        if drop_last:
            self.n_samples -= self.n_rows % batch_size
            if self.n_samples == 0:
                raise ValueError(
                    f"batch_size must be at most the number of samples to train on, {self.n_rows}, "
                    f"with drop_last; got {batch_size}"
                )
        self.steps = -(-self.n_samples // batch_size)

    def draw_order(self, seed, epoch, out=None):
        """Return the indices of an epoch's rows in training order, or None for the stored order.

        Parameters
        ----------
        seed, epoch : int
            As in `chunks`.
        out : ndarray of uint32, optional
            The order of an earlier epoch, which may be overwritten.
        """
        if self.n_samples < self.n_rows:
            return self._draw_all(seed, epoch)[: self.n_samples]
        return self._draw_all(seed, epoch, out)

    def _draw_all(self, seed, epoch, out=None):
        # Return the order of all rows; `drop_last` may leave out the last ones.
        if not self.shuffle:
            if self.subset is None and self.n_samples < self.n_rows:
                return np.arange(self.n_rows, dtype=np.uint32)
            return self.subset
        if self.subset is None:
            return make_shuffled_order(seed, epoch, self.n_rows, out)
        return self.subset[make_shuffled_order(seed, epoch, self.n_rows)]

    def chunks(self, seed, epoch):
        """Yield the only chunk of an epoch.

        Parameters
        ----------
        seed : int
        epoch : int
            Number of epochs trained so far.
        """
        order = self.draw_order(seed, epoch)
        yield Chunk(self.rows, self.targets, self.values, order, self.batch_size, 0, 0, self.steps)

    @property
    def fingerprint(self):
        """Properties that must be equal for a checkpoint of another run to fit; a dict."""
        return {"samples": self.n_samples, "batch_size": self.batch_size, "shuffle": self.shuffle}


class BatchSource:
    """An iterable of batches to train on; each batch is one chunk and one step.

    Parameters
    ----------
    batches : iterable or callable
        An iterable yields (X, y) or (X, y, sample_weight); a callable returns such an iterable.
    convert : callable
        Called with a batch and its number; returns rows, targets and values.

    Attributes
    ----------
    n_samples : None
        Samples of an epoch are unknown.
    steps : int or None
        Steps of an epoch, if the iterable has a length.
    has_one_chunk : bool
    """

    n_samples = None
    has_one_chunk = False

    def __init__(self, batches, convert):
        self.batches, self.convert = batches, convert
        self.steps = len(batches) if hasattr(batches, "__len__") else None

    def check(self, schedules, optimizer):
        """Raise `ValueError` if the number of steps is needed and unknown."""
        is_scheduled = any(schedule is not None for schedule in schedules)
        if self.steps is None and (is_scheduled or getattr(optimizer, "accumulate", 1) > 1):
            raise ValueError(
                "X must have a length, the number of batches of an epoch, for a schedule or for an "
                "optimizer with accumulate > 1"
            )

    def chunks(self, seed, epoch):
        """Yield each batch as a chunk."""
        offset = 0
        for number, batch in enumerate(self.batches() if callable(self.batches) else self.batches):
            rows, targets, values = self.convert(batch, number)
            yield Chunk(rows, targets, values, None, len(rows), offset, number, self.steps or 0)
            offset += len(rows)

    @property
    def fingerprint(self):
        """Properties that must be equal for a checkpoint of another run to fit; a dict."""
        return {"steps": self.steps}
