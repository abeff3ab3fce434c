"""`ShardMetrics`: metric sums of each shard, added over the tree of shards after each step."""

import numpy as np


def sum_tree(rows):
    """Return the sum of rows, a power of two of them, over a binary tree, shape (columns,)."""
    while len(rows) > 1:
        rows = rows[::2] + rows[1::2]
    return rows[0]


class ShardMetrics:
    """The metric sums of the shards of one process.

    The targets of a regression are shifted by the first target, to avoid cancellation. Each step of
    each shard has its own shift, and `collect` replaces it by the shift of the epoch.

    Parameters
    ----------
    totals : cmlp.metrics.Metrics
        Receives the sums of all steps.
    parts : list of cmlp._core.inputs.MetricSums
        One for each shard.
    shift : ndarray of float64, shape (targets,)
        The first target of the epoch, the same for all processes. `totals` keeps it once it has
        samples.

    Attributes
    ----------
    size : int
        Length of the vector of sums.
    """

    def __init__(self, totals, parts, shift):
        self.totals, self.parts = totals, parts
        self.names = [name for name in totals.arrays if name != "first"]
        self.size = 1 + sum(totals.arrays[name].size for name in self.names)
        if "first" in totals.arrays and totals.samples == 0:
            totals.arrays["first"][:] = shift

    def collect(self):
        """Return the sums of a step over all shards, and set the sums of each shard to 0."""
        total = sum_tree(np.array([self.flatten(part) for part in self.parts]))
        for part in self.parts:
            part.samples = 0
            for array in part.arrays.values():
                array[:] = 0
        return total

    def flatten(self, part):
        """Return the sums of a shard as a vector: the number of samples, then the arrays."""
        sums, samples = part.arrays, part.samples
        if "first" in sums and samples:
            # y - b = (y - a) + (a - b), summed over the samples.
            shift = sums["first"] - self.totals.arrays["first"]
            sums["target_square"] += shift * (2 * sums["target"] + samples * shift)
            sums["target"] += samples * shift
        return np.concatenate(([samples], *(sums[name] for name in self.names)))

    def add(self, vector):
        """Add sums, as `collect` returns them, to the totals."""
        self.totals.sums.samples += vector[0]
        position = 1
        for name in self.names:
            array = self.totals.arrays[name]
            array += vector[position : position + array.size]
            position += array.size
