"""scikit-learn's affine transformers, folded into the weights of a network.

A transformer maps rows x to x A + b. A layer that computes z = (x A + b) W^T + c for its outputs
becomes one that computes z = x (W A^T)^T + (c + W b) for x itself. `fold_first_layer` and
`fold_last_layer` need no scikit-learn; the command line uses them for its standardization.
"""

from dataclasses import replace

import numpy as np

from cmlp._model.layers import InputDropout, InputNoise
from cmlp.formats.folding import rebuild, refuse_encoders
from cmlp.normalizations import BatchNorm, LayerNorm

FOLDED = (
    "StandardScaler, MinMaxScaler and MaxAbsScaler (clip=False), RobustScaler, PCA, "
    "IncrementalPCA, TruncatedSVD, FunctionTransformer without a function, feature selection, "
    "Pipeline and ColumnTransformer of these"
)


def divide(weight, shift, center, scale):
    """Return weights and shift behind x -> (x - center) / scale; None means 0 and 1."""
    if scale is not None:
        weight = weight / scale
    return weight, shift if center is None else shift - weight @ center


def fold_standard_scaler(scaler, weight, shift):
    """Return weights and shift for the inputs of a `StandardScaler`."""
    center = scaler.mean_ if scaler.with_mean else None
    return divide(weight, shift, center, scaler.scale_ if scaler.with_std else None)


def fold_min_max_scaler(scaler, weight, shift):
    """Return weights and shift for the inputs of a `MinMaxScaler`."""
    return weight * scaler.scale_, shift + weight @ scaler.min_


def fold_max_abs_scaler(scaler, weight, shift):
    """Return weights and shift for the inputs of a `MaxAbsScaler`."""
    return divide(weight, shift, None, scaler.scale_)


def fold_robust_scaler(scaler, weight, shift):
    """Return weights and shift for the inputs of a `RobustScaler`."""
    center = scaler.center_ if scaler.with_centering else None
    return divide(weight, shift, center, scaler.scale_ if scaler.with_scaling else None)


def fold_pca(pca, weight, shift):
    """Return weights and shift for the inputs of a `PCA`."""
    if pca.whiten:
        deviation = np.sqrt(pca.explained_variance_)
        weight = weight / np.maximum(deviation, np.finfo(deviation.dtype).eps)
    return divide(weight @ pca.components_, shift, pca.mean_, None)


# Class -> function of (transformer, weight, shift) that returns weights and shift for its inputs.
TRANSFORMERS = {
    "StandardScaler": fold_standard_scaler,
    "MinMaxScaler": fold_min_max_scaler,
    "MaxAbsScaler": fold_max_abs_scaler,
    "RobustScaler": fold_robust_scaler,
    "PCA": fold_pca,
    "IncrementalPCA": fold_pca,
    "TruncatedSVD": lambda svd, weight, shift: (weight @ svd.components_, shift),
}

# The scalers whose inverse maps the targets of a regression.
SCALERS = ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler")

# Loss -> power of the targets' unit that its parameter has: delta, and eps, a variance.
LOSS_UNITS = {"huber": 1, "gaussian_nll": 2}


def fold_transformer(transformer, weight, shift, name):
    """Return the weights and the shift of a layer for the inputs of a transformer.

    Parameters
    ----------
    transformer : fitted transformer, or ``"passthrough"`` or None
    weight : ndarray of float64, shape (units, outputs of the transformer)
    shift : ndarray of float64, shape (units,)
    name : str
        Of the step, for messages.

    Returns
    -------
    weight : ndarray, shape (units, inputs of the transformer)
    shift : ndarray, shape (units,)

    Raises
    ------
    ValueError
        If it is not an affine map, or has another number of outputs.
    """
    if transformer is None or (isinstance(transformer, str) and transformer == "passthrough"):
        return weight, shift
    from sklearn.utils.validation import check_is_fitted

    kind, module = type(transformer).__name__, type(transformer).__module__
    module = module if module.startswith("sklearn.") else ""
    if kind == "Pipeline" and module:
        for step, each in reversed(transformer.steps):
            weight, shift = fold_transformer(each, weight, shift, f"{name}.{step}")
        return weight, shift
    if kind == "FunctionTransformer" and module and transformer.func is None:
        return weight, shift
    is_selection = module.startswith("sklearn.feature_selection") and hasattr(
        transformer, "get_support"
    )
    if not (module and (is_selection or kind in TRANSFORMERS or kind == "ColumnTransformer")):
        raise ValueError(
            f"step {name!r} ({kind}) cannot be folded into the first layer, as it is not an affine "
            f"map that is supported; supported are {FOLDED}"
        )
    check_is_fitted(transformer)
    if getattr(transformer, "clip", False):
        raise ValueError(
            f"step {name!r} ({kind}) cannot be folded into the first layer, as it has clip=True"
        )
    columns = count_outputs(transformer, is_selection)
    if columns != weight.shape[1]:
        raise ValueError(
            f"step {name!r} ({kind}) must have {weight.shape[1]} outputs, the columns that are "
            f"read next; got {columns}"
        )
    if is_selection:
        selected = np.flatnonzero(transformer.get_support())
        return scatter_columns(weight, selected, transformer), shift
    if kind == "ColumnTransformer":
        return fold_columns(transformer, weight, shift, name)
    return TRANSFORMERS[kind](transformer, weight, shift)


