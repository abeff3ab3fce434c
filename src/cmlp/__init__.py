"""Multilayer perceptrons on the CPU at the speed of the silicon.

`Network` is the way in; `MLP` and `Model` are the reference classes, drop-in.
"""

from typing import TYPE_CHECKING

from cmlp import activations, callbacks, losses, metrics, normalizations
from cmlp._version import __version__
from cmlp.config import show_config
from cmlp.errors import TrainingDiverged
from cmlp.lbfgs import LBFGS
from cmlp.many import fit_many
from cmlp.network import Network
from cmlp.normalizations import BatchNorm, LayerNorm
from cmlp.optimizers import SGD, Adadelta, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop
from cmlp.reference import MLP, Model
from cmlp.training import History

if TYPE_CHECKING:
    from cmlp import datasets, schedules

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
    "TrainingDiverged",
    "__version__",
    "activations",
    "callbacks",
    "datasets",
    "fit_many",
    "losses",
    "metrics",
    "normalizations",
    "schedules",
    "show_config",
]


def __getattr__(name):
    # They take a good part of the time of the import: they come when they are asked for.
    if name in ("datasets", "schedules"):
        from importlib import import_module

        return import_module(f"cmlp.{name}")
    raise AttributeError(f"module 'cmlp' has no attribute {name!r}")
