"""scikit-learn's `MLPClassifier` and `MLPRegressor` with cmlp's engine under them.

Arguments, attributes, checks and messages are scikit-learn's own, whose classes these derive
from; training and prediction are cmlp's. With the same `random_state` the first weights and the
order of the samples are those that scikit-learn draws.
"""

import operator
import warnings
from dataclasses import dataclass, replace
from itertools import pairwise
from numbers import Integral, Real
from typing import ClassVar

import numpy as np

from cmlp import batches, fitting, lbfgs, progress, threads, training
from cmlp._core.samples import Targets
from cmlp.activations import ACTIVATIONS, Activation
from cmlp.callbacks import Callback, checked_callbacks
from cmlp.checks import optional
from cmlp.errors import TrainingDiverged
from cmlp.files.estimators import OUTPUTS, as_cmlp
from cmlp.network import Network
from cmlp.optimizers import SGD, Adam, Optimizer
from cmlp.running import Running
from cmlp.schedules import checked_schedule

optional("sklearn", "cmlp.sklearn", "scikit-learn", "sklearn")

from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import _safe_indexing, shuffle
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import validate_data

NAMES = {name for name, activation in ACTIVATIONS.items() if activation.hidden} | {"logistic"}

CONSTRAINTS = {
    "activation": [StrOptions(NAMES), list, tuple, Activation],
    "optimizer": [Optimizer, None],
    "schedule": "no_validation",
    "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
    "batch_norm": ["boolean"],
    "callbacks": "no_validation",
    "dtype": [StrOptions({"float32", "float64"}), None],
    "n_jobs": [Integral, None],
    "threads": [Interval(Integral, 1, None, closed="left"), None],
}


@dataclass(frozen=True)
class ScikitAdam(Adam):
    """Adam as scikit-learn computes it: eps joins the root before the correction."""

    @property
    def hyper(self):
        """The numbers that compiled code takes, in its order."""
        return (*self.betas, self.eps, 1.0)


class Descent:
    """An optimizer at work, which can be pickled.

    Parameters
    ----------
    optimizer : cmlp.optimizers.Optimizer
    rate : float
        The learning rate now, which falls where `learning_rate` says so.
    """

    def __init__(self, optimizer):
        self.optimizer, self.running, self.kept = optimizer, None, None
        self.learning_rate = float(optimizer.lr)

    def of(self, network):
        """Return it as it runs on a network."""
        if self.running is None:
            self.running = Running(network, self.optimizer)
            if self.kept is not None:
                blocks, position, self.running.ended = self.kept
                for name, block in blocks.items():
                    self.running.blocks[name][:] = block
                self.running.engine.position = position
        return self.running

    def change(self, rate):
        """Take another learning rate; scikit-learn's velocities keep the one they had."""
        if self.running is not None and isinstance(self.optimizer, SGD) and self.optimizer.momentum:
            self.running.blocks["state_0"] *= self.learning_rate / rate
        self.learning_rate = rate

    def __getstate__(self):
        kept = self.kept
        if self.running is not None:
            blocks = {name: block.copy() for name, block in self.running.blocks.items()}
            kept = blocks, self.running.engine.position, self.running.ended
        return {"optimizer": self.optimizer, "learning_rate": self.learning_rate, "kept": kept,
                "running": None}  # fmt: skip

    # What a schedule of a course has.

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        return np.full(len(steps), self.learning_rate / self.optimizer.lr)

    def observe(self, record):
        """Take no note: the estimator tells."""


class Drawn(training.Samples):
    """Samples whose orders are drawn as scikit-learn draws them."""

    def __init__(self, rows, targets, batch_size, random_state):
        super().__init__(rows, targets, None, None, batch_size, random_state is not None)
        self.index, self.random_state = np.arange(len(rows)), random_state

    def parts(self, network, epoch):
        """Yield the only part of an epoch."""
        order = None
        if self.shuffle:
            self.index = shuffle(self.index, random_state=self.random_state)
            # A batch of all samples is the same in any order.
            order = self.index.astype(np.uint32) if self.steps > 1 else None
        yield self.rows, self.targets, None, order, self.batch_size, (0, 0, self.steps)


