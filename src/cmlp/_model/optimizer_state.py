"""`OptimizerState`: an optimizer together with its arrays and its step counter."""

from contextlib import contextmanager

from cmlp._core.training import OptimizerKernel
from cmlp._model.parameters import TensorBlock
from cmlp._utils.validation import check_normal
from cmlp.optimizers import OPTIMIZERS


class OptimizerState:
    """An optimizer's arrays, laid out like the parameters, and the kernel that updates them.

    Parameters
    ----------
    optimizer : cmlp.optimizers.Optimizer
    parameters : TensorBlock
        The network's parameters.

    Attributes
    ----------
    blocks : dict from str to ndarray, shape (parameters.block.size,)
        ``"gradient"``; the moment estimates, ``"state_0"`` or ``"sum_0"`` and so on; and
        ``"average"``, the moving average of the parameters. Plain gradient descent has none.
    is_averaged : bool
        Whether the network has the averaged parameters and ``blocks["average"]`` the trained ones,
        as between two calls of `partial_fit`.
    kernel : cmlp._core.training.OptimizerKernel

    Raises
    ------
    ValueError
        If an argument of the optimizer vanishes in the dtype of the parameters.
    """

    def __init__(self, optimizer, parameters):
        check_dtype(optimizer, parameters.dtype)
        self.optimizer, self.is_averaged = optimizer, False
        self.blocks = {}
        if optimizer.kernel != "sgd":
            for name in ("gradient", *self._moment_names()):
                self.blocks[name] = parameters.new().block
            self.blocks[self._moment_names()[0]][:] = optimizer.initial_state
        if optimizer.average is not None:
            self.blocks["average"] = parameters.new().block
            self.blocks["average"][:] = parameters.block
        self._layout = parameters.tensors, parameters.dtype
        self._make_kernel()

    def _moment_names(self):
        optimizer = self.optimizer
        return [f"{optimizer.moment_storage}_{i}" for i in range(optimizer.states)]

    def _make_kernel(self):
        optimizer, biases = self.optimizer, self.optimizer.for_biases
        self.kernel = OptimizerKernel(
            optimizer.kernel, optimizer.hyper, biases.hyper, (optimizer.l1, biases.l1),
            (optimizer.l2, biases.l2), clip_value=optimizer.clip_value or 0,
            clip_norm=optimizer.clip_norm or 0,
            penalty=-1 if optimizer.penalty is None else optimizer.penalty,
            accumulate=optimizer.accumulate, gradient=self.blocks.get("gradient"),
            states=[self.blocks[name] for name in self._moment_names()] if self.blocks else (),
            mean=self.blocks.get("average"), mean_rate=1 - (optimizer.average or 0),
        )  # fmt: skip

    @property
    def position(self):
        """Number of steps taken, and the product of NAdam's momentum factors; a tuple."""
        return self.kernel.position

    @position.setter
    def position(self, position):
        self.kernel.position = position

    def begin(self, parameters):
        """Give the network the trained parameters before training continues."""
        if self.is_averaged:
            self._swap_averages(parameters)
            self.is_averaged = False

    def end(self, parameters):
        """Give the network the averaged parameters after training, if there are averages."""
        self._swap_averages(parameters)
        self.is_averaged = "average" in self.blocks

    @contextmanager
    def averaged(self, parameters):
        """Give the network the averaged parameters, if there are averages, within a `with`."""
        self._swap_averages(parameters)
        try:
            yield
        finally:
            self._swap_averages(parameters)

    def _swap_averages(self, parameters):
        if "average" in self.blocks:
            average, block = self.blocks["average"], parameters.block
            average[:], block[:] = block.copy(), average.copy()

    def to_fields(self):
        """Return everything but the arrays as a dict that JSON can hold."""
        return {
            "kind": type(self.optimizer).__name__.lower(),
            "arguments": vars(self.optimizer),
            "position": list(self.position),
            "ended": self.is_averaged,
        }

    def to_arrays(self):
        """Return the blocks by their names in a file, a dict."""
        return {f"optimizer_{name}": block for name, block in self.blocks.items()}

    def load_arrays(self, arrays):
        """Copy blocks by their names in a file.

        Parameters
        ----------
        arrays : dict from str to ndarray
            As `to_arrays` returns them. Where the moment estimates are stored as sums, files of
            the first versions have the means instead, under other names; they are converted.

        Raises
        ------
        KeyError
            If a block is missing.
        ValueError
            If a block has the wrong size.
        """
        found = {name: self._find_block(arrays, name) for name in self.blocks}
        for name, block in self.blocks.items():
            if found[name].shape != block.shape:
                raise ValueError(
                    f"optimizer_{name} must have shape {block.shape}; got {found[name].shape}"
                )
        for name, block in self.blocks.items():
            block[:] = found[name]

    def _find_block(self, arrays, name):
        if name.startswith("sum_") and f"optimizer_{name}" not in arrays:
            i = int(name.removeprefix("sum_"))
            return arrays[f"optimizer_state_{i}"] / (1 - self.optimizer.betas[min(i, 1)])
        return arrays[f"optimizer_{name}"]

    @classmethod
    def from_fields(cls, fields, arrays, parameters):
        """Return the state that a file stores.

        Parameters
        ----------
        fields : dict
            As `to_fields` returns them.
        arrays : dict from str to ndarray
            As `to_arrays` returns them.
        parameters : TensorBlock

        Raises
        ------
        KeyError, TypeError, ValueError
            If a value or an array is missing or does not fit.
        """
        arguments = dict(fields["arguments"])
        if "betas" in arguments:
            arguments["betas"] = tuple(arguments["betas"])
        state = cls(OPTIMIZERS[fields["kind"]](**arguments), parameters)
        state.load_arrays(arrays)
        step, product = fields["position"]
        state.position = int(step), float(product)
        state.is_averaged = bool(fields.get("ended", "average" in state.blocks))
        return state

    def __getstate__(self):
        blocks = {name: block.copy() for name, block in self.blocks.items()}
        return {"optimizer": self.optimizer, "layout": self._layout, "blocks": blocks,
                "position": self.position, "is_averaged": self.is_averaged}  # fmt: skip

    def __setstate__(self, state):
        self.__init__(state["optimizer"], TensorBlock(*state["layout"]))
        for name, block in state["blocks"].items():
            self.blocks[name][:] = block
        self.position, self.is_averaged = state["position"], state["is_averaged"]


def check_dtype(optimizer, dtype):
    """Raise `ValueError` if `eps` or `clip_value` vanishes in the dtype of the parameters.

    With an `eps` of 0, a parameter whose gradient is 0 would become NaN; a `clip_value` of 0 would
    mean no limit.
    """
    for name in ("eps", "clip_value"):
        value = getattr(optimizer, name, None)
        if value is not None:
            check_normal(name, value, dtype)
