"""The values that arguments may have, in scikit-learn's format, which checks them in `fit`."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

from cmlp.activations import ACTIVATIONS, PARAMETRIC, Activation
from cmlp.initializers import INITIALIZERS
from cmlp.losses import Loss
from cmlp.normalizations import NORMALIZATIONS, BatchNorm, LayerNorm
from cmlp.optimizers import OPTIMIZERS, Optimizer
from cmlp.sklearn.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES

HIDDEN_ACTIVATIONS = {name for name, each in ACTIVATIONS.items() if each.hidden}
HIDDEN_ACTIVATIONS |= {*PARAMETRIC, "logistic"}
RATE = Interval(Real, 0, 1, closed="left")

# Of both estimators: the arguments that cmlp adds or extends.
CONSTRAINTS = {
    "activation": [StrOptions(HIDDEN_ACTIVATIONS), list, tuple, Activation],
    "optimizer": [Optimizer, StrOptions({*OPTIMIZERS}), None],
    "schedule": "no_validation",
    "decay_schedule": "no_validation",
    "dropout_schedule": "no_validation",
    "dropout": [RATE, list, tuple],
    "input_dropout": [RATE],
    "input_noise": [Interval(Real, 0, None, closed="left")],
    "max_norm": [Interval(Real, 0, None, closed="neither"), None],
    "initializer": [StrOptions({"auto", "data", *INITIALIZERS}), Real, callable, None],
    "batch_norm": ["boolean"],
    "normalization": [StrOptions({*NORMALIZATIONS}), BatchNorm, LayerNorm, list, tuple, None],
    "metrics": [str, list, tuple, callable, None],
    "transform_layer": [Integral],
    "callbacks": "no_validation",
    "dtype": [StrOptions({"float32", "float64"}), None],
    "compute_dtype": [StrOptions({"bfloat16", "float32", "float64"}), None],
    "n_jobs": [Integral, None],
    "threads": [Interval(Integral, 1, None, closed="left"), None],
}

OF_CLASSIFIERS = {
    **CONSTRAINTS,
    "loss": [StrOptions({*CLASSIFIER_LOSSES}), Loss],
    "label_smoothing": [RATE],
    "class_weight": [dict, StrOptions({"balanced"}), None],
}

OF_REGRESSORS = {
    **CONSTRAINTS,
    "loss": [StrOptions({*REGRESSOR_LOSSES}), Loss, callable],
    "quantiles": [Interval(Real, 0, 1, closed="neither"), "array-like"],
}
