"""Named tensors of all layers in one aligned block of memory.

A tensor of shape (rows, columns) is stored transposed, (columns, padded rows). The weights of a
dense layer, (outputs, inputs) for the user, are thus input-major in memory, and kernels read them
sequentially. Rows in memory are padded with zeros to whole vectors of the widest instruction set.
Gradients, optimizer state and averages are blocks of the same layout.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from cmlp._core import kernels
from cmlp._utils.schema import FiniteArray
from cmlp._utils.validation import check_unmasked, convert_dtype


class Tensor(NamedTuple):
    """The identity and the shape of one tensor of an architecture.

    Attributes
    ----------
    layer : int
        Index of the layer among all layers of the architecture.
    number : int
        Index of the layer among the layers of the same kind; part of `key`.
    name : str
        ``"weight"``, ``"bias"``, ``"scale"``, ``"alpha"``, ``"running_mean"`` or
        ``"running_variance"``.
    rows, columns : int
        Shape as the user sees it.
    """

    layer: int
    number: int
    name: str
    rows: int
    columns: int

    @property
    def key(self):
        """Name of the array in a file, such as ``"weight_0"``."""
        return f"{self.name}_{self.number}"


class TensorBlock:
    """One aligned block that holds tensors of one dtype, and views of them.

    Parameters
    ----------
    tensors : sequence of Tensor
        In the order in which they are stored.
    dtype : numpy.dtype
        float32 or float64.
    frozen : frozenset of int
        `Tensor.layer` of the tensors that are not trained; may be assigned to.

    Attributes
    ----------
    block : ndarray, shape (size,)
        All elements, padding included; zero at first.
    views : dict from Tensor to ndarray, shape (rows, columns)
        Views of `block` in the shape that the user sees, without the padding.
    offsets : dict from Tensor to int
        Index of each tensor's first element in `block`.
    """

    def __init__(self, tensors, dtype, frozen=frozenset()):
        self.tensors, self.dtype, self.frozen = tuple(tensors), dtype, frozen
        widths = [compute_padded_width(tensor.rows, dtype) for tensor in self.tensors]
        sizes = [t.columns * w for t, w in zip(self.tensors, widths, strict=True)]
        self.block = aligned_zeros(sum(sizes), dtype)
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        self.offsets = dict(zip(self.tensors, starts, strict=True))

    @cached_property
    def views(self):
        """Views of `block`; see the class."""
        return self.view_block(self.block)

    def view_block(self, block):
        """Return views of another block of this layout, as in `views`; a dict."""
        views = {}
        for tensor, start in self.offsets.items():
            width = compute_padded_width(tensor.rows, self.dtype)
            stored = block[start : start + tensor.columns * width].reshape(tensor.columns, width)
            views[tensor] = stored[:, : tensor.rows].T
        return views

    def check_block(self, name, block):
        """Raise `ValueError` unless an array may replace `block`: finite, its padding zero."""
        FiniteArray(self.block.shape, self.dtype).check(name, block)
        rest = block.copy()
        for view in self.view_block(rest).values():
            view[:] = 0
        if rest.any():
            raise ValueError(f"{name} must have zeros between its rows")

    def make_zeros(self):
        """Return a block of the same layout whose elements are zero."""
        other = object.__new__(TensorBlock)
        other.tensors, other.dtype, other.offsets = self.tensors, self.dtype, self.offsets
        other.frozen = self.frozen
        other.block = aligned_zeros(self.block.size, self.dtype)
        return other

    def __getstate__(self):
        return self.tensors, self.dtype, self.block

    def __setstate__(self, state):
        tensors, dtype, block = state
        self.__init__(tensors, dtype)
        self.block[:] = block

    def get_views(self, name):
        """Return the views of the tensors with this name, in order of their layers."""
        return [view for tensor, view in self.views.items() if tensor.name == name]

    def get_offsets(self, layer):
        """Return the offsets of one layer's tensors, a dict from name to int."""
        return {t.name: offset for t, offset in self.offsets.items() if t.layer == layer}


class LayerViews(list):
    """One view for each dense layer, as a list of fixed length.

    Assigning to an item or to a slice copies the values into the network.

    Parameters
    ----------
    name : str
        The network's attribute, for messages.
    views : sequence of ndarray or None
        None for a layer without such a tensor.
    """

    def __init__(self, name, views):
        super().__init__(views)
        self.name = name

    def __setitem__(self, index, value):
        if isinstance(index, slice):
            views, values = self[index], list(value)
            if len(views) != len(values):
                bounds = ["" if each is None else str(each) for each in (index.start, index.stop)]
                part = f"[{':'.join(bounds)}]" if any(bounds) else ""
                raise ValueError(
                    f"{self.name}{part} must be {len(views)} arrays; got {len(values)}"
                )
        else:
            views, values = [self[index]], [value]
        if any(view is None for view in views):
            raise ValueError(f"{self.name} cannot be assigned for a layer that has none")
        arrays = [
            check_array(self.name, view, new) for view, new in zip(views, values, strict=True)
        ]
        for view, array in zip(views, arrays, strict=True):
            np.copyto(view, array)

    def _refuse_resizing(self, *args, **kwargs):
        raise TypeError(f"{self.name} has one array for each layer; assign to its items")

    append = extend = insert = pop = remove = clear = sort = reverse = _refuse_resizing
    __delitem__ = __iadd__ = __imul__ = _refuse_resizing

    def __reduce__(self):
        return list, ([None if view is None else np.array(view) for view in self],)


def check_array(name, view, value):
    """Return `value` as an array of the shape of `view`, copied if the two may overlap.

    Raises
    ------
    ValueError
        If the shape differs, an element is masked, or a number is beyond the range of the dtype.
    TypeError
        If the elements are not real numbers.
    """
    check_unmasked(f"an array of {name}", value)
    array = np.asarray(value)
    if array.shape != view.shape:
        raise ValueError(f"an array of {name} must have shape {view.shape}; got {array.shape}")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"an array of {name} must hold real numbers; got {array.dtype}")
    array = convert_dtype(f"an array of {name}", array, view.dtype)
    return array.copy() if np.may_share_memory(array, view) else array


def compute_padded_width(size, dtype):
    """Return the number of elements in memory of a row of `size` elements, padding included."""
    lanes = kernels.PAD // dtype.itemsize
    return -(-size // lanes) * lanes


def aligned_zeros(size, dtype):
    """Return zeros, shape (size,), that start on a page boundary.

    All blocks that an optimizer's pass reads and writes start on a page boundary. Otherwise 4K
    aliasing (a store and a later load whose addresses agree in the low 12 bits) made Adam's pass
    up to a third slower.
    """
    size_bytes = size * dtype.itemsize
    if 0 < size_bytes <= kernels.MAX_RECYCLED_BYTES:
        return np.frombuffer(kernels.Memory(size_bytes), dtype)
    memory = np.zeros(size_bytes + kernels.PAGE_BYTES, np.uint8)
    start = -memory.ctypes.data % kernels.PAGE_BYTES
    return memory[start : start + size_bytes].view(dtype)
