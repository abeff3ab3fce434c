"""scikit-learn's multilayer perceptrons: `MLPClassifier`, `MLPRegressor`, and pipelines of them."""

from dataclasses import replace

from cmlp._model.architecture import Architecture, resolve_dtype
from cmlp._model.state import ModelState
from cmlp.formats.finite import check_finite

# out_activation_ of an estimator -> (loss, output) of a network; with "exp" the estimator predicts
# the exponential of the network's output.
SKLEARN_OUTPUTS = {
    "softmax": ("cross_entropy", "softmax"),
    "logistic": ("binary_cross_entropy", "sigmoid"),
    "identity": ("quadratic", "identity"),
    "exp": ("poisson_deviance", "identity"),
}


def get_task(estimator):
    """Return the task of a fitted estimator's network; None for the default of its output."""
    is_multilabel = estimator.out_activation_ == "logistic" and estimator.n_outputs_ > 1
    return "multilabel" if is_multilabel else None


def to_cmlp_activation(activation):
    """Return an activation with scikit-learn's name ``"logistic"`` replaced by ``"sigmoid"``."""
    return "sigmoid" if isinstance(activation, str) and activation == "logistic" else activation


def read(estimator, dtype=None):
    """Return the state of a fitted estimator; see `cmlp.Network.from_sklearn`.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, or a pipeline or search that ends in one
    dtype : str or numpy.dtype, optional

    Returns
    -------
    ModelState
        An independent copy.

    Raises
    ------
    TypeError
        If `estimator` is something else.
    ValueError
        If a weight is not finite, or a transformer cannot be folded into a layer.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.utils.validation import check_is_fitted

    transformers, targets, last = unwrap(estimator)
    if not isinstance(last, (MLPClassifier, MLPRegressor)):
        kind, ends = type(estimator).__name__, type(last).__name__
        raise TypeError(
            "estimator must be an MLPClassifier or an MLPRegressor, or a pipeline that ends in "
            f"one; got {kind}{'' if last is estimator else f' that ends in {ends}'}"
        )
    check_is_fitted(last)
    # of cmlp.sklearn or of scikit-learn
    state = last.network_.state.copy() if hasattr(last, "network_") else read_coefs(last)
    if dtype is not None:
        state = convert_state(state, resolve_dtype(dtype))
    if transformers or targets:
        # Imported here because plain estimators do not need it.
        from cmlp.formats.sklearn_affine import fold_inputs, fold_targets

        state = fold_inputs(state, transformers)
        for transformer in reversed(targets):
            state = fold_targets(state, transformer)
    return state


def unwrap(estimator):
    """Return the transformers of the rows and of the targets of an estimator, and the estimator.

    Returns
    -------
    transformers : list of (str, transformer)
        In the order in which they are applied.
    targets : list of transformer
        In the order in which they are applied to the targets.
    estimator : object
    """
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import check_is_fitted

    transformers, targets = [], []
    while True:
        if isinstance(estimator, Pipeline):
            transformers += estimator.steps[:-1]
            estimator = estimator.steps[-1][1]
        elif isinstance(estimator, TransformedTargetRegressor):
            check_is_fitted(estimator)
            targets.append(estimator.transformer_)
            estimator = estimator.regressor_
        elif isinstance(estimator, (GridSearchCV, RandomizedSearchCV)) or hasattr(
            estimator, "best_estimator_"
        ):
            check_is_fitted(estimator, "best_estimator_")
            estimator = estimator.best_estimator_
        else:
            return transformers, targets, estimator


def read_coefs(estimator):
    """Return the state of a fitted estimator of scikit-learn."""
    loss, output = SKLEARN_OUTPUTS[estimator.out_activation_]
    architecture = Architecture.from_arguments(
        [*(coef.shape[0] for coef in estimator.coefs_), estimator.n_outputs_],
        activation=to_cmlp_activation(estimator.activation), output=output, loss=loss,
        init="zeros", dtype=estimator.coefs_[0].dtype, seed=0,
    )  # fmt: skip
    arrays = {f"weight_{l}": coef.T for l, coef in enumerate(estimator.coefs_)}
    for l, intercept in enumerate(estimator.intercepts_):
        arrays[f"bias_{l}"] = intercept[:, None]
    check_finite(arrays, architecture.dtype)
    return ModelState.from_arrays(architecture, arrays, task=get_task(estimator))


def convert_state(state, dtype):
    """Return a state with parameters of another dtype."""
    architecture, arrays = state.architecture, state.to_arrays()
    if architecture.dtype == dtype:
        return state
    check_finite(arrays, dtype)
    architecture = replace(architecture, dtype=dtype, compute_dtype=dtype.name)
    return ModelState.from_arrays(architecture, arrays, epoch=state.epoch, task=state.task)


def fold_scaler(state, scaler):
    """Return the state of a network that reads the inputs of a scaler; see `Network.fold_scaler`.

    Raises
    ------
    TypeError, ValueError
        If it is not a fitted transformer that can be folded.
    """
    from cmlp.formats.sklearn_affine import fold_inputs

    if not hasattr(scaler, "transform"):
        raise TypeError(
            f"scaler must be a fitted transformer of scikit-learn; got {type(scaler).__name__}"
        )
    return fold_inputs(state, [("scaler", scaler)])