def count_outputs(transformer, is_selection):
    """Return the number of columns that a fitted transformer computes."""
    if is_selection:
        return int(transformer.get_support().sum())
    if hasattr(transformer, "components_"):
        return len(transformer.components_)
    if hasattr(transformer, "output_indices_"):
        return max(each.stop for each in transformer.output_indices_.values())
    return transformer.n_features_in_


def scatter_columns(weight, columns, transformer):
    """Return weights for all columns that a transformer reads, 0 for those that are not listed."""
    result = np.zeros((len(weight), transformer.n_features_in_))
    np.add.at(result, (slice(None), columns), weight)
    return result


def fold_columns(transformer, weight, shift, name):
    """Return the weights and the shift of a layer for the inputs of a `ColumnTransformer`."""
    result = np.zeros((len(weight), transformer.n_features_in_))
    weights = transformer.transformer_weights or {}
    for step, each, columns in transformer.transformers_:
        outputs = transformer.output_indices_[step]
        if outputs.start == outputs.stop:
            continue
        block, shift = fold_transformer(
            each, weight[:, outputs] * weights.get(step, 1.0), shift, f"{name}.{step}"
        )
        result += scatter_columns(block, find_columns(transformer, columns), transformer)
    return result, shift


def find_columns(transformer, columns):
    """Return the indices of columns of a `ColumnTransformer`, given as it accepts them."""
    names = list(getattr(transformer, "feature_names_in_", ()))
    if isinstance(columns, slice):
        bounds = [names.index(bound) if isinstance(bound, str) else bound
                  for bound in (columns.start, columns.stop)]  # fmt: skip
        if isinstance(columns.stop, str):
            bounds[1] += 1  # a slice of names includes the last one
        return np.arange(transformer.n_features_in_)[slice(*bounds, columns.step)]
    found = np.atleast_1d(np.asarray(columns))
    if found.dtype.kind == "b":
        return np.flatnonzero(found)
    if found.dtype.kind in "iu":
        return np.arange(transformer.n_features_in_)[found]
    return np.array([names.index(column) for column in found.tolist()])


def fold_inputs(state, transformers):
    """Return a state that reads the inputs of transformers before the network.

    Parameters
    ----------
    state : ModelState
    transformers : list of (str, transformer)
        In the order in which they are applied, with their names.

    Raises
    ------
    ValueError
        If they cannot be folded into the first layer.
    """
    if not transformers:
        return state

    def fold(weight, shift):
        for name, transformer in reversed(transformers):
            weight, shift = fold_transformer(transformer, weight, shift, name)
        return weight, shift

    name, transformer = transformers[-1]
    return fold_first_layer(state, fold, f"step {name!r} ({type(transformer).__name__})")


