"""`OptimizerState`: an optimizer together with its arrays and its step counter."""

from contextlib import contextmanager
from dataclasses import fields, replace

from cmlp._core.training import OptimizerKernel
from cmlp._model.parameter_groups import check_trainable, make_groups
from cmlp._model.parameters import TensorBlock
from cmlp._utils.schema import Anything, Boolean, Fields, FiniteArray, Group, Integer, Real, Text
from cmlp._utils.validation import check_normal
from cmlp.optimizers import OPTIMIZERS

# What `OptimizerState.position` may be: number of steps, product of NAdam's momentum factors.
POSITION = Group((Integer(), Real(0, 1)))

# What `OptimizerState.to_fields` returns. The optimizer's class checks the arguments. The first
# files lack "ended".
FIELDS = Fields(
    {"kind": Text(tuple(OPTIMIZERS)), "arguments": Fields({}, {}, Anything()),
     "position": POSITION},
    {"ended": Boolean()},
)  # fmt: skip


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
        as in validation and between two calls of `partial_fit`.
    kernel : cmlp._core.training.OptimizerKernel

    Raises
    ------
    ValueError
        If an argument of the optimizer vanishes in the dtype of the parameters, or names a tensor
        or a layer that the network does not have.
    """

    def __init__(self, optimizer, parameters):
        check_dtype(optimizer, parameters.dtype)
        self.optimizer, self.is_averaged = optimizer, False
        self.blocks = {}
        if optimizer.kernel != "sgd":
            for name in ("gradient", *self._list_moment_names()):
                self.blocks[name] = parameters.make_zeros().block
            for name in self._list_moment_names()[:1]:
                self.blocks[name][:] = optimizer.initial_state
        if optimizer.average is not None:
            self.blocks["average"] = parameters.make_zeros().block
            self.blocks["average"][:] = parameters.block
        self._make_groups(parameters)
        self._make_kernel()

    def _list_moment_names(self):
        optimizer = self.optimizer
        return [f"{optimizer.moment_storage}_{i}" for i in range(optimizer.states)]

    def _make_groups(self, parameters):
        self._layout = parameters.tensors, parameters.dtype, parameters.frozen
        optimizer = self.optimizer
        if optimizer.kernel == "sgd":
            optimizer = replace(optimizer, dampening=0.0)  # which acts on a momentum only
        groups, indices = make_groups(optimizer, parameters.tensors, parameters.frozen)
        self._groups = groups, {parameters.offsets[t]: index for t, index in indices.items()}

    def _make_kernel(self):
        optimizer, blocks = self.optimizer, self.blocks
        name, moments = optimizer.kernel, self._list_moment_names()
        if name == "sgd" and self._layout[2]:
            # Plain gradient descent adds to all weights at once. With frozen ones it is momentum
            # with a factor of 0, whose arrays hold nothing between two steps.
            name, moments, layout = "momentum", ["state_0"], TensorBlock(*self._layout)
            blocks = {"gradient": layout.block, "state_0": layout.make_zeros().block}
        self.kernel = OptimizerKernel(
            name, *self._groups, clip_value=optimizer.clip_value or 0,
            clip_norm=optimizer.clip_norm or 0,
            penalty=-1 if optimizer.penalty is None else optimizer.penalty,
            accumulate=optimizer.accumulate, gradient=blocks.get("gradient"),
            states=[blocks[moment] for moment in moments],
            mean=blocks.get("average"), mean_rate=1 - (optimizer.average or 0),
        )  # fmt: skip

    def update_frozen(self, parameters):
        """Prepare for training the layers that are not frozen now; the arrays remain.

        Raises
        ------
        ValueError
            If all layers are frozen.
        """
        check_trainable(parameters.tensors, parameters.frozen)
        earlier = self._layout[2]
        if parameters.frozen != earlier:
            position = self.position
            self._freeze_averages(parameters, parameters.frozen - earlier)
            self._make_groups(parameters)
            self._make_kernel()
            self.position = position

    def _freeze_averages(self, parameters, layers):
        # The values that layers have now are those that training and predictions use from now on.
        if "average" in self.blocks:
            for tensor, view in parameters.view_block(self.blocks["average"]).items():
                if tensor.layer in layers:
                    view[:] = parameters.views[tensor]

    def replace_gradient(self, block):
        """Use another block of zeros, laid out like the parameters, for the gradient."""
        self.blocks["gradient"], position = block, self.position
        self._make_kernel()
        self.position = position

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

    def end(self, parameters):
        """Give the network the averaged parameters after training, if there are averages."""
        self._swap_averages(parameters)

    @contextmanager
    def use_averages(self, parameters):
        """Give the network the averaged parameters, if there are any, within a ``with`` block."""
        self._swap_averages(parameters)
        try:
            yield
        finally:
            self._swap_averages(parameters)

    def _swap_averages(self, parameters):
        if "average" in self.blocks:
            average, block = self.blocks["average"], parameters.block
            trained, averaged = block.copy(), average.copy()
            # One statement without a call: Ctrl-C is raised before or after it, never within.
            average[:], block[:], self.is_averaged = trained, averaged, not self.is_averaged

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

    def check_arrays(self, arrays):
        """Return blocks by their names in `blocks`, given by their names in a file.

        Parameters
        ----------
        arrays : dict from str to ndarray
            As returned by `to_arrays`. Early files have the moment estimates as means
            (``"state_0"``) instead of sums (``"sum_0"``); they are converted.

        Raises
        ------
        ValueError
            If a block is missing or unknown, or has the wrong shape or dtype, NaN or infinity.
        """
        arrays, found = dict(arrays), {}
        for name, block in self.blocks.items():
            schema = FiniteArray(block.shape, block.dtype)
            key, factor = f"optimizer_{name}", 1
            if name.startswith("sum_") and key not in arrays:
                i = int(name.removeprefix("sum_"))
                key, factor = f"optimizer_state_{i}", 1 - self.optimizer.betas[min(i, 1)]
            if key not in arrays:
                raise ValueError(f"the array optimizer_{name} is missing")
            array = schema.check(key, arrays.pop(key))
            found[name] = array if factor == 1 else schema.check(key, array / factor)
        if arrays:
            raise ValueError(f"the optimizer has no array {', '.join(arrays)}")
        return found

    def load_arrays(self, arrays):
        """Copy blocks by their names in a file; arguments and errors are those of `check_arrays`.

        Nothing is changed if one of them does not fit. The padding stays as it is.
        """
        layout = TensorBlock(*self._layout)
        for name, array in self.check_arrays(arrays).items():
            stored = layout.view_block(array)
            for tensor, view in layout.view_block(self.blocks[name]).items():
                view[:] = stored[tensor]

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
        TypeError, ValueError
            If a value or an array is missing or does not fit.
        """
        found = FIELDS.check("", fields)
        state = cls(make_optimizer(found["kind"], found["arguments"]), parameters)
        state.load_arrays(arrays)
        state.position = found["position"]
        has_average = "average" in state.blocks
        state.is_averaged = found.get("ended", has_average)
        if state.is_averaged and not has_average:
            raise ValueError("ended must be false without an average; got true")
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


def make_optimizer(kind, arguments):
    """Return the optimizer that a file describes.

    Parameters
    ----------
    kind : str
        A key of `OPTIMIZERS`.
    arguments : dict
        Missing ones have their default values.

    Raises
    ------
    TypeError, ValueError
        If there is no such argument, or a value does not fit.
    """
    known = {field.name for field in fields(OPTIMIZERS[kind])}
    for name in arguments:
        if name not in known:
            raise ValueError(f"arguments.{name} is not an argument of {kind}")
    if isinstance(arguments.get("betas"), list):
        arguments = {**arguments, "betas": tuple(arguments["betas"])}
    try:
        return OPTIMIZERS[kind](**arguments)
    except OverflowError:
        raise ValueError("arguments must be numbers that a float can represent") from None
