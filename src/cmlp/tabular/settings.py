"""Hyper-parameters of RealMLP: the defaults of its variants and presets.

The values are those of Holzmüller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned
MLPs and boosted trees on tabular data", NeurIPS 2024, arXiv:2407.04491, table A.1, and of the
package pytabkit 1.7.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cmlp._utils.validation import (
    check_bool,
    check_fraction,
    check_integer,
    check_non_negative,
    check_positive,
    look_up,
    to_list,
)
from cmlp.optimizers import check_betas

CLASSIFICATION, REGRESSION = "classification", "regression"

SIMPLE: dict[str, Any] = {
    "hidden_layer_sizes": (256, 256, 256), "parametric_activation": False, "dropout": 0.0,
    "dropout_schedule": "flat_cos", "init": "normal", "input_scale": True,
    "numeric_embedding": None, "frequencies": 16, "embedding_outputs": 4, "frequency_scale": 0.1,
    "max_one_hot": None, "category_dim": 8, "smooth_clip": 3.0, "max_epochs": 256,
    "batch_size": 256, "schedule": "coslog4", "scale_lr_factor": 6.0, "bias_lr_factor": 0.1,
    "numeric_lr_factor": 0.1, "category_lr_factor": 1.0, "alpha_lr_factor": 0.1,
    "betas": (0.9, 0.95), "epsilon": 1e-8, "weight_decay": 0.0, "decay_schedule": "flat_cos",
    "cv": None,
}  # fmt: skip

TUNED = SIMPLE | {
    "parametric_activation": True, "dropout": 0.15, "init": "data", "numeric_embedding": "pbld",
    "max_one_hot": 8, "weight_decay": 0.02,
}  # fmt: skip

# (variant, task) -> default of each hyper-parameter whose argument is None.
DEFAULTS = {
    ("TD", CLASSIFICATION): TUNED | {"activation": "selu", "learning_rate": 0.04},
    ("TD", REGRESSION): TUNED | {
        "activation": "mish", "learning_rate": 0.2, "clamp_output": True,
    },
    ("TD-S", CLASSIFICATION): SIMPLE | {"activation": "selu", "learning_rate": 0.04},
    ("TD-S", REGRESSION): SIMPLE | {
        "activation": "mish", "learning_rate": 0.07, "clamp_output": False,
    },
}  # fmt: skip

# With the learning rates above, variances become so small that training fails on some tables.
NLL_LEARNING_RATE = 0.04

VARIANTS = {"TD": None, "TD-S": None}

# Preset -> values that differ from the variant's.
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"hidden_layer_sizes": (128, 128), "max_epochs": 64, "batch_size": 128},
    "default": {},
    "best": {"cv": 8},
}


def check_sizes(name, value):
    """Raise unless `value` is a sequence of widths, possibly empty."""
    for width in to_list(name, value, "integers"):
        check_integer(name, width)


def check_choice(*choices):
    """Return a function that raises unless a value is one of `choices`."""
    return lambda name, value: look_up(name, value, dict.fromkeys(choices))


def check_nothing(name, value):
    """Accept any value; another function checks it later."""


# Hyper-parameter -> function of name and value that raises if the value is invalid.
CHECKS = {
    "hidden_layer_sizes": check_sizes, "parametric_activation": check_bool,
    "dropout": check_fraction, "init": check_choice("data", "normal"), "input_scale": check_bool,
    "numeric_embedding": check_choice("pbld", "pblrd", "plr", "pl", "none"),
    "frequencies": check_integer, "embedding_outputs": check_integer,
    "frequency_scale": check_positive, "max_one_hot": check_integer,
    "category_dim": check_integer, "smooth_clip": check_positive, "max_epochs": check_integer,
    "batch_size": check_integer, "learning_rate": check_positive,
    "scale_lr_factor": check_non_negative, "bias_lr_factor": check_non_negative,
    "numeric_lr_factor": check_non_negative, "category_lr_factor": check_non_negative,
    "alpha_lr_factor": check_non_negative,
    "betas": check_betas, "epsilon": check_positive, "weight_decay": check_non_negative,
    "clamp_output": check_bool,
}  # fmt: skip


@dataclass
class Settings:
    """The hyper-parameters of one fit, with `None` only where it is a value of its own.

    Attributes
    ----------
    values : dict from str to object
        The hyper-parameters, which are attributes of this object too.
    """

    values: dict[str, Any]

    def __getattr__(self, name):
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(name) from None


def resolve_settings(estimator, task):
    """Return the `Settings` of an estimator.

    Parameters
    ----------
    estimator : RealMLP
    task : {"classification", "regression"}

    Raises
    ------
    TypeError, ValueError
        If an argument of the estimator is invalid.
    """
    look_up("preset", estimator.preset, PRESETS)
    look_up("variant", estimator.variant, VARIANTS)
    values = DEFAULTS[estimator.variant, task] | PRESETS[estimator.preset]
    if getattr(estimator, "loss", None) == "gaussian_nll":
        values["learning_rate"] = NLL_LEARNING_RATE
    for name in values:
        value = getattr(estimator, name)
        if value is None:
            continue
        value = value.item() if isinstance(value, np.generic) else value
        CHECKS.get(name, check_nothing)(name, value)
        values[name] = value
    if values["numeric_embedding"] == "none":
        values["numeric_embedding"] = None
    if values["numeric_embedding"] in ("pbld", "pblrd") and values["embedding_outputs"] < 2:
        raise ValueError(
            f"embedding_outputs must be at least 2 for {values['numeric_embedding']!r}, whose last "
            f"output is the number itself; got {values['embedding_outputs']}"
        )
    if hasattr(estimator, "label_smoothing"):
        check_fraction("label_smoothing", estimator.label_smoothing)
    check_training(estimator)
    return Settings(values)


def check_training(estimator):
    """Raise unless the arguments of an estimator that control training are valid."""
    look_up("weight_decay_mode", estimator.weight_decay_mode, {"once": None, "twice": None})
    check_integer("n_refit", estimator.n_refit, 0)
    check_fraction("validation_fraction", estimator.validation_fraction)
    check_integer("transform_layer", estimator.transform_layer, -(2**31))
    if estimator.time_limit is not None:
        check_positive("time_limit", estimator.time_limit)
    if estimator.early_stopping is not None:
        check_integer("early_stopping", estimator.early_stopping)
    if not isinstance(estimator.verbose, (bool, np.bool_)):
        check_integer("verbose", estimator.verbose, 0)
