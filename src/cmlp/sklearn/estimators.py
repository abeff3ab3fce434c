"""The estimators: scikit-learn's arguments, and those that cmlp adds."""

from typing import ClassVar

import numpy as np
from sklearn import neural_network
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import validate_data

from cmlp.sklearn.labels import binarize_labels, is_label_array
from cmlp.sklearn.mixin import CONSTRAINTS, EngineMixin


class MLPClassifier(EngineMixin, neural_network.MLPClassifier):
    """scikit-learn's `MLPClassifier`, trained by cmlp.

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, alpha, ... : as in scikit-learn
        `activation` also accepts any hidden activation of cmlp, or a list with one for each hidden
        layer.
    optimizer : cmlp.optimizers.Optimizer or str, optional
        Used instead of `solver` and its arguments. `alpha` is its L2 penalty, unless the optimizer
        has a `penalty` or a `weight_decay` of its own.
    schedule : cmlp.schedules.Schedule, str or callable, optional
        Used instead of `learning_rate`. A callable maps (step, epoch) to the factor of the
        optimizer's learning rate.
    dropout : float or list of float, default 0
        The dropout rate of the hidden layers: one for all, or one for each.
    batch_norm : bool, default False
        Whether the hidden layers have batch normalization.
    class_weight : dict or "balanced", optional
        Weights of the classes, as in other classifiers of scikit-learn. They multiply
        `sample_weight`, which ``"balanced"`` also counts the samples of a class with. Not
        supported for multilabel targets.
    callbacks : sequence of callables or of cmlp.callbacks.Callback, optional
        Called after each epoch with (network, epoch, record).
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
        The record of the last fit by a stochastic solver.

    Examples
    --------
    >>> from cmlp.sklearn import MLPClassifier
    >>> X, y = [[0., 0.], [0., 1.], [1., 0.], [1., 1.]], [0, 1, 1, 0]
    >>> MLPClassifier(8, activation="tanh", solver="lbfgs", random_state=1).fit(X, y).predict(X)
    array([0, 1, 1, 0])
    """

    _parameter_constraints: ClassVar[dict] = {
        **neural_network.MLPClassifier._parameter_constraints,
        **CONSTRAINTS,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(self, hidden_layer_sizes=(100,), activation="relu", *, solver="adam",
                 alpha=0.0001, batch_size="auto", learning_rate="constant",
                 learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
                 random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
                 nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1,
                 beta_1=0.9, beta_2=0.999, epsilon=1e-8, n_iter_no_change=10, max_fun=15000,
                 optimizer=None, schedule=None, dropout=0.0, batch_norm=False, class_weight=None,
                 callbacks=None, dtype=None, compute_dtype=None, n_jobs=None,
                 threads=None):  # fmt: skip
        super().__init__(
            hidden_layer_sizes, activation, solver=solver, alpha=alpha, batch_size=batch_size,
            learning_rate=learning_rate, learning_rate_init=learning_rate_init, power_t=power_t,
            max_iter=max_iter, shuffle=shuffle, random_state=random_state, tol=tol,
            verbose=verbose, warm_start=warm_start, momentum=momentum,
            nesterovs_momentum=nesterovs_momentum, early_stopping=early_stopping,
            validation_fraction=validation_fraction, beta_1=beta_1, beta_2=beta_2,
            epsilon=epsilon, n_iter_no_change=n_iter_no_change, max_fun=max_fun,
        )  # fmt: skip
        self.optimizer = optimizer
        self.schedule = schedule
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.class_weight = class_weight
        self.callbacks = callbacks
        self.dtype = dtype
        self.compute_dtype = compute_dtype
        self.n_jobs = n_jobs
        self.threads = threads

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
        if outputs is None:
            return super().predict(X)
        if self.out_activation_ == "softmax":
            return self.classes_[outputs.argmax(axis=1)]
        if outputs.shape[1] == 1:
            outputs = outputs.ravel()
        return self._label_binarizer.inverse_transform(outputs)

    def predict_proba(self, X):
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        outputs = self._predict_few(X)
        if outputs is None:
            return super().predict_proba(X)
        return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs

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
        if self.out_activation_ == "logistic" and y.shape[1] > 1:
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
    loss, hidden_layer_sizes, activation, solver, alpha, ... : as in scikit-learn
        `activation` also accepts any hidden activation of cmlp, or a list with one for each hidden
        layer.
    optimizer : cmlp.optimizers.Optimizer or str, optional
        Used instead of `solver` and its arguments. `alpha` is its L2 penalty, unless the optimizer
        has a `penalty` or a `weight_decay` of its own.
    schedule : cmlp.schedules.Schedule, str or callable, optional
        Used instead of `learning_rate`. A callable maps (step, epoch) to the factor of the
        optimizer's learning rate.
    dropout : float or list of float, default 0
        The dropout rate of the hidden layers: one for all, or one for each.
    batch_norm : bool, default False
        Whether the hidden layers have batch normalization.
    callbacks : sequence of callables or of cmlp.callbacks.Callback, optional
        Called after each epoch with (network, epoch, record).
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
        The record of the last fit by a stochastic solver.
    """

    _parameter_constraints: ClassVar[dict] = {
        **neural_network.MLPRegressor._parameter_constraints,
        **CONSTRAINTS,
    }

    def __init__(self, loss="squared_error", hidden_layer_sizes=(100,), activation="relu", *,
                 solver="adam", alpha=0.0001, batch_size="auto", learning_rate="constant",
                 learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
                 random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
                 nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1,
                 beta_1=0.9, beta_2=0.999, epsilon=1e-8, n_iter_no_change=10, max_fun=15000,
                 optimizer=None, schedule=None, dropout=0.0, batch_norm=False, callbacks=None,
                 dtype=None, compute_dtype=None, n_jobs=None, threads=None):  # fmt: skip
        super().__init__(
            loss, hidden_layer_sizes, activation, solver=solver, alpha=alpha,
            batch_size=batch_size, learning_rate=learning_rate,
            learning_rate_init=learning_rate_init, power_t=power_t, max_iter=max_iter,
            shuffle=shuffle, random_state=random_state, tol=tol, verbose=verbose,
            warm_start=warm_start, momentum=momentum, nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping, validation_fraction=validation_fraction,
            beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
        )  # fmt: skip
        self.optimizer = optimizer
        self.schedule = schedule
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.callbacks = callbacks
        self.dtype = dtype
        self.compute_dtype = compute_dtype
        self.n_jobs = n_jobs
        self.threads = threads

    def predict(self, X):
        """Predict the targets.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples,) or (n_samples, n_outputs)
        """
        outputs = self._predict_few(X)
        if outputs is None:
            return super().predict(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs
