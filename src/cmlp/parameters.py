"""All parameters of a network, or their gradients, in one aligned block.

A layer's weights are stored input-major, (inputs, outputs), so that a kernel
streams rows; rows are padded with zeros to the widest vector.  What the user sees
are transposed views without the padding.
"""

import math
from itertools import pairwise

import numpy as np

from cmlp._core import kernels

PAGE = 4096


class Parameters:
    """The block, and views of it.

    Parameters
    ----------
    sizes : list of int
        The widths of the layers, inputs first.
    dtype : numpy.dtype
        float32 or float64.
    normalized : sequence of bool, optional
        Which layers have scales beside weights and biases; by default none.

    Attributes
    ----------
    block : ndarray, shape (reals,)
        All of it, padding included; zero at first.
    padded : list of tuple of ndarray
        Of each layer the weights (inputs, padded outputs), the bias (padded outputs,) and
        the scale (padded outputs,) or None: the engine's.
    weights, biases, scales : list of ndarray
        Of each layer the views (outputs, inputs), (outputs, 1) and (outputs, 1) or None: the
        user's.
    """

    def __init__(self, sizes, dtype, normalized=()):
        shapes = []
        for l, (inputs, outputs) in enumerate(pairwise(sizes)):
            width = padded_width(outputs, dtype)
            scaled = l < len(normalized) and normalized[l]
            shapes.append([(inputs, width), (width,), (width,) if scaled else None])
        self.block = aligned_zeros(sum(math.prod(s) for layer in shapes for s in layer if s), dtype)
        start, self.padded = 0, []
        for layer in shapes:
            arrays = []
            for shape in layer:
                end = start + (math.prod(shape) if shape else 0)
                arrays.append(self.block[start:end].reshape(shape) if shape else None)
                start = end
            self.padded.append(tuple(arrays))
        layers = list(zip(self.padded, sizes[1:], strict=True))
        self.weights = [w[:, :o].T for (w, _, _), o in layers]
        self.biases = [b[:o, None] for (_, b, _), o in layers]
        self.scales = [None if s is None else s[:o, None] for (_, _, s), o in layers]


class Statistics:
    """The running means and variances of the layers that are normalised over batches.

    Parameters
    ----------
    sizes : list of int
    dtype : numpy.dtype
    normalized : sequence of bool
        Which layers are.

    Attributes
    ----------
    block : ndarray, shape (reals,)
    padded : list of tuple of ndarray, or None
        Of each layer the means and the variances, (padded outputs,): the engine's.
    means, variances : list of ndarray, shapes (outputs, 1), or None
        The user's; variances are one at first.
    """

    def __init__(self, sizes, dtype, normalized):
        widths = [padded_width(o, dtype) if n else 0
                  for o, n in zip(sizes[1:], normalized, strict=True)]  # fmt: skip
        self.block = aligned_zeros(2 * sum(widths), dtype)
        self.padded, start = [], 0
        for width in widths:
            both = self.block[start : start + 2 * width]
            self.padded.append((both[:width], both[width:]) if width else None)
            start += 2 * width
        layers = list(zip(self.padded, sizes[1:], strict=True))
        self.means = [None if p is None else p[0][:o, None] for p, o in layers]
        self.variances = [None if p is None else p[1][:o, None] for p, o in layers]
        for variances in self.variances:
            if variances is not None:
                variances[:] = 1


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
        if any(view is None for view in views):
            raise ValueError(f"{self._name} is None for a layer that is not normalised")
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
        return list, ([None if view is None else np.array(view) for view in self],)


def checked_array(name, view, value):
    """Return `value` as an array that fits `view`; a real copy where they may overlap."""
    array = np.asarray(value)
    if array.shape != view.shape:
        raise ValueError(f"an array of {name} must have shape {view.shape}, got {array.shape}")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"an array of {name} must hold real numbers, got {array.dtype}")
    return array.copy() if np.may_share_memory(array, view) else array


def padded_width(size, dtype):
    """Return how many reals a row of `size` takes."""
    lanes = kernels.PAD // dtype.itemsize
    return -(-size // lanes) * lanes


def aligned_zeros(size, dtype):
    """Return zeros, shape (size,), that start on the boundary of a page.

    What goes through parameters, gradients and states of an optimizer at once is slower by a
    third where a CPU that compares the last 12 bits of addresses takes a write to one of them
    for a read of another: all have the same.
    """
    memory = np.zeros(size * dtype.itemsize + PAGE, np.uint8)
    start = -memory.ctypes.data % PAGE
    return memory[start : start + size * dtype.itemsize].view(dtype)
