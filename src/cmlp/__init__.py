"""Multilayer perceptrons on the CPU at the speed of the silicon.

`Network` is the way in; `MLP` and `Model` are the reference classes, drop-in.
"""

from cmlp import callbacks, datasets, losses, schedules
from cmlp._version import __version__
from cmlp.config import show_config
from cmlp.errors import TrainingDiverged
from cmlp.network import Network
from cmlp.optimizers import SGD, Adadelta, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop
from cmlp.reference import MLP, Model
from cmlp.training import History

__all__ = [
    "MLP",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Lion",
    "NAdam",
    "RMSprop",
    "History",
    "Model",
    "Network",
    "TrainingDiverged",
    "__version__",
    "callbacks",
    "datasets",
    "losses",
    "schedules",
    "show_config",
]
