"""The estimators: scikit-learn's arguments, and those that cmlp adds."""

from functools import partial
from typing import ClassVar

import numpy as np
from sklearn import neural_network
from sklearn.metrics import r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from cmlp._utils.fields import store_arguments
from cmlp._utils.validation import check_unmasked
from cmlp.sklearn.constraints import OF_CLASSIFIERS, OF_REGRESSORS
from cmlp.sklearn.labels import binarize_labels, is_label_array
from cmlp.sklearn.losses import (
    choose_class_loss,
    choose_real_loss,
    has_scores,
    measure_quantiles,
)
from cmlp.sklearn.mixin import EngineMixin


def predicts_scores(classifier):
    """Return whether a classifier has `decision_function`: by its last fit, or its argument."""
    fitted = vars(classifier).get("out_activation_")
    return has_scores(classifier.loss) if fitted is None else fitted == "identity"


def predicts_probabilities(classifier):
    """Return whether a classifier has `predict_proba`."""
    return not predicts_scores(classifier)


class MLPClassifier(EngineMixin, neural_network.MLPClassifier):
    """scikit-learn's `MLPClassifier`, trained by cmlp.

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, alpha, ... : as in scikit-learn
        `activation` also accepts any hidden activation of cmlp, or a list with one for each hidden
        layer.
    loss : str or cmlp.losses.Loss, default "log_loss"
        ``"log_loss"`` or its other name ``"cross_entropy"``; ``"binary_cross_entropy"``,
        ``"quadratic"``, ``"hinge"`` or ``"squared_hinge"``, which train each class against the
        rest. `predict_proba` divides the probabilities of a sample by their sum. The hinge losses
        have scores (`decision_function`) instead of probabilities.
    label_smoothing : float, default 0
        Of the cross-entropies, as in `cmlp.losses.cross_entropy`.
    optimizer : cmlp.optimizers.Optimizer or str, optional
        Used instead of `solver` and its arguments. `alpha` is its L2 penalty, unless the optimizer
        has a `penalty` or a `weight_decay` of its own.
    schedule : cmlp.schedules.Schedule, str or callable, optional
        Used instead of `learning_rate`. A callable maps (step, epoch) to the factor of the
        optimizer's learning rate.
    decay_schedule, dropout_schedule : Schedule, str or callable, optional
        Factors of the optimizer's ``weight_decay`` and of `dropout`, as in `cmlp.Network.fit`.
    dropout : float or list of float, default 0
        The dropout rate of the hidden layers: one for all, or one for each.
    input_dropout, input_noise : float, default 0
        The dropout rate of the inputs, and the standard deviation of normal noise that training
        adds to them.
    max_norm : float, optional
        Maximum norm of the weights into a unit.
    initializer : str, float or callable, optional
        Initial weights: ``"auto"``, ``"he_normal"``, ``"orthogonal"`` and so on, as `init` of
        `cmlp.Network`, or ``"data"``, `cmlp.Network.initialize`. By default scikit-learn's.
    normalization : {"batch", "layer"}, BatchNorm, LayerNorm or list of them, optional
        Normalization of the hidden layers: one for all, or one, or None, for each.
    batch_norm : bool, default False
        Whether the hidden layers have batch normalization: ``normalization="batch"``.
    class_weight : dict or "balanced", optional
        Weights of the classes, as in other classifiers of scikit-learn. They multiply
        `sample_weight`, which ``"balanced"`` also counts the samples of a class with. Not
        supported for multilabel targets.
    callbacks : sequence of callables or of cmlp.callbacks.Callback, optional
        Called after each epoch with (network, epoch, record).
    metrics : str, callable, Metric, or list of them, optional
        Metrics of `cmlp.metrics`, such as ``"f1"``, or functions as in `Network.fit`, which
        `history_` has for each epoch, and for validation data as ``"val_f1"``.
    transform_layer : int, default -2
        The layer whose outputs `transform` returns: -1 is the output layer, -2 the last hidden
        layer, 0 the first.
    dtype : {"float32", "float64"}, optional
        The dtype of the parameters and of all arithmetic; by default that of X, as in
        scikit-learn. float32 is twice as fast as float64.
    compute_dtype : {"bfloat16", "float32", "float64"}, optional
        As in `cmlp.Network`. With ``"bfloat16"``, `dtype` is ``"float32"`` by default.
    n_jobs : int, optional
        The number of threads; -1 means all CPUs, -2 all but one. None uses as many as
        `cmlp.Network` does.
    threads : int, optional
        The number of threads; takes precedence over `n_jobs`.

    Attributes
    ----------
    coefs_, intercepts_, classes_, loss_curve_, ... : as in scikit-learn
    network_ : cmlp.Network
        The trained network, with the current values of `coefs_` and `intercepts_`.
    history_ : cmlp.History
        The record of the last `fit` or `partial_fit`, also after Ctrl-C. With ``solver="lbfgs"`` it
        has the loss of each iteration.

    Examples
    --------
    >>> from cmlp.sklearn import MLPClassifier
    >>> X, y = [[0., 0.], [0., 1.], [1., 0.], [1., 1.]], [0, 1, 1, 0]
    >>> MLPClassifier(8, activation="tanh", solver="lbfgs", random_state=1).fit(X, y).predict(X)
    array([0, 1, 1, 0])
    """

    _parameter_constraints: ClassVar[dict] = {
        **neural_network.MLPClassifier._parameter_constraints,
        **OF_CLASSIFIERS,
    }

    def __init__(self, hidden_layer_sizes=(100,), activation="relu", *, solver="adam",
                 alpha=0.0001, batch_size="auto", learning_rate="constant",
                 learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
                 random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
                 nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1,
                 beta_1=0.9, beta_2=0.999, epsilon=1e-8, n_iter_no_change=10, max_fun=15000,
                 loss="log_loss", label_smoothing=0.0, optimizer=None, schedule=None,
                 decay_schedule=None, dropout_schedule=None, dropout=0.0, input_dropout=0.0,
                 input_noise=0.0, max_norm=None, initializer=None, normalization=None,
                 batch_norm=False, class_weight=None, callbacks=None, metrics=None,
                 transform_layer=-2, dtype=None, compute_dtype=None, n_jobs=None,
                 threads=None):  # fmt: skip
        store_arguments(self, locals())

    def predict(self, X):
        """Predict the classes.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,)
            Or 0 and 1, shape (n_samples, n_classes), if the targets are multilabel.
        """
        outputs = self._predict_few(X)
        return super().predict(X) if outputs is None else self._choose_classes(outputs)

    def _predict(self, X, check_input=True):
        return self._choose_classes(self._forward_pass_fast(X, check_input=check_input))

    def _choose_classes(self, outputs):
        # Return the classes or labels that outputs predict.
        if self._is_multiclass():
            return self.classes_[outputs.argmax(axis=1)]
        if outputs.shape[1] == 1:
            outputs = outputs.ravel()
        threshold = 0.0 if self.out_activation_ == "identity" else None  # of scores
        return self._label_binarizer.inverse_transform(outputs, threshold)

    @available_if(predicts_probabilities)
    def predict_proba(self, X):
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_classes)
            In the order of `classes_`.

        Raises
        ------
        AttributeError
            With the loss ``"hinge"`` or ``"squared_hinge"``.
        """
        outputs = self._predict_few(X)
        if outputs is None:
            check_is_fitted(self)
            outputs = self._forward_pass_fast(X)
        if outputs.shape[1] == 1:
            return np.hstack([1 - outputs, outputs])
        if self.out_activation_ == "logistic" and not self._has_labels():
            return normalize_rows(outputs)
        return outputs

    @available_if(predicts_probabilities)
    def predict_log_proba(self, X):
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        """
        return super().predict_log_proba(X)

    @available_if(predicts_scores)
    def decision_function(self, X):
        """Return the scores of the classes; only with the loss ``"hinge"`` or ``"squared_hinge"``.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_classes)
            Greater for a class that is more probable. Of two classes, the scores of the second.
        """
        check_is_fitted(self)
        outputs = self._forward_pass_fast(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def _choose_loss(self):
        # Return the loss and the output activation of the network; before targets are known, those
        # of several classes.
        is_multiclass = "_label_binarizer" not in self.__dict__ or self._is_multiclass()
        loss = choose_class_loss(self.loss, self.label_smoothing, is_multiclass)
        return loss, loss.output

    def _validate_input(self, X, y, incremental, reset):
        ranks = self._get_ranks()
        is_divided = ranks is not None and ranks.has_parts() and np.ndim(y) == 1
        if incremental or self.warm_start or not (is_divided or is_label_array(y)):
            return super()._validate_input(X, y, incremental, reset)
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True,
            dtype=(np.float64, np.float32), reset=reset,
        )  # fmt: skip
        if is_divided:
            self._label_binarizer = LabelBinarizer().fit(ranks.join_classes(y))
            targets = self._label_binarizer.transform(y).astype(bool)
        else:
            self._label_binarizer, targets = binarize_labels(y)
        self.classes_ = self._label_binarizer.classes_
        return X, targets

    def _combine_weights(self, y, sample_weight):
        if self.class_weight is None:
            return sample_weight
        # y is one-hot with several classes, and 0 and 1 in one column with two.
        if self._has_labels():
            raise ValueError("class_weight is not supported for multilabel targets")
        index = y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0].astype(int)
        if sample_weight is None:
            return compute_sample_weight(self.class_weight, self.classes_[index])
        if self.class_weight == "balanced":
            # A weight of 2 counts as two samples, and one of 0 as none.
            counts = np.bincount(index, sample_weight)[index]
            n_present = len(np.unique(index[sample_weight > 0]))
            return sample_weight * (sample_weight.sum() / n_present / np.where(counts, counts, 1))
        return sample_weight * compute_sample_weight(self.class_weight, self.classes_[index])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = self.class_weight is None
        return tags


