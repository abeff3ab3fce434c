"""`coefs_` and `intercepts_` of networks that such arrays do not describe.

Tools that read them compute ``activation(x coef + intercept)`` for each layer. With layer
normalization, or with factors that an activation learns, that is another function, and they would
convert the estimator into another network without an error.
"""

from cmlp.normalizations import LayerNorm


class UnavailableArrays:
    """The value of `coefs_` or `intercepts_` that is not to be read: its items raise `ValueError`.

    scikit-learn's `fit` tests whether the attribute exists, so that it cannot be missing.

    Parameters
    ----------
    arrays : list of ndarray
    reason : str
        Why they are not available.

    Attributes
    ----------
    arrays : list of ndarray
        For `get_arrays`.
    """

    def __init__(self, arrays, reason):
        self.arrays, self.reason = arrays, reason

    def _refuse(self, *_):
        raise ValueError(
            f"coefs_ and intercepts_ do not describe this network, {self.reason}; use network_, "
            "such as network_.weight, network_.to_onnx and network_.to_c, or register_skl2onnx"
        )

    __getitem__ = __iter__ = __len__ = __contains__ = __add__ = __radd__ = __array__ = _refuse

    def __repr__(self):
        return f"<not available: {self.reason}>"


def get_arrays(arrays):
    """Return the arrays of `coefs_` or `intercepts_` as a list."""
    return arrays.arrays if isinstance(arrays, UnavailableArrays) else [*arrays]


def find_obstacle(network):
    """Return why `coefs_` and `intercepts_` do not describe a network, or None."""
    for l, layer in enumerate(network.state.architecture.dense):
        if isinstance(layer.normalization, LayerNorm):
            return f"whose layer {l} has layer normalization"
        if layer.activation.parametric:
            return f"whose layer {l} has an activation with learned factors"
    return None


def guard_arrays(network, *lists):
    """Return lists of arrays, each as `UnavailableArrays` if they do not describe the network."""
    reason = find_obstacle(network)
    if reason is None:
        return lists
    return tuple(UnavailableArrays(get_arrays(arrays), reason) for arrays in lists)


class GuardedParameters:
    """Make `coefs_` and `intercepts_` unavailable after a fit if they do not describe the network.

    A base of the estimators that precedes scikit-learn's class, which reads them within a fit.
    """

    def _fit(self, *arguments, **options):
        self._is_fitting = True
        try:
            return super()._fit(*arguments, **options)  # type: ignore[misc]
        finally:
            del self._is_fitting
            self._guard_parameters()

    def _guard_parameters(self):
        # Called whenever both attributes have been set.
        attributes = self.__dict__
        if "_is_fitting" in attributes or "_network" not in attributes:
            return
        attributes["coefs_"], attributes["intercepts_"] = guard_arrays(
            attributes["_network"], attributes["coefs_"], attributes["intercepts_"]
        )
