"""The state of a fitted estimator as dicts, lists, numbers and arrays, for pickles.

Tools that load files without executing code (skops) ask the user to trust every other type.
"""

import numpy as np

from cmlp._model.optimizer_state import OptimizerState
from cmlp._training.history import History
from cmlp.formats.archive import MemoryReader, is_plain_network, pack, pack_memory, unpack
from cmlp.network import Network
from cmlp.optimizers import OPTIMIZERS
from cmlp.sklearn.optimizers import ScikitAdam
from cmlp.sklearn.schedules import Adaptive, InverseScaling, LearningRate

KINDS = {kind.__name__: kind for kind in (*OPTIMIZERS.values(), ScikitAdam)}
RATES = {kind.__name__: kind for kind in (LearningRate, InverseScaling, Adaptive)}


def pack_fitted(state):
    """Return the attributes of an estimator in a form without classes of cmlp.

    Parameters
    ----------
    state : dict
        Of a fitted estimator, with a current network, or of one that is not fitted. Is not changed.

    Returns
    -------
    dict
        Objects that have no such form, such as a network with a loss in Python, are left as they
        are. `coefs_` and `intercepts_` are left out: they follow from the network.
    """
    state = dict(state)
    if isinstance(state.get("history_"), History):
        state["history_"] = state["history_"].epochs
    if "_input_dtype" in state:
        state["_input_dtype"] = state["_input_dtype"].name
    network = state.get("_network")
    if not is_plain_network(network):
        return state
    for name in ("coefs_", "intercepts_", "_exposed"):
        state.pop(name, None)
    state["_network"] = pack_memory(*pack(network.state))
    if network.state.history is not None:  # mostly `history_`
        state["_network_history"] = network.state.history.epochs
    rate = state.get("_optimizer")
    if type(getattr(rate, "optimizer_state", None)) is OptimizerState:
        optimizer = rate.optimizer_state.optimizer
        if KINDS.get(type(optimizer).__name__) is type(optimizer):
            state["_optimizer"] = pack_rate(rate)
    return state


def pack_rate(rate):
    """Return a `LearningRate` as a dict."""
    state, values = rate.optimizer_state, dict(vars(rate))
    del values["optimizer_state"]
    return {
        "kind": type(rate).__name__, "values": values,
        "optimizer": type(state.optimizer).__name__, "arguments": dict(vars(state.optimizer)),
        "blocks": {name: block.copy() for name, block in state.blocks.items()},
        "position": list(state.position), "is_averaged": state.is_averaged,
    }  # fmt: skip


def unpack_fitted(state):
    """Return the attributes that `pack_fitted`, or an earlier version, has packed.

    Parameters
    ----------
    state : dict
        Is not changed.

    Raises
    ------
    ValueError
        If an array does not fit the network's header.
    """
    state = dict(state)
    epochs, own = state.pop("_network_history", None), state.get("history_")
    history = None if epochs is None else History.from_epochs(epochs)
    if isinstance(own, list):
        state["history_"] = history if own is epochs else History.from_epochs(own)
    if "_input_dtype" in state:
        state["_input_dtype"] = np.dtype(state["_input_dtype"])
    if isinstance(state.get("_network"), dict):
        network = Network.from_state(unpack(MemoryReader(state["_network"])))
        state["_network"], network.state.history = network, history
        if isinstance(state.get("_optimizer"), dict):
            state["_optimizer"] = unpack_rate(state["_optimizer"], network.state.parameters)
    return state


def unpack_rate(fields, parameters):
    """Return the `LearningRate` that `pack_rate` has packed, for a network's parameters."""
    state = OptimizerState(KINDS[fields["optimizer"]](**fields["arguments"]), parameters)
    for name, block in fields["blocks"].items():
        state.blocks[name][:] = block
    state.position, state.is_averaged = fields["position"], fields["is_averaged"]
    rate = object.__new__(RATES[fields["kind"]])
    vars(rate).update(fields["values"], optimizer_state=state)
    return rate