class MLPRegressor(EngineMixin, neural_network.MLPRegressor):
    """scikit-learn's `MLPRegressor`, trained by cmlp.

    Parameters
    ----------
    loss : str, cmlp.losses.Loss or callable, default "squared_error"
        ``"squared_error"`` and ``"poisson"`` as in scikit-learn, which are ``"quadratic"`` and
        ``"poisson_deviance"`` of cmlp, ``"mse"``, ``"mae"``, ``"huber"``, ``"log_cosh"``,
        ``"pinball"``, which predicts quantiles, ``"gaussian_nll"``, which predicts means and
        standard deviations, one of `cmlp.losses`, or a loss in Python as for `cmlp.Network`.
    quantiles : float or sequence of float, default 0.5
        In ascending order; only for the loss ``"pinball"``. They never cross.
    hidden_layer_sizes, activation, solver, alpha, ... : as in scikit-learn
        `activation` also accepts any hidden activation of cmlp, or a list with one for each hidden
        layer.
    optimizer : cmlp.optimizers.Optimizer or str, optional
        Used instead of `solver` and its arguments. `alpha` is its L2 penalty, unless the optimizer
        has a `penalty` or a `weight_decay` of its own.
    schedule : cmlp.schedules.Schedule, str or callable, optional
        Used instead of `learning_rate`. A callable maps (step, epoch) to the factor of the
        optimizer's learning rate.
    decay_schedule, dropout_schedule : Schedule, str or callable, optional
        Factors of the optimizer's ``weight_decay`` and of `dropout`, as in `cmlp.Network.fit`.
    dropout : float or list of float, default 0
        The dropout rate of the hidden layers: one for all, or one for each.
    input_dropout, input_noise : float, default 0
        The dropout rate of the inputs, and the standard deviation of normal noise that training
        adds to them.
    max_norm : float, optional
        Maximum norm of the weights into a unit.
    initializer : str, float or callable, optional
        Initial weights: ``"auto"``, ``"he_normal"``, ``"orthogonal"`` and so on, as `init` of
        `cmlp.Network`, or ``"data"``, `cmlp.Network.initialize`. By default scikit-learn's.
    normalization : {"batch", "layer"}, BatchNorm, LayerNorm or list of them, optional
        Normalization of the hidden layers: one for all, or one, or None, for each.
    batch_norm : bool, default False
        Whether the hidden layers have batch normalization: ``normalization="batch"``.
    callbacks : sequence of callables or of cmlp.callbacks.Callback, optional
        Called after each epoch with (network, epoch, record).
    metrics : str, callable, Metric, or list of them, optional
        Metrics of `cmlp.metrics`, such as ``"f1"``, or functions as in `Network.fit`, which
        `history_` has for each epoch, and for validation data as ``"val_f1"``.
    transform_layer : int, default -2
        The layer whose outputs `transform` returns: -1 is the output layer, -2 the last hidden
        layer, 0 the first.
    dtype : {"float32", "float64"}, optional
        The dtype of the parameters and of all arithmetic; by default that of X, as in
        scikit-learn. float32 is twice as fast as float64.
    compute_dtype : {"bfloat16", "float32", "float64"}, optional
        As in `cmlp.Network`. With ``"bfloat16"``, `dtype` is ``"float32"`` by default.
    n_jobs : int, optional
        The number of threads; -1 means all CPUs, -2 all but one. None uses as many as
        `cmlp.Network` does.
    threads : int, optional
        The number of threads; takes precedence over `n_jobs`.

    Attributes
    ----------
    coefs_, intercepts_, loss_curve_, ... : as in scikit-learn
    network_ : cmlp.Network
        The trained network, with the current values of `coefs_` and `intercepts_`.
    history_ : cmlp.History
        The record of the last `fit` or `partial_fit`, also after Ctrl-C. With ``solver="lbfgs"`` it
        has the loss of each iteration.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from cmlp.sklearn import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> estimator = MLPRegressor(early_stopping=True, learning_rate_init=0.01, random_state=0)
    >>> bool(make_pipeline(StandardScaler(), estimator).fit(X, y).score(X, y) > 0.4)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **neural_network.MLPRegressor._parameter_constraints,
        **OF_REGRESSORS,
    }

    def __init__(self, loss="squared_error", hidden_layer_sizes=(100,), activation="relu", *,
                 solver="adam", alpha=0.0001, batch_size="auto", learning_rate="constant",
                 learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
                 random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
                 nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1,
                 beta_1=0.9, beta_2=0.999, epsilon=1e-8, n_iter_no_change=10, max_fun=15000,
                 quantiles=0.5, optimizer=None, schedule=None, decay_schedule=None,
                 dropout_schedule=None, dropout=0.0, input_dropout=0.0, input_noise=0.0,
                 max_norm=None, initializer=None, normalization=None, batch_norm=False,
                 callbacks=None, metrics=None, transform_layer=-2, dtype=None, compute_dtype=None,
                 n_jobs=None, threads=None):  # fmt: skip
        store_arguments(self, locals())

    def predict(self, X, return_std=False):
        """Predict the targets.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        return_std : bool, default False
            Whether to return standard deviations too; only with the loss ``"gaussian_nll"``.

        Returns
        -------
        ndarray, shape (n_samples,), (n_samples, n_targets) or (n_samples, n_quantiles)
            With several targets and quantiles, first all targets of the lowest quantile.
        std : ndarray, shape (n_samples,) or (n_samples, n_targets)
            Only with `return_std`.

        Raises
        ------
        ValueError
            If X does not fit, or if `return_std` is true for another loss.
        """
        if return_std:
            check_is_fitted(self)
            loss = self.network_.state.architecture.loss
            loss.check_std()
            raw = self._compute_outputs(X)
            pair = self._convert_outputs(raw), self._convert_dtype(loss.predict_std(raw))
            return tuple(each.ravel() if each.shape[1] == 1 else each for each in pair)
        outputs = self._predict_few(X)
        if outputs is None:
            return super().predict(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def score(self, X, y, sample_weight=None):
        """Return the R^2 of the predictions; for quantiles, their pinball D^2.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like, shape (n_samples,), optional

        Returns
        -------
        float
            With the loss `pinball`, the mean over the quantiles of
            `sklearn.metrics.d2_pinball_score`.
        """
        check_is_fitted(self)
        loss = self.network_.state.architecture.loss
        if not loss.quantiles:
            return super().score(X, y, sample_weight)
        check_unmasked("y", y)
        check_unmasked("sample_weight", sample_weight)
        return measure_quantiles(loss, y, self.predict(X), sample_weight)

    def _score(self, X, y, sample_weight=None):
        loss = self._network.state.architecture.loss
        measure = partial(measure_quantiles, loss) if loss.quantiles else r2_score
        return self._score_with_function(X, y, sample_weight, measure)

    def _validate_input(self, X, y, incremental, reset):
        X, y = super()._validate_input(X, y, incremental, reset)
        if self._choose_loss()[0].bounds[0] == 0 and y.min() < 0:
            raise ValueError(f"y must not be negative for loss={self.loss!r}; got {y.min()}")
        return X, y

    def _choose_loss(self):
        return choose_real_loss(self.loss, self.quantiles), "identity"


def normalize_rows(outputs):
    """Divide the probabilities of each class against the rest by their sum.

    Parameters
    ----------
    outputs : ndarray, shape (n_samples, n_classes)
        Between 0 and 1. If all of a sample are 0, the classes are equally probable.
    """
    sums = outputs.sum(axis=1, keepdims=True)
    shares = np.full_like(outputs, 1 / outputs.shape[1])
    return np.divide(outputs, sums, out=shares, where=sums > 0)
