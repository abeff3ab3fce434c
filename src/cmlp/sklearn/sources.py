"""Samples in the order in which scikit-learn trains on them."""

import numpy as np

from cmlp._training.sources import ArraySource


class ScikitSource(ArraySource):
    """Arrays whose order in each epoch is the one that scikit-learn draws.

    scikit-learn calls `sklearn.utils.shuffle` on the order of the previous epoch, so the order is
    not a function of seed and epoch. That function shuffles ``np.arange(n)`` by
    `RandomState.shuffle` and indexes its argument with the result. To shuffle the argument itself
    exchanges the same positions. It took 2.2 us instead of 137 us for 150 samples: the function
    looks for data frames and array libraries first.

    Parameters
    ----------
    rows, targets : cmlp._core.inputs.Rows, Targets
    batch_size : int
    random_state : numpy.random.RandomState or None
        Draws the order; None: the rows in their stored order.
    """

    def __init__(self, rows, targets, batch_size, random_state):
        super().__init__(rows, targets, None, None, batch_size, random_state is not None)
        # NumPy shuffles elements of this type in two thirds of the time of uint32.
        self.index, self.random_state = np.arange(len(rows), dtype=np.intp), random_state

    def draw_order(self, seed, epoch, out=None):
        """Return the order of the next epoch, uint32, shape (n,), or None for the stored order."""
        if self.random_state is None:
            return None
        self.random_state.shuffle(self.index)
        if self.steps == 1:  # does not need the order, but later draws depend on this one
            return None
        if out is None:
            return self.index.astype(np.uint32)
        out[:] = self.index
        return out
