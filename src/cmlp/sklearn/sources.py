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
        Draws the order; None: the rows in their stored order. As in scikit-learn, each epoch
        shuffles the order of the previous epoch, so it is not a function of seed and epoch.
    """

    def __init__(self, rows, targets, batch_size, random_state):
        super().__init__(rows, targets, None, None, batch_size, random_state is not None)
        self.index, self.random_state = np.arange(len(rows)), random_state

    def draw_order(self, seed, epoch):
        """Return the order of the next epoch, uint32, shape (n,), or None for the stored order."""
        if self.random_state is None:
            return None
        self.index = shuffle(self.index, random_state=self.random_state)
        # A single batch of all samples does not need the order, but later draws depend on this
        # one.
        return self.index.astype(np.uint32) if self.steps > 1 else None