class Judge(Callback):
    """Keeps an estimator's records of training, and stops it as scikit-learn does."""

    def __init__(self, estimator, samples, held_out, incremental):
        self.estimator, self.samples = estimator, samples
        self.held_out, self.incremental = held_out, incremental

    def on_epoch_end(self, network, epoch, record):
        """Take note of an epoch; returns whether to stop."""
        e = self.estimator
        e.n_iter_ = epoch + 1
        e.loss_ = record["loss"]
        if e.out_activation_ in ("identity", "exp"):  # theirs are means over the outputs
            penalty = record.get("penalty", 0.0)
            e.loss_ = (e.loss_ - penalty) / e.n_outputs_ + penalty
        e.t_ += self.samples
        e.loss_curve_.append(e.loss_)
        if e.verbose:
            print(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
        if self.held_out is not None:
            record[f"val_{network.score_name}"] = self.validate(network)
        if not e.early_stopping:
            no_gain = e.loss_ > e.best_loss_ - e.tol
            e._no_improvement_count = e._no_improvement_count + 1 if no_gain else 0
            e.best_loss_ = min(e.best_loss_, e.loss_)
        if e.learning_rate == "invscaling" and e.solver == "sgd" and e.optimizer is None:
            e._optimizer.change(float(e.learning_rate_init) / (e.t_ + 1) ** e.power_t)
        return self.is_over() or self.incremental

    def validate(self, network):
        """Take note of the score of what is held out, and return it."""
        e = self.estimator
        e._expose()
        score = e._score(*self.held_out[:2], sample_weight=self.held_out[2])
        e.validation_scores_.append(score)
        if e.verbose:
            print(f"Validation score: {score:f}")
        if not e.early_stopping:
            return score
        no_gain = score < e.best_validation_score_ + e.tol
        e._no_improvement_count = e._no_improvement_count + 1 if no_gain else 0
        if score > e.best_validation_score_:
            e.best_validation_score_ = score
            e._best = network._snapshot()
        return score

    def is_over(self):
        """Whether it has improved for too long no more; an adaptive rate falls first."""
        e = self.estimator
        if e._no_improvement_count <= e.n_iter_no_change:
            return False
        what = "Validation score" if e.early_stopping else "Training loss"
        text = (f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} "
                "consecutive epochs.")  # fmt: skip
        adaptive = e.learning_rate == "adaptive" and e.solver == "sgd" and e.optimizer is None
        if adaptive and e._optimizer.learning_rate > 1e-6:
            e._optimizer.change(e._optimizer.learning_rate / 5.0)
            e._no_improvement_count = 0
            if e.verbose:
                print(f"{text} Setting learning rate to {e._optimizer.learning_rate:f}")
            return False
        if e.verbose:
            print(f"{text} Learning rate too small. Stopping." if adaptive else f"{text} Stopping.")
        return True


