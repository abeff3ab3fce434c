"""All weights and biases of a network, or their gradients, in one aligned block.

A layer's weights are stored input-major, (inputs, outputs), so that a kernel
streams rows; rows are padded with zeros to the widest vector.  What the user sees
are transposed views without the padding.
"""

import numpy as np

from cmlp._core import kernels


class Parameters:
    """The block, and views of it.

    Parameters
    ----------
    sizes : list of int
        The widths of the layers, inputs first.
    dtype : numpy.dtype
        float32 or float64.

    Attributes
    ----------
    block : ndarray, shape (reals,)
        All of it, padding included; zero at first.
    padded_weights, padded_biases : list of ndarray
        Of each layer (inputs, padded outputs) and (padded outputs,): the engine's.
    weights, biases : list of ndarray
        Of each layer the views (outputs, inputs) and (outputs, 1): the user's.
    """

    def __init__(self, sizes, dtype):
        lanes = kernels.PAD // dtype.itemsize
        widths = [-(-size // lanes) * lanes for size in sizes[1:]]
        shapes = list(zip(sizes[:-1], widths, strict=True))
        self.block = aligned_zeros(sum((i + 1) * w for i, w in shapes), dtype)
        self.padded_weights, self.padded_biases = [], []
        start = 0
        for inputs, width in shapes:
            middle = start + inputs * width
            self.padded_weights.append(self.block[start:middle].reshape(inputs, width))
            self.padded_biases.append(self.block[middle : middle + width])
            start = middle + width
        outputs = sizes[1:]
        self.weights = [w[:, :o].T for w, o in zip(self.padded_weights, outputs, strict=True)]
        self.biases = [b[:o, None] for b, o in zip(self.padded_biases, outputs, strict=True)]


class Views(list):
    """The views of all layers as a list of fixed length.

    Assigning to an item, as to a slice of it, copies into the network.
    """

    def __init__(self, name, views):
        super().__init__(views)
        self._name = name

    def __setitem__(self, index, value):
        if isinstance(index, slice):
            views, values = self[index], list(value)
            if len(views) != len(values):
                raise ValueError(
                    f"{self._name}[{index.start}:{index.stop}] takes {len(views)} arrays, "
                    f"got {len(values)}"
                )
        else:
            views, values = [self[index]], [value]
        checked = [
            checked_array(self._name, view, new) for view, new in zip(views, values, strict=True)
        ]
        for view, new in zip(views, checked, strict=True):
            np.copyto(view, new)

    def _fixed(self, *args, **kwargs):
        raise TypeError(f"{self._name} has one array a layer; assign to its items")

    append = extend = insert = pop = remove = clear = sort = reverse = _fixed
    __delitem__ = __iadd__ = __imul__ = _fixed

    def __reduce__(self):
        return list, ([np.array(view) for view in self],)


def checked_array(name, view, value):
    """Return `value` as an array that fits `view`; a real copy where they may overlap."""
    array = np.asarray(value)
    if array.shape != view.shape:
        raise ValueError(f"an array of {name} must have shape {view.shape}, got {array.shape}")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"an array of {name} must hold real numbers, got {array.dtype}")
    return array.copy() if np.may_share_memory(array, view) else array


def aligned_zeros(size, dtype):
    """Return zeros, shape (size,), that start on the boundary of the widest vector."""
    memory = np.zeros(size * dtype.itemsize + kernels.PAD, np.uint8)
    start = -memory.ctypes.data % kernels.PAD
    return memory[start : start + size * dtype.itemsize].view(dtype)
