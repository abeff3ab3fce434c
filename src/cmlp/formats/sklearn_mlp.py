"""scikit-learn's multilayer perceptrons: `MLPClassifier` and `MLPRegressor`."""

from cmlp._model.architecture import Architecture
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


def read(estimator):
    """Return the state of a fitted estimator; see `cmlp.Network.from_sklearn`.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Of scikit-learn or of `cmlp.sklearn`.

    Returns
    -------
    ModelState
        An independent copy.

    Raises
    ------
    TypeError
        If `estimator` is something else.
    ValueError
        If a weight is not finite.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.utils.validation import check_is_fitted

    if not isinstance(estimator, (MLPClassifier, MLPRegressor)):
        raise TypeError(
            f"estimator must be an MLPClassifier or an MLPRegressor; got {type(estimator).__name__}"
        )
    check_is_fitted(estimator)
    if hasattr(estimator, "network_"):  # an estimator of cmlp.sklearn
        return estimator.network_.state.copy()
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