class EngineMixin:
    """What both estimators have of cmlp's."""

    def fit(self, X, y, sample_weight=None, *, validation_data=None):
        """Fit the model; see scikit-learn's.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like, shape (n_samples,), optional
        validation_data : tuple (X, y), optional
            What `validation_scores_` and early stopping go by, instead of a part of X.

        Returns
        -------
        self
        """
        self._validation_data = validation_data
        try:
            return super().fit(X, y, sample_weight)
        finally:
            del self._validation_data

    def _team(self):
        if self.threads is not None:
            return threads.resolve(self.threads)
        if self.n_jobs is None:
            return threads.resolve(None)
        if self.n_jobs == 0:
            raise ValueError("n_jobs must not be 0; -1 means all CPUs")
        jobs = self.n_jobs if self.n_jobs > 0 else max(1, threads.available() + 1 + self.n_jobs)
        return threads.resolve(int(jobs))

    def _make_network(self, sizes, dtype):
        loss, output = OUTPUTS[self.out_activation_]
        names = self.activation
        if isinstance(names, (list, tuple)):
            names = [as_cmlp(name) for name in names]
        else:
            names = as_cmlp(names)
        seed = self._random_state.randint(2**31) if np.any(self.dropout) else 0
        return Network(
            sizes, activation=names, output=output, loss=loss, init="zeros", dtype=dtype,
            dropout=self.dropout, normalization="batch" if self.batch_norm else None, seed=seed,
        )  # fmt: skip

    def _synced(self):
        # The network with `coefs_` and `intercepts_`, whoever set them.
        network = self.__dict__.get("network_")
        arrays = [*self.coefs_, *self.intercepts_]
        known = self.__dict__.get("_exposed", ())
        alike = len(arrays) == len(known) and all(map(operator.is_, arrays, known))
        if network is not None and alike:
            return network
        sizes = [coef.shape[0] for coef in self.coefs_] + [self.coefs_[-1].shape[1]]
        dtype = np.dtype(self.dtype or self.coefs_[0].dtype)
        if network is None or network.size != sizes or network.dtype != dtype:
            network = self._make_network(sizes, dtype)
        network.weight = [coef.T for coef in self.coefs_]
        network.bias = [intercept[:, None] for intercept in self.intercepts_]
        self.network_, self._exposed = network, arrays
        return network

    def _expose(self):
        # `coefs_` and `intercepts_` of the type of X: views where it is the network's own.
        network = self.network_
        dtype = self.__dict__.get("_input_dtype", network.dtype)
        self.coefs_ = [w.T.astype(dtype, copy=False) for w in network.weight]
        self.intercepts_ = [b[:, 0].astype(dtype, copy=False) for b in network.bias]
        self._exposed = [*self.coefs_, *self.intercepts_]

    def _initialize(self, y, layer_units, dtype):
        super()._initialize(y, layer_units, dtype)
        # A network of another fit has statistics that are not for this one.
        self.__dict__.pop("network_", None)

    def _init_coef(self, fan_in, fan_out, dtype):
        # Its bound goes by the name of one activation.
        named, self.activation = self.activation, (
            self.activation if isinstance(self.activation, str) else "relu"
        )  # fmt: skip
        try:
            return super()._init_coef(fan_in, fan_out, dtype)
        finally:
            self.activation = named

    def _data(self, X, y, sample_weight, batch_size):
        # Rows and weighted targets as the engine reads them.
        network = self.network_
        rows = batches.as_rows(X, network.size[0], network.dtype, finite=False)
        density = batches.sparse_density(network, batch_size)
        rows = batches.compressed(rows, "auto", self._team(), density)
        if self.out_activation_ == "softmax":
            targets = Targets(y.argmax(axis=1).astype(np.int32))
        else:
            targets = Targets(np.ascontiguousarray(y, network.dtype))
        if sample_weight is not None:
            sample_weight = np.ascontiguousarray(sample_weight, np.float64)
        return rows, targets.weighted(sample_weight)

    def _class_weighted(self, y, sample_weight):
        # `sample_weight` times the weights of the classes; y is binarised.
        if self.class_weight is None:
            return sample_weight
        if self.out_activation_ == "logistic" and y.shape[1] > 1:
            raise ValueError("class_weight is not supported for multilabel targets")
        labels = self.classes_[y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0].astype(int)]
        weights = compute_sample_weight(self.class_weight, labels)
        return weights if sample_weight is None else weights * sample_weight

    def _chosen_optimizer(self):
        if self.optimizer is not None:
            given = fitting.checked_optimizer(self.optimizer)
            decays = given.weight_decay or given.penalty is not None
            return given if decays else replace(given, penalty=self.alpha)
        if self.solver == "sgd":
            return SGD(self.learning_rate_init, momentum=self.momentum,
                       nesterov=bool(self.nesterovs_momentum and self.momentum > 0),
                       penalty=self.alpha)  # fmt: skip
        return ScikitAdam(self.learning_rate_init, (self.beta_1, self.beta_2), self.epsilon,
                          penalty=self.alpha)  # fmt: skip

    def _fit_stochastic(self, X, y, sample_weight, activations, deltas, coef_grads,
                        intercept_grads, layer_units, incremental):  # fmt: skip
        network = self._synced()
        self._input_dtype = X.dtype
        self.__dict__.pop("_best", None)  # of a fit that an error ended
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = Descent(self._chosen_optimizer())
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        sample_weight = self._class_weighted(y, sample_weight)
        X, y, sample_weight, held_out = self._held_out(X, y, sample_weight)
        samples = X.shape[0]
        if self.batch_size == "auto":
            batch_size = min(200, samples)
        else:
            if self.batch_size > samples:
                warnings.warn("Got `batch_size` less than 1 or larger than "
                              "sample size. It is going to be clipped", stacklevel=2)  # fmt: skip
            batch_size = int(min(self.batch_size, samples))
        rows, targets = self._data(X, y, sample_weight, batch_size)
        judge = Judge(self, samples, held_out, incremental)
        epochs = 1 if incremental else self.max_iter
        course = training.Course(
            network, Drawn(rows, targets, batch_size, self._random_state if self.shuffle else None),
            validate=None, epochs=epochs, optimizer=self._optimizer.optimizer,
            running=self._optimizer.of(network),
            schedule=self._optimizer if self.schedule is None else checked_schedule(self.schedule),
            callbacks=[judge, *checked_callbacks(self.callbacks or (), None)], metrics=(),
            progress=progress.choose(None, 1 if self.verbose and self.verbose > 1 else 0, epochs,
                                     samples), threads=self._team(),
        )  # fmt: skip
        self.n_iter_ = 0
        try:
            self.history_ = course.run()
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
        except TrainingDiverged as error:
            if not hasattr(self, "_best"):
                self._expose()
                raise ValueError(
                    "Solver produced non-finite parameter weights. The input data may contain "
                    f"large values and need to be preprocessed. ({error})"
                ) from error
            # The best parameters so far come back, as at the end of any early stopping.
            self.validation_scores_.append(np.nan)
            warnings.warn(str(error), ConvergenceWarning, stacklevel=2)
            course.stopped = True
        if not incremental and not course.stopped and self.n_iter_ == self.max_iter:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.", ConvergenceWarning, stacklevel=2,
            )  # fmt: skip
        if self.early_stopping and hasattr(self, "_best"):
            network._restore(self._best)
            del self._best
        self._expose()

    def _held_out(self, X, y, sample_weight):
        # What is trained on, and X, y and weights to validate with, or None.
        given = getattr(self, "_validation_data", None)
        if given is not None:
            if self.validation_scores_ is None:
                self.validation_scores_ = []
            X_val, y_val = fitting.pair_of("validation_data", given)
            X_val = validate_data(self, X_val, accept_sparse=["csr", "csc"], reset=False)
            return X, y, sample_weight, (X_val, np.asarray(y_val), None)
        if not self.early_stopping:
            return X, y, sample_weight, None
        classifies = hasattr(self, "_label_binarizer")
        stratify = y if classifies and self.n_outputs_ == 1 else None
        index, index_val = train_test_split(
            np.arange(len(y)), random_state=self._random_state,
            test_size=self.validation_fraction, stratify=stratify,
        )  # fmt: skip
        if len(index_val) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        X_val, y_val = _safe_indexing(X, index_val), y[index_val]
        if classifies:
            y_val = self._label_binarizer.inverse_transform(y_val)
        weights = (None, None)
        if sample_weight is not None:
            weights = sample_weight[index], sample_weight[index_val]
        return _safe_indexing(X, index), y[index], weights[0], (X_val, y_val, weights[1])

    def _fit_lbfgs(self, X, y, sample_weight, activations, deltas, coef_grads, intercept_grads,
                   layer_units):  # fmt: skip
        network = self._synced()
        self._input_dtype = X.dtype
        self._check_lbfgs()
        self._place_parameters(layer_units)
        sample_weight = self._class_weighted(y, sample_weight)
        rows, targets = self._data(X, y, sample_weight, X.shape[0])
        total = len(rows) if sample_weight is None else sample_weight.sum()
        optimizer = lbfgs.LBFGS(tol=self.tol, max_fun=self.max_fun, decay_bias=False,
                                weight_decay=self.alpha / total)  # fmt: skip
        objective = lbfgs.Objective(network, rows, targets, optimizer, self._team())

        def tell(epoch):
            if self.verbose:
                print(f"Iteration {epoch + 1}, loss = {objective.last_loss:.8f}")

        result = lbfgs.minimize(objective, optimizer, self.max_iter, tell)
        self.n_iter_ = _check_optimize_result("lbfgs", result, self.max_iter)
        self.loss_ = result.fun
        self._expose()

    def _check_lbfgs(self):
        given = {name: getattr(self, name) for name in ("optimizer", "schedule", "callbacks")}
        given["validation_data"] = self.__dict__.get("_validation_data")
        given["dropout"] = self.dropout if np.any(self.dropout) else None
        if wrong := [name for name, value in given.items() if value is not None]:
            raise ValueError(f"solver='lbfgs' takes no {wrong[0]}")

    def _place_parameters(self, layer_units):
        # Where the parameters are in the vector of scikit-learn's own loss and gradient.
        pairs = list(pairwise(layer_units))
        ends = np.cumsum([0] + [i * o for i, o in pairs] + [o for _, o in pairs]).tolist()
        spans = list(pairwise(ends))
        self._coef_indptr = [
            (*span, pair) for span, pair in zip(spans[: len(pairs)], pairs, strict=True)
        ]
        self._intercept_indptr = spans[len(pairs) :]

    def _forward_pass_fast(self, X, check_input=True):
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        network = self._synced()
        return self._finished(network(X, threads=self._team()))

    def _finished(self, out):
        # Outputs as scikit-learn gives them.
        out = np.exp(out) if self.out_activation_ == "exp" else out
        return out.astype(self.__dict__.get("_input_dtype", out.dtype), copy=False)

    def _quick(self, X):
        # Outputs of a few samples whose checks the engine does, or None for the long way.
        plain = type(X) is np.ndarray and X.dtype.kind == "f" and X.dtype.itemsize in (4, 8)
        if not plain or "network_" not in self.__dict__ or "feature_names_in_" in self.__dict__:
            return None
        out = self._synced()._program.outputs(X)
        return None if out is None else self._finished(out)

    def __setstate__(self, state):
        super().__setstate__(state)
        if "network_" in self.__dict__:
            self._expose()


