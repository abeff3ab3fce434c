"""`ModelState`: all data of a network, the interface between `Network` and everything else."""

import copy
from dataclasses import dataclass, field, replace

import numpy as np

from cmlp._core import hooks
from cmlp._core.program import Program
from cmlp._model.optimizer_state import OptimizerState
from cmlp._model.parameters import TensorBlock
from cmlp._model.tasks import check_task
from cmlp._utils.validation import convert_dtype
from cmlp.errors import NonFiniteParameters

# Epochs are numbered by 32-bit integers; the last number seeds the validation split.
SPLIT_EPOCH = 2**32 - 1

# Names of the dtypes of the arrays that a checkpoint may store.
ARRAY_DTYPES = (
    "float32", "float64", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64",
)  # fmt: skip


@dataclass(eq=False, repr=False)
class TrainingSnapshot:
    """Data of an interrupted training run that a checkpoint stores beside the network.

    Attributes
    ----------
    fields : dict
        Values that JSON can hold.
    arrays : dict from str to ndarray
        Of `ARRAY_DTYPES`.
    path : str
        The file that it was read from, for messages.
    is_intact : bool
        Whether the file's header has the checksum that it was written with.
    """

    fields: dict
    arrays: dict = field(default_factory=dict)
    path: str = ""
    is_intact: bool = True


