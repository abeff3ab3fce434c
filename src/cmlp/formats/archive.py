"""Native files as a header and named arrays: what ``.npz`` and ``.safetensors`` share.

A file has the arrays of `ModelState.to_arrays`. It may have a section for the state of an
optimizer (``optimizer``) or for a checkpoint of a training run (``course``). A section is an object
in the header; its key ``arrays`` maps the names of the arrays of the section to [dtype, shape].
"""

import os

import numpy as np

from cmlp._model.architecture import Architecture
from cmlp._model.optimizer_state import OptimizerState
from cmlp._model.state import ModelState, TrainingSnapshot
from cmlp._model.tasks import check_task
from cmlp._utils.validation import check_integer
from cmlp.formats.header import decode_header


def pack(state, optimizer=False):
    """Return a state as a header and named arrays.

    Parameters
    ----------
    state : ModelState
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
        arrays.update(stored)
    return header, arrays


def make_section(fields, arrays):
    """Return `fields` with a list of arrays, {name: [dtype, shape]}, under ``arrays``."""
    listed = {name: [array.dtype.name, list(array.shape)] for name, array in arrays.items()}
    return {**fields, "arrays": listed}


def unpack(reader, loss=None):
    """Return the state that a file stores.

    No array is allocated before the file is known to contain it with the size that the header
    implies.

    Parameters
    ----------
    reader : ArchiveReader
    loss : callable, optional
        The loss of a network whose loss was a callable, which files cannot store.

    Returns
    -------
    ModelState

    Raises
    ------
    ValueError
        If the contents of the file are invalid.
    """
    header = reader.header
    try:
        architecture = Architecture.from_header(header, loss)
        epoch = check_integer("epoch", header["epoch"], 0)
        task = header.get("task")  # absent if it is the default
        if task is not None and loss is None:
            check_task(architecture.tasks, task)
        training = header.get("training")
        if not isinstance(training, (dict, type(None))):
            raise TypeError(f"training must be an object or null; got {training!r}")
    except KeyError as error:
        raise reader.make_error(f"its header has no {error}") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise reader.make_error(error) from None
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
        state.checkpoint = TrainingSnapshot(*checkpoint)
    if optimizer is not None:
        try:
            state.optimizer = OptimizerState.from_fields(*optimizer, state.parameters)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise reader.make_error(f"its optimizer state is invalid: {error}") from None
    return state


def read_section(reader, key):
    """Return the fields and the arrays of a section of the header, or None if it has none.

    Raises
    ------
    ValueError
        If the section does not list arrays of float32 or float64 that the file contains.
    """
    section = reader.header.get(key)
    if section is None:
        return None
    try:
        fields = dict(section)
        listed = [
            (name, str(dtype), tuple(map(int, shape)))
            for name, (dtype, shape) in fields.pop("arrays").items()
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise reader.make_error(f"its list of {key} arrays is invalid: {error}") from None
    for name, dtype, _ in listed:
        if dtype not in ("float32", "float64"):
            raise reader.make_error(f"{name!r} must be float32 or float64; got {dtype}")
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
        The members of the file that have not been read; at the end there must be none.
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