class MLPClassifier(EngineMixin, neural_network.MLPClassifier):
    """scikit-learn's `MLPClassifier`, trained by cmlp.

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, alpha, ... : as there
        `activation` may be any of cmlp's, or a list with one for each hidden layer.
    optimizer : cmlp.optimizers.Optimizer, optional
        Instead of `solver` and what belongs to it; `alpha` counts unless it decays weights.
    schedule : cmlp.schedules.Schedule or callable, optional
        Instead of `learning_rate`.
    dropout : float or list of float, default 0
        Of the hidden layers.
    batch_norm : bool, default False
        Whether hidden layers are normalised over batches.
    class_weight : dict or "balanced", optional
        As elsewhere in scikit-learn.
    callbacks : sequence of callables or of cmlp.callbacks.Callback, optional
        Told after each epoch.
    dtype : {"float32", "float64"}, optional
        Of all arithmetic; by default that of X, as there. float32 is twice as fast.
    n_jobs : int, optional
        Threads; -1 means all CPUs, None as many as the process may use.
    threads : int, optional
        The same; it goes before `n_jobs`.

    Attributes
    ----------
    coefs_, intercepts_, classes_, loss_curve_, ... : as there
    network_ : cmlp.Network
        What is trained.
    history_ : cmlp.History
        Of the last fit by a stochastic solver.

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
                 callbacks=None, dtype=None, n_jobs=None, threads=None):  # fmt: skip
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
        self.n_jobs = n_jobs
        self.threads = threads

    def predict(self, X):
        """Return the class of each sample, shape (n_samples,) or (n_samples, n_classes)."""
        out = self._quick(X)
        if out is None:
            return super().predict(X)
        if self.out_activation_ == "softmax":
            return self.classes_[out.argmax(axis=1)]
        if out.shape[1] == 1:
            out = out.ravel()
        return self._label_binarizer.inverse_transform(out)

    def predict_proba(self, X):
        """Return the probability of each class, shape (n_samples, n_classes)."""
        out = self._quick(X)
        if out is None:
            return super().predict_proba(X)
        return np.hstack([1 - out, out]) if out.shape[1] == 1 else out


class MLPRegressor(EngineMixin, neural_network.MLPRegressor):
    """scikit-learn's `MLPRegressor`, trained by cmlp.

    Parameters
    ----------
    loss, hidden_layer_sizes, activation, solver, alpha, ... : as there
        `activation` may be any of cmlp's, or a list with one for each hidden layer.
    optimizer : cmlp.optimizers.Optimizer, optional
        Instead of `solver` and what belongs to it; `alpha` counts unless it decays weights.
    schedule : cmlp.schedules.Schedule or callable, optional
        Instead of `learning_rate`.
    dropout : float or list of float, default 0
        Of the hidden layers.
    batch_norm : bool, default False
        Whether hidden layers are normalised over batches.
    callbacks : sequence of callables or of cmlp.callbacks.Callback, optional
        Told after each epoch.
    dtype : {"float32", "float64"}, optional
        Of all arithmetic; by default that of X, as there. float32 is twice as fast.
    n_jobs : int, optional
        Threads; -1 means all CPUs, None as many as the process may use.
    threads : int, optional
        The same; it goes before `n_jobs`.

    Attributes
    ----------
    coefs_, intercepts_, loss_curve_, ... : as there
    network_ : cmlp.Network
        What is trained.
    history_ : cmlp.History
        Of the last fit by a stochastic solver.
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
                 dtype=None, n_jobs=None, threads=None):  # fmt: skip
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
        self.n_jobs = n_jobs
        self.threads = threads

    def _class_weighted(self, y, sample_weight):
        return sample_weight

    def predict(self, X):
        """Return the values, shape (n_samples,) or (n_samples, n_outputs)."""
        out = self._quick(X)
        if out is None:
            return super().predict(X)
        return out.ravel() if out.shape[1] == 1 else out
