"""Samples in the order in which scikit-learn trains on them."""

import numpy as np
from sklearn.utils import shuffle

from cmlp._training.sources import ArraySource


class ScikitSource(ArraySource):
    """Arrays whose order in each epoch is drawn by scikit-learn's `shuffle`.

    Parameters
    ----------
    rows, targets : cmlp._core.inputs.Rows, Targets
    batch_size : int
    random_state : numpy.random.RandomState or None
        What draws the order; None keeps the order of the rows. scikit-learn shuffles the order of
        the epoch before, so the order is not a function of seed and epoch.
    """

    def __init__(self, rows, targets, batch_size, random_state):
        super().__init__(rows, targets, None, None, batch_size, random_state is not None)
        self.index, self.random_state = np.arange(len(rows)), random_state

    def draw_order(self, seed, epoch):
        """Return the order of the next epoch, uint32, shape (n,), or None for the stored order."""
        if self.random_state is None:
            return None
        self.index = shuffle(self.index, random_state=self.random_state)
        # A single batch of all samples needs no order, but the draw must be made all the same:
        # later draws depend on it.
        return self.index.astype(np.uint32) if self.steps > 1 else None