def fold_first_layer(state, fold, name):
    """Return a state that reads the inputs of an affine map before the network.

    Noise and dropout of the inputs are left out, and `max_norm` of the first layer, as they would
    act on other numbers.

    Parameters
    ----------
    state : ModelState
    fold : callable
        Returns the weights and the shift of a layer for the inputs of the map, given weights,
        ndarray of float64, shape (units, outputs of the map), and a shift, shape (units,).
    name : str
        Of the map, for messages.

    Raises
    ------
    ValueError
        If it cannot be folded into the first layer.
    """
    architecture = state.architecture
    refuse_encoders(architecture, "folding a transformer")
    arrays = {name: np.array(array, np.float64) for name, array in state.to_arrays().items()}
    weight, shift = fold(arrays["weight_0"], np.zeros(len(arrays["weight_0"])))
    first = architecture.dense[0]
    arrays["weight_0"] = weight
    if isinstance(first.normalization, BatchNorm):
        arrays["running_mean_0"] -= shift[:, None]
    elif not isinstance(first.normalization, LayerNorm):
        arrays["bias_0"] += shift[:, None]
    elif shift.any():
        raise ValueError(
            f"{name} cannot be folded into a first layer with layer normalization, which has no "
            "bias before it, unless it subtracts nothing"
        )
    layers = [layer for layer in architecture.layers
              if not isinstance(layer, (InputDropout, InputNoise))]  # fmt: skip
    layers[0] = replace(first, max_norm=None)
    return rebuild(state, weight.shape[1], layers, arrays)


def fold_targets(state, transformer):
    """Return a state whose outputs are in the units of targets before a transformer of them.

    Parameters
    ----------
    state : ModelState
        Of a regression.
    transformer : fitted transformer
        `TransformedTargetRegressor.transformer_`.

    Raises
    ------
    ValueError
        If its inverse cannot be folded into the last layer.
    """
    kind, architecture = type(transformer).__name__, state.architecture
    is_sklearn = type(transformer).__module__.startswith("sklearn.")
    if is_sklearn and kind == "FunctionTransformer" and transformer.inverse_func is None:
        return state
    problem = None
    if not (is_sklearn and kind in SCALERS):
        problem = f"supported are {', '.join(SCALERS)}"
    elif getattr(transformer, "clip", False):
        problem = "it has clip=True"
    elif not has_affine_predictions(architecture):
        problem = f"the predictions with loss={architecture.loss.name!r} are not its outputs"
    elif architecture.loss.blocks > 1:
        problem = f"loss={architecture.loss.name!r} has several outputs for each target"
    if problem is not None:
        raise ValueError(
            f"the transformer of the targets ({kind}) cannot be folded into the last layer: "
            f"{problem}"
        )
    # As a transformer of the targets, (1, outputs): their inverse is y -> (y - shift) / factor.
    factor, shift = TRANSFORMERS[kind](
        transformer, np.eye(architecture.outputs), np.zeros(architecture.outputs)
    )
    factor = np.diag(factor)
    return fold_last_layer(state, -shift / factor, 1 / factor)


def has_affine_predictions(architecture):
    """Return whether `fold_last_layer` supports a network.

    Its predictions must be outputs of the last layer, not functions of them such as exponentials
    or, as for quantiles that cannot cross, sums.
    """
    loss = architecture.loss
    return architecture.output.name == "identity" and not (loss.log_link or loss.non_crossing)


def fold_last_layer(state, center, scale):
    """Return a state that predicts y * scale + center where the network predicts y.

    `max_norm` of the last layer is left out, as it would act on other numbers. If all targets have
    the same scale, the parameters of the losses huber and gaussian_nll, which have the units of
    the targets and of their squares, are converted.

    Parameters
    ----------
    state : ModelState
        Of a regression, for which `has_affine_predictions` is true.
    center, scale : ndarray of float64, shape (targets,)
        The scale is positive.
    """
    architecture, loss = state.architecture, state.architecture.loss
    if (scale == scale[0]).all() and loss.name in LOSS_UNITS:
        limits = np.finfo(architecture.dtype)
        value = loss.parameter * float(scale[0]) ** LOSS_UNITS[loss.name]
        loss = replace(loss, parameter=float(np.clip(value, limits.tiny, limits.max)))
    factor, shift = np.tile(scale, loss.blocks), np.tile(center, loss.blocks)
    if loss.has_std:  # the second half are the logarithms of variances
        factor[len(scale) :], shift[len(scale) :] = 1, 2 * np.log(scale)
    arrays = {name: np.array(array, np.float64) for name, array in state.to_arrays().items()}
    last = len(architecture.dense) - 1
    arrays[f"weight_{last}"] *= factor[:, None]
    arrays[f"bias_{last}"] = arrays[f"bias_{last}"] * factor[:, None] + shift[:, None]
    layers = [*architecture.layers[:-1], replace(architecture.layers[-1], max_norm=None)]
    return rebuild(state, architecture.inputs, layers, arrays, loss)
