"""Curves of the learning rate schedules."""

import numpy as np


def warm_up(steps, warmup, total):
    """Return the factors of a linear warm-up and the progress after it.

    Parameters
    ----------
    steps : ndarray of float64, shape (n,)
    warmup : float
        Number of steps of the warm-up.
    total : int
        Number of steps of the call of `fit`.

    Returns
    -------
    factors : ndarray of float64, shape (n,)
        From above 0 to 1.
    progress : ndarray of float64, shape (n,)
        Fraction of the steps after the warm-up that precede each step; at least 0, below 1.
    """
    rise = np.minimum(1.0, (steps + 1) / warmup) if warmup else np.ones(len(steps))
    return rise, np.clip((steps - warmup) / max(total - warmup, 1), 0, 1)


def interpolate_cosine(first, last, progress):
    """Interpolate along half a cosine: `first` at `progress` 0, `last` at 1."""
    return last + (first - last) * (1 + np.cos(np.pi * progress)) / 2
