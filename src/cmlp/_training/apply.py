"""One step of an optimizer by a given gradient."""

import numpy as np

from cmlp._core.inputs import Rows
from cmlp._core.program import descend
from cmlp._core.training import apply_optimizer
from cmlp._model.gradient import Gradient
from cmlp._model.optimizer_choice import resolve_optimizer
from cmlp._model.optimizer_state import OptimizerState
from cmlp._model.parameter_groups import check_trainable
from cmlp.lbfgs import LBFGS


def apply_gradient(state, gradient, optimizer):
    """Take one step of an optimizer; see `Network.apply`.

    Parameters
    ----------
    state : ModelState
    gradient : Gradient
    optimizer : Optimizer, str or None

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the state is unchanged.
    """
    if not isinstance(gradient, Gradient):
        raise TypeError(f"gradient must be a Gradient; got {type(gradient).__name__}")
    parameters = state.parameters
    if (gradient.tensors.tensors, gradient.tensors.dtype) != (parameters.tensors, parameters.dtype):
        raise ValueError("gradient must be that of a network with the same layers and dtype")
    if state.checkpoint is not None:
        raise ValueError("a resumed network must continue with fit, not with apply")
    if optimizer is None and state.optimizer is not None:
        optimizer = state.optimizer.optimizer
    optimizer = resolve_optimizer(optimizer)
    if isinstance(optimizer, LBFGS) or optimizer.accumulate > 1 or optimizer.penalty is not None:
        raise ValueError(
            f"optimizer must have no penalty and accumulate nothing for apply; got {optimizer!r}"
        )
    check_trainable(parameters.tensors, parameters.frozen)
    earlier = None if state.optimizer is None else state.optimizer.optimizer
    if earlier is not optimizer and earlier != optimizer:
        state.optimizer = OptimizerState(optimizer, parameters)
    take_step(state, gradient, state.optimizer)


def take_step(state, gradient, optimizer_state):
    """Change the parameters, and the state of the optimizer."""
    optimizer, parameters = optimizer_state.optimizer, state.parameters
    optimizer_state.update_frozen(parameters)
    is_plain = optimizer.kernel == "sgd"
    if (is_plain and not parameters.frozen
            and descend(state.program, gradient.tensors.block, optimizer.lr)):  # fmt: skip
        return
    if is_plain:
        # Imported here because few calls need it.
        from cmlp._training.sharding import separate_gradient

        optimizer_state = OptimizerState(separate_gradient(optimizer), parameters)
    optimizer_state.begin(parameters)
    optimizer_state.blocks["gradient"][:] = gradient.tensors.block
    row = np.zeros((1, state.architecture.inputs), state.architecture.dtype)
    apply_optimizer(state.program, Rows(row), optimizer_state.kernel, optimizer.lr)
    optimizer_state.end(parameters)
