"""scikit-learn's multilayer perceptrons, read."""

from cmlp.checks import optional

# The output that scikit-learn names, as a loss and an output of cmlp's.
OUTPUTS = {
    "softmax": ("cross_entropy", "softmax"),
    "logistic": ("binary_cross_entropy", "sigmoid"),
    "identity": ("quadratic", "identity"),
    "exp": ("poisson_deviance", "identity"),
}


def as_cmlp(activation):
    """Return an activation of scikit-learn's, or of cmlp's, by cmlp's name."""
    return "sigmoid" if isinstance(activation, str) and activation == "logistic" else activation


def read(estimator, make):
    """Return the network of a fitted estimator; see `Network.from_sklearn`.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    make : callable
        Makes a network, with the arguments of `Network`.
    """
    neural_network = optional("sklearn.neural_network", "from_sklearn", "scikit-learn", "sklearn")
    from sklearn.utils.validation import check_is_fitted

    if not isinstance(estimator, (neural_network.MLPClassifier, neural_network.MLPRegressor)):
        raise TypeError(
            f"estimator must be an MLPClassifier or an MLPRegressor, got {type(estimator).__name__}"
        )
    check_is_fitted(estimator)
    if hasattr(estimator, "network_"):  # one of cmlp's
        return estimator._synced().copy()
    loss, output = OUTPUTS[estimator.out_activation_]
    sizes = [coef.shape[0] for coef in estimator.coefs_] + [estimator.n_outputs_]
    network = make(
        sizes, activation=as_cmlp(estimator.activation), output=output, loss=loss, init="zeros",
        dtype=estimator.coefs_[0].dtype, seed=0,
    )  # fmt: skip
    network.weight = [coef.T for coef in estimator.coefs_]
    network.bias = [intercept[:, None] for intercept in estimator.intercepts_]
    return network
