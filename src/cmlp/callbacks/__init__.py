"""Callbacks: objects whose methods training calls, and which may stop it."""

from typing import TYPE_CHECKING

import numpy as np

from cmlp._utils.validation import check_count, to_list
from cmlp.callbacks.base import Callback, Function
from cmlp.callbacks.checkpoint import Checkpoint
from cmlp.callbacks.early_stopping import EarlyStopping

if TYPE_CHECKING:
    from cmlp.callbacks.csv_logger import CSVLogger
    from cmlp.callbacks.mlflow import MLflowLogger
    from cmlp.callbacks.tensorboard import TensorBoard

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "MLflowLogger",
    "TensorBoard",
]

# Class -> its module, imported on first use because few programs need it.
LAZY = {"CSVLogger": "csv_logger", "MLflowLogger": "mlflow", "TensorBoard": "tensorboard"}


def __dir__():
    return __all__


def __getattr__(name):
    if name in LAZY:
        from importlib import import_module

        return getattr(import_module(f"cmlp.callbacks.{LAZY[name]}"), name)
    raise AttributeError(f"module 'cmlp.callbacks' has no attribute {name!r}")


def resolve_callbacks(callbacks, early_stopping):
    """Return the callbacks that the arguments of `fit` describe, a list of `Callback`.

    Parameters
    ----------
    callbacks : Callback, callable, or sequence of them
    early_stopping : EarlyStopping, bool, int or None
        True for ``EarlyStopping()``; an integer is its patience.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    """
    if isinstance(callbacks, Callback) or callable(callbacks):
        callbacks = [callbacks]
    callbacks = to_list("callbacks", callbacks, "instances of Callback or callables")
    resolved = [as_callback(callback) for callback in callbacks]
    if early_stopping is None or early_stopping is False:
        return resolved
    if early_stopping is True:
        early_stopping = EarlyStopping()
    elif not isinstance(early_stopping, EarlyStopping):
        if not isinstance(early_stopping, (int, np.integer)):
            raise TypeError(
                "early_stopping must be a whole number, True, False or an EarlyStopping; got "
                f"{early_stopping!r}"
            )
        early_stopping = EarlyStopping(patience=check_count("early_stopping", early_stopping))
    return [*resolved, early_stopping]


def as_callback(callback):
    """Return a `Callback`, given one or a callable."""
    if isinstance(callback, Callback):
        return callback
    if callable(callback) and not isinstance(callback, type):
        return Function(callback)
    raise TypeError(
        f"callbacks must be instances of cmlp.callbacks.Callback or callables of "
        f"(network, epoch, record); got {callback!r}"
    )