class ModelState:
    """Architecture, parameters, running statistics, counters and optimizer state of a network.

    Formats, checkpoints, callbacks, ensembles and estimators read and write this object; only
    `Network` itself accesses a network's private attributes.

    Parameters
    ----------
    architecture : Architecture

    Attributes
    ----------
    architecture : Architecture
    parameters : TensorBlock
        Zero at first; see `initialize` and `from_arrays`.
    statistics : TensorBlock
        Running means and variances of batch normalizations.
    epoch : int
        Number of epochs trained; with the seed, the position of the random number generator.
    task : {"binary", "multiclass", "multilabel", "regression"}
        Task of the network: at first the default of the architecture, then the one that the
        targets of the last `fit` chose; see `cmlp._model.tasks`.
    training : dict or None
        Record of the last training run: optimizer, epochs, samples, last quantities.
    history : cmlp.History or None
        The epochs of the last call of `fit` or `partial_fit`, also if it is still running or an
        exception has ended it; files do not store them.
    optimizer : OptimizerState or None
        State of the optimizer of `partial_fit`.
    checkpoint : TrainingSnapshot or None
        Training run that the next call of `fit` resumes.
    program : cmlp._core.program.Program
        The compiled form of the network, which uses parameters and statistics in place.
    """

    def __init__(self, architecture):
        self.architecture = architecture
        self.parameters = TensorBlock(architecture.tensors, architecture.dtype, architecture.frozen)
        self.statistics = TensorBlock(architecture.statistics, architecture.dtype)
        self.epoch = 0
        self.task = architecture.tasks[0]
        self.training: dict | None = None
        self.history = None
        self.optimizer: OptimizerState | None = None
        self.checkpoint: TrainingSnapshot | None = None
        self.program = self._compile()

    @classmethod
    def initialize(cls, architecture):
        """Return a state with initial parameters, drawn from the architecture's seed."""
        state = cls(architecture)
        rng = np.random.Generator(np.random.Philox(key=architecture.seed))
        views, columns = {**state.parameters.views, **state.statistics.views}, architecture.inputs
        for position, layer in enumerate(architecture.layers):
            values = layer.draw(rng, architecture.init, columns)
            for tensor, view in views.items():
                if tensor.layer == position:
                    view[:] = convert_dtype("init", values[tensor.name], architecture.dtype)
            columns = layer.count_outputs(columns)
        return state

    @classmethod
    def from_arrays(cls, architecture, arrays, *, epoch=0, task=None, training=None):
        """Return a state with the given parameters and statistics.

        Parameters
        ----------
        architecture : Architecture
        arrays : dict from str to ndarray
            One array for each name in `architecture.shapes`, such as ``"weight_0"``, with the
            shape given there; converted to the architecture's dtype.
        epoch : int, default 0
        task : str, optional
            By default the first task that the architecture can have.
        training : dict, optional

        Raises
        ------
        ValueError
            If an array is missing, has another shape, or holds a number beyond the range of the
            dtype; or if the network cannot have the task.
        """
        state = cls(architecture)
        state.epoch, state.training = epoch, training
        if task is not None:
            check_task(architecture.tasks, task)
            state.task = task
        for name, view in state.to_arrays().items():
            if name not in arrays:
                raise ValueError(f"arrays must have {name!r}; got {', '.join(arrays)}")
            array = np.asarray(arrays[name])
            if array.shape != view.shape:
                raise ValueError(f"{name} must have shape {view.shape}; got {array.shape}")
            if array.dtype.kind == "f":
                array = convert_dtype(name, array, view.dtype)
            np.copyto(view, array, casting="same_kind")
        return state

    @property
    def is_classifier(self):
        """Whether predictions are classes or labels."""
        return self.task != "regression"

    @property
    def score_name(self):
        """Metric that `score` returns: ``"accuracy"`` or ``"r2"``."""
        return "accuracy" if self.is_classifier else "r2"

    def to_arrays(self):
        """Return views of all parameters and statistics by their names in a file, a dict."""
        views = {**self.parameters.views, **self.statistics.views}
        by_key = {tensor.key: view for tensor, view in views.items()}
        return {key: by_key[key] for key in self.architecture.shapes}

    def freeze(self, positions, frozen=True):
        """Freeze layers of the architecture, or train them again.

        Parameters
        ----------
        positions : iterable of int
            Indices of layers with parameters in `Architecture.layers`.
        frozen : bool, default True
        """
        layers = list(self.architecture.layers)
        for position in positions:
            layers[position] = replace(layers[position], frozen=frozen)
        self.architecture = replace(self.architecture, layers=tuple(layers))
        self.parameters.frozen = self.architecture.frozen
        self.program = self._compile()

    def _compile(self):
        hooks.use()
        layers = [
            (layer, {**self.parameters.get_offsets(position),
                     **self.statistics.get_offsets(position)})
            for position, layer in enumerate(self.architecture.layers)
        ]  # fmt: skip
        return Program(
            self.architecture.inputs, layers, self.architecture.loss, self.parameters.block,
            self.statistics.block, self.architecture.rounds, self.architecture.segments,
        )  # fmt: skip

    def check_finite(self):
        """Raise `NonFiniteParameters` for the first array with NaN or infinity, if there is one."""
        if self.program.is_finite():
            return
        for tensor, view in {**self.parameters.views, **self.statistics.views}.items():
            if not np.isfinite(view).all():
                name = f"{tensor.name}[{tensor.number}]"
                raise NonFiniteParameters(name, str(self.architecture.dtype))

    def snapshot(self):
        """Return copies of parameters and statistics, for `restore`; a tuple of ndarray."""
        return self.parameters.block.copy(), self.statistics.block.copy()

    def restore(self, snapshot):
        """Copy parameters and statistics back from a `snapshot`."""
        self.parameters.block[:], self.statistics.block[:] = snapshot

    def check_snapshot(self, name, snapshot):
        """Raise `ValueError` unless arrays, such as a file's, are a `snapshot` of this network."""
        self.parameters.check_block(f"{name}_0", snapshot[0])
        self.statistics.check_block(f"{name}_1", snapshot[1])

    def adopt(self, other):
        """Copy everything from another state of the same architecture, into the same arrays."""
        self.restore(other.snapshot())
        self.epoch, self.task, self.training = other.epoch, other.task, other.training
        self.history = other.history
        self.optimizer, self.checkpoint = other.optimizer, other.checkpoint

    def share(self, *, epoch, optimizer, checkpoint):
        """Return a state that shares the arrays and has another epoch, optimizer and checkpoint.

        Training runs write their checkpoints as such states.
        """
        state = copy.copy(self)
        state.epoch, state.optimizer, state.checkpoint = epoch, optimizer, checkpoint
        return state

    def copy(self):
        """Return an independent copy."""
        return copy.deepcopy(self)

    def __copy__(self):
        state = type(self).__new__(type(self))
        state.__dict__.update(self.__dict__)
        return state

    def __getstate__(self):
        arrays = {name: np.array(view) for name, view in self.to_arrays().items()}
        return {"architecture": self.architecture, "arrays": arrays, "epoch": self.epoch,
                "task": self.task, "training": self.training, "history": self.history,
                "optimizer": self.optimizer, "checkpoint": self.checkpoint}  # fmt: skip

    def __setstate__(self, state):
        self.__init__(state["architecture"])
        for name, view in self.to_arrays().items():
            view[:] = state["arrays"][name]
        self.epoch, self.training = state["epoch"], state["training"]
        self.optimizer, self.checkpoint = state["optimizer"], state["checkpoint"]
        # Pickles of earlier revisions have neither.
        self.task, self.history = state.get("task", self.task), state.get("history")
