"""Native files as a header and named arrays, for both ``.npz`` and ``.safetensors``.

A file has the arrays of `ModelState.to_arrays`. It may have a section for the state of an
optimizer (``optimizer``) or for a checkpoint of a training run (``course``). A section is an object
in the header; its key ``arrays`` maps the names of the arrays of the section to [dtype, shape].
The section of a checkpoint also has a checksum of the whole header: other values of most fields
are valid too, but would let the training end with other results.
"""

import json
import os
import zlib

import numpy as np

from cmlp._model.architecture import Architecture
from cmlp._model.optimizer_state import OptimizerState
from cmlp._model.quantized import QuantizedState
from cmlp._model.state import ARRAY_DTYPES, SPLIT_EPOCH, ModelState, TrainingSnapshot
from cmlp._model.tasks import check_task
from cmlp._utils.schema import Anything, Fields, Integer, Nullable
from cmlp.formats.header import decode_header, to_plain
from cmlp.formats.quantized_archive import pack_quantized, unpack_quantized

EPOCH = Integer(0, SPLIT_EPOCH)
TRAINING = Nullable(Fields({}, {}, Anything()))


def pack(state, optimizer=False):
    """Return a state as a header and named arrays.

    Parameters
    ----------
    state : ModelState or QuantizedState
    optimizer : bool, default False
        Store the state of the optimizer of `partial_fit`. The file then has no checkpoint, whose
        arrays have the same names.

    Returns
    -------
    header : dict
        Without format and version, which `header.encode_header` adds.
    arrays : dict of ndarray
        By name. Network arrays are views of `state`.

    Raises
    ------
    ValueError
        If `optimizer` is True and the state has no optimizer.
    """
    if isinstance(state, QuantizedState):
        return pack_quantized(state)
    architecture = state.architecture
    header = {**architecture.header, "epoch": state.epoch, "training": state.training}
    if state.task != architecture.tasks[0]:
        header["task"] = state.task
    arrays = dict(state.to_arrays())
    if optimizer:
        if state.optimizer is None:
            raise ValueError(
                "optimizer=True requires an optimizer state, but partial_fit has not been called"
            )
        stored = state.optimizer.to_arrays()
        header["optimizer"] = make_section(state.optimizer.to_fields(), stored)
        arrays.update(stored)
    elif state.checkpoint is not None:
        stored = state.checkpoint.arrays
        header["course"] = make_section(state.checkpoint.fields, stored)
        header["course"]["checksum"] = compute_checksum(header)
        arrays.update(stored)
    return header, arrays


def is_plain_network(network):
    """Return whether `pack` and `unpack` preserve a network but for its history; False for None."""
    state = getattr(network, "state", None)
    if not isinstance(state, ModelState) or state.architecture.loss.call:
        return False
    return state.optimizer is None and state.checkpoint is None


def make_section(fields, arrays):
    """Return `fields` with the key ``arrays``: {name: [dtype, shape]}."""
    listed = {name: [array.dtype.name, list(array.shape)] for name, array in arrays.items()}
    return {**fields, "arrays": listed}


def compute_checksum(header):
    """Return the CRC-32 of a header as JSON text, without format, version and checksum."""
    fields = {name: value for name, value in header.items() if name not in ("format", "version")}
    fields["course"] = {n: value for n, value in fields["course"].items() if n != "checksum"}
    return zlib.crc32(json.dumps(fields, default=to_plain).encode())


