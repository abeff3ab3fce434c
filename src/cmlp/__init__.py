"""Multilayer perceptrons on CPUs, trained and evaluated by compiled code.

`Network` is the main class; `MLP` and `Model` are drop-in replacements of the reference classes.
"""

from typing import TYPE_CHECKING

from cmlp import activations, callbacks, losses, metrics, normalizations
from cmlp._training.history import History
from cmlp._version import __version__
from cmlp.config import show_config
from cmlp.ensemble import fit_many
from cmlp.errors import RankError, TrainingDiverged
from cmlp.lbfgs import LBFGS
from cmlp.network import Network
from cmlp.normalizations import BatchNorm, LayerNorm
from cmlp.optimizers import SGD, Adadelta, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop
from cmlp.reference import MLP, Model

if TYPE_CHECKING:
    from cmlp import datasets, plot, schedules
    from cmlp.learning_rates import find_learning_rate
    from cmlp.quantized import QuantizedNetwork

__all__ = [
    "LBFGS",
    "MLP",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "BatchNorm",
    "LayerNorm",
    "Lion",
    "NAdam",
    "RMSprop",
    "History",
    "Model",
    "Network",
    "QuantizedNetwork",
    "RankError",
    "TrainingDiverged",
    "__version__",
    "activations",
    "callbacks",
    "datasets",
    "find_learning_rate",
    "fit_many",
    "losses",
    "metrics",
    "normalizations",
    "plot",
    "schedules",
    "show_config",
]


def __dir__():
    return __all__


def __getattr__(name):
    # Imported on first use because they take a considerable part of the time of `import cmlp`.
    if name in ("datasets", "plot", "schedules"):
        from importlib import import_module

        return import_module(f"cmlp.{name}")
    if name == "QuantizedNetwork":
        from cmlp.quantized import QuantizedNetwork

        return QuantizedNetwork
    if name == "find_learning_rate":
        from cmlp.learning_rates import find_learning_rate

        return find_learning_rate
    raise AttributeError(f"module 'cmlp' has no attribute {name!r}")
