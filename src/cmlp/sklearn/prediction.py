"""Predictions of both estimators, and the outputs of their hidden layers."""

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from cmlp._training.derivative_methods import check_layer
from cmlp._training.evaluation import compute_outputs
from cmlp._training.inputs import convert_rows
from cmlp._training.scikit_features import LayerFeatures
from cmlp._utils.validation import check_unmasked


class PredictionMixin(LayerFeatures):
    """Predict with cmlp; a subclass has the methods `_synchronize` and `_resolve_threads`."""

    def transform(self, X):
        """Return the outputs of a layer after its activation: by default, of the last hidden one.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_units)
            The outputs of the layer `transform_layer`, in the dtype of the X of `fit`; a data frame
            after ``set_output(transform="pandas")``.

        Raises
        ------
        ValueError
            If X does not fit, or if there is no such layer.
        """
        check_is_fitted(self)
        network = self._synchronize()
        check_layer("transform_layer", self.transform_layer, network.num_layers)
        X = self._check_samples(X)
        outputs = network.transform(X, self.transform_layer, threads=self._resolve_threads())
        return self._convert_dtype(outputs)

    def _list_networks(self):
        return [self.network_]

    def _check_samples(self, X):
        check_unmasked("X", X)
        return validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)

    def _forward_pass_fast(self, X, check_input=True):
        return self._convert_outputs(self._compute_outputs(X, check_input))

    def _compute_outputs(self, X, check_input=True):
        # Return the network's outputs.
        if check_input:
            X = self._check_samples(X)
            return self._synchronize()(X, threads=self._resolve_threads())
        # The validation data of a fit, which are finite.
        state = self._synchronize().state
        rows = convert_rows(X, state.architecture.inputs, state.architecture.dtype)
        outputs = compute_outputs(state, rows, self._resolve_threads(), check_finite=False)
        if not np.isfinite(outputs).all():
            raise FloatingPointError
        return outputs

    def _convert_outputs(self, outputs):
        # Return the network's outputs as predictions, in the dtype of X.
        if self.out_activation_ == "exp":
            outputs = np.exp(outputs)
        elif self.__dict__.get("_has_blocks"):  # pickles of earlier versions do not have it
            outputs = self._synchronize().state.architecture.loss.predict(outputs)
        return self._convert_dtype(outputs)

    def _convert_dtype(self, outputs):
        dtype = self.__dict__.get("_input_dtype")
        if dtype is None or outputs.dtype == dtype:
            return outputs
        return outputs.astype(dtype)

    def _predict_few(self, X):
        # Return the predictions for a few samples without scikit-learn's checks, which take much
        # longer than the prediction. Return None if X requires them (it is not a plain, finite
        # array of float32 or float64 of the right shape, or the estimator was fitted with feature
        # names), and if X is large.
        fitted = self.__dict__
        if type(X) is not np.ndarray or X.dtype.char not in "fd":
            return None
        if "_network" not in fitted or "feature_names_in_" in fitted:
            return None
        try:
            outputs = self._synchronize().state.program.predict_few(X)
        except ValueError:  # NaN or infinity, for which scikit-learn has its own message
            return None
        return None if outputs is None else self._convert_outputs(outputs)

    def score(self, X, y, sample_weight=None):
        """Return scikit-learn's score: the accuracy or the R^2 of the predictions for X.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like, shape (n_samples,), optional

        Returns
        -------
        float
        """
        for name, value in {"y": y, "sample_weight": sample_weight}.items():
            check_unmasked(name, value)
        return super().score(X, y, sample_weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