def unpack(reader, loss=None):
    """Return the state that a file stores.

    An array is allocated only after the file has been checked to contain it with the size that the
    header implies.

    Parameters
    ----------
    reader : ArchiveReader
    loss : callable, optional
        The network's loss if it was a callable, which files do not store.

    Returns
    -------
    ModelState, or QuantizedState if the file has a quantized network

    Raises
    ------
    ValueError
        If the contents of the file are invalid.
    """
    header = reader.header
    if "tabular" in header:
        raise reader.make_error("it is an estimator, for cmlp.tabular's load")
    try:
        architecture = Architecture.from_header(header, loss)
        epoch = EPOCH.check("epoch", header["epoch"])
        task = header.get("task")  # absent if it is the default
        if task is not None and loss is None:
            check_task(architecture.tasks, task)
        training = TRAINING.check("training", header.get("training"))
    except KeyError as error:
        raise reader.make_error(f"its header has no {error}") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise reader.make_error(error) from None
    if "quantization" in header:
        return unpack_quantized(reader, architecture, task, training)
    arrays = {
        name: reader.read(name, shape, architecture.dtype)
        for name, shape in architecture.shapes.items()
    }
    checkpoint = read_section(reader, "course")
    optimizer = read_section(reader, "optimizer")
    reader.check_all_read()
    if task not in architecture.tasks:  # another loss
        task = None
    state = ModelState.from_arrays(architecture, arrays, epoch=epoch, task=task, training=training)
    if checkpoint is not None:
        fields, arrays = checkpoint
        # Files of the first versions have no checksum.
        is_intact = fields.pop("checksum", None) in (None, compute_checksum(header))
        state.checkpoint = TrainingSnapshot(fields, arrays, reader.path, is_intact)
    if optimizer is not None:
        try:
            state.optimizer = OptimizerState.from_fields(*optimizer, state.parameters)
        except (TypeError, ValueError) as error:
            raise reader.make_error(f"its optimizer state is invalid: {error}") from None
    return state


def read_section(reader, key):
    """Return the fields and the arrays of a section of the header, or None if it has none.

    Raises
    ------
    ValueError
        If the section does not list arrays of `ARRAY_DTYPES` that the file contains.
    """
    section = reader.header.get(key)
    if section is None:
        return None
    try:
        fields = {**section}
        listed = [
            (name, str(dtype), tuple(map(int, shape)))
            for name, (dtype, shape) in fields.pop("arrays").items()
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise reader.make_error(f"its list of {key} arrays is invalid: {error}") from None
    for name, dtype, _ in listed:
        if dtype not in ARRAY_DTYPES:
            raise reader.make_error(f"{name!r} must be of {', '.join(ARRAY_DTYPES)}; got {dtype}")
    return fields, {
        name: reader.read(name, shape, np.dtype(dtype)) for name, dtype, shape in listed
    }


class ArchiveReader:
    """Base of the readers: a file with a header and named arrays, used in a ``with`` statement.

    Attributes
    ----------
    path : str
    header : dict
    unread : set of str
        The members of the file that have not been read; must be empty at the end.
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        self.header, self.unread = {}, set()

    def read(self, name, shape, dtype):
        """Return the array `name`; raise ValueError unless it has this shape and dtype."""
        raise NotImplementedError

    def make_error(self, reason):
        """Return the ValueError that names the file and the reason why it is invalid."""
        return ValueError(f"{self.path} is not a network file: {reason}")

    def decode_header(self, text):
        """Set `header` from its JSON text; raise ValueError if it is not supported."""
        try:
            self.header = decode_header(text)
        except ValueError as error:
            raise self.make_error(error) from None

    def mark_read(self, member, name):
        """Remove a member from `unread`; raise ValueError if it is not there."""
        if member not in self.unread:
            raise self.make_error(f"it has no array {name!r}")
        self.unread.discard(member)

    def check_all_read(self):
        """Raise ValueError if the file has members that have not been read."""
        if self.unread:
            raise self.make_error(f"it has unknown members: {sorted(self.unread)}")


def pack_memory(header, arrays):
    """Return what `pack` has returned as a dict of a text and arrays, which shares no memory."""
    copies = {name: np.array(array) for name, array in arrays.items()}
    return {"header": json.dumps(header, default=to_plain), "arrays": copies}


class MemoryReader(ArchiveReader):
    """The header and the arrays in what `pack_memory` has returned.

    Parameters
    ----------
    packed : dict
    """

    def __init__(self, packed):
        super().__init__("the pickle")
        self.header, self.arrays = json.loads(packed["header"]), packed["arrays"]
        self.unread = set(self.arrays)

    def read(self, name, shape, dtype):
        """Return the array `name`; raise ValueError unless it has this shape and dtype."""
        self.mark_read(name, name)
        array = self.arrays[name]
        if array.shape != tuple(shape) or array.dtype != dtype:
            raise self.make_error(f"{name!r} must be of {dtype}, shape {shape}")
        return array
