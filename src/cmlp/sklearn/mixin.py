"""The common base of both estimators: the network, its training, and scikit-learn's attributes."""

import operator
import warnings
from functools import partial
from itertools import pairwise

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import validate_data

from cmlp._core.inputs import Targets
from cmlp._model.optimizer_state import OptimizerState
from cmlp._training import lbfgs
from cmlp._training.evaluation import make_validation
from cmlp._training.history import History
from cmlp._training.inputs import check_range, convert_rows, prepare_rows, split_pair
from cmlp._training.loop import TrainingRun
from cmlp._training.metric_functions import check_functions, measure_functions
from cmlp._training.progress import choose_progress
from cmlp._utils.fields import list_defaults
from cmlp._utils.threads import resolve_jobs, resolve_threads
from cmlp._utils.validation import check_unmasked, convert_dtype
from cmlp.errors import TrainingDiverged
from cmlp.formats.sklearn_mlp import to_cmlp_activation
from cmlp.lbfgs import LBFGS
from cmlp.metrics import resolve_metrics, split_metrics
from cmlp.network import Network
from cmlp.sklearn.combinations import CombinationChecks
from cmlp.sklearn.losses import OUT_ACTIVATIONS
from cmlp.sklearn.nested import NestedArguments
from cmlp.sklearn.optimizers import choose_optimizer
from cmlp.sklearn.parameters import expose_parameters, load_parameters
from cmlp.sklearn.pickling import pack_fitted, unpack_fitted
from cmlp.sklearn.prediction import PredictionMixin
from cmlp.sklearn.schedules import start_learning_rate
from cmlp.sklearn.sources import ScikitSource
from cmlp.sklearn.stopping import TrainingMonitor
from cmlp.sklearn.tasks import TaskMixin
from cmlp.sklearn.unavailable import GuardedParameters, get_arrays
from cmlp.sklearn.validation import WeightedSamples, split_samples


class EngineMixin(
    TaskMixin, CombinationChecks, NestedArguments, PredictionMixin, GuardedParameters
):  # fmt: skip
    """Train and evaluate a scikit-learn multilayer perceptron with cmlp.

    In an estimator's bases it precedes scikit-learn's class, and it overrides that class's private
    methods for initialization, training and evaluation. A subclass has the method `_choose_loss`,
    which returns the network's loss and output activation.

    `coefs_` and `intercepts_` are views of the network's parameters, and read-only copies where the
    network has another dtype than X or batch normalization, which is folded into them. They are not
    available where they do not describe the network; see `cmlp.sklearn.unavailable`.
    """

    def fit(self, X, y, sample_weight=None, *, validation_data=None, comm=None, shards=None,
            distribute=False, reproducible=True, sync_every=None):  # fmt: skip
        """Fit the model, like scikit-learn's `fit`.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like, shape (n_samples,), optional
        validation_data : tuple (X, y), optional
            The data that `validation_scores_` and early stopping use, instead of a fraction of X.
        comm, shards, distribute, reproducible, sync_every
            As for `cmlp.Network.fit`: train on shards, and on the ranks of an MPI communicator.
            Without `distribute`, X and y are this rank's samples, and all ranks have the classes
            that occur on any of them. The score and the metrics of validation data are rank 0's.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit, or if training diverges.
        RankError
            If another rank has ended by an exception.
        """
        arguments = comm, shards, distribute, reproducible, sync_every
        self._validation_data, self._ranks = validation_data, None
        try:
            if arguments == (None, None, False, True, None):
                return super().fit(X, y, sample_weight)
            # Imported here because few calls need it.
            from cmlp.sklearn.ranks import Ranks

            self._ranks = Ranks(self, *arguments)
            return self._ranks.fit(partial(super().fit, X, y, sample_weight))
        finally:
            del self._validation_data, self._ranks

    @property
    def network_(self):
        """The trained `cmlp.Network`, with the current values of `coefs_` and `intercepts_`."""
        return self._synchronize()

    # The network and scikit-learn's attributes.

    def _initialize(self, y, layer_units, dtype):
        if ranks := self._get_ranks():
            ranks.share_random_state()
        loss, output = self._choose_loss()
        layer_units = [*layer_units[:-1], layer_units[-1] * loss.blocks]
        super()._initialize(y, layer_units, dtype)
        self.out_activation_ = "exp" if loss.log_link else OUT_ACTIVATIONS[output]
        self._has_blocks = loss.blocks > 1  # whether a target has several outputs
        # The network of an earlier fit has other sizes, or running statistics of other data.
        # `_best_coefs` and `_best_intercepts` are copies for scikit-learn's own solver.
        for name in ("_optimizer", "_best_coefs", "_best_intercepts"):
            self.__dict__.pop(name, None)
        self._network = self._make_network(layer_units, self._choose_dtype(dtype))
        if self.initializer is None:
            # scikit-learn's initial values are those before normalization.
            self._network.weight = [coef.T for coef in self.coefs_]
            self._network.bias = [intercept[:, None] for intercept in self.intercepts_]
        self._input_dtype, self._awaits_data = dtype, self.initializer == "data"
        self._expose_parameters()

    def _get_ranks(self):
        # Return the `Ranks` of the current call of `fit`, or None.
        return self.__dict__.get("_ranks")

    def _choose_dtype(self, dtype):
        # Return the dtype of the network's parameters, for an X or coefficients of `dtype`.
        if self.dtype is None and self.compute_dtype is not None:
            return np.dtype("float64" if self.compute_dtype == "float64" else "float32")
        return np.dtype(self.dtype or dtype)

    def _init_coef(self, fan_in, fan_out, dtype):
        if self.initializer is not None:
            return np.zeros((fan_in, fan_out), dtype), np.zeros(fan_out, dtype)
        # scikit-learn's bound of the initial weights depends only on whether `activation` is
        # "logistic". A list or an Activation has the bound of the other names.
        activation = self.activation
        self.activation = activation if isinstance(activation, str) else "relu"
        try:
            return super()._init_coef(fan_in, fan_out, dtype)
        finally:
            self.activation = activation

    def _make_network(self, sizes, dtype):
        loss, output = self._choose_loss()
        if isinstance(self.activation, (list, tuple)):
            activation = [to_cmlp_activation(name) for name in self.activation]
        else:
            activation = to_cmlp_activation(self.activation)
        is_random = (
            self.initializer is not None or np.any(self.dropout) or self.input_dropout
            or self.input_noise
        )  # fmt: skip
        network = Network(
            sizes, activation=activation, output=output, loss=loss,
            init="zeros" if self.initializer in (None, "data") else self.initializer, dtype=dtype,
            dropout=self.dropout, input_dropout=self.input_dropout, input_noise=self.input_noise,
            normalization="batch" if self.batch_norm else self.normalization,
            max_norm=self.max_norm, seed=self._random_state.randint(2**31) if is_random else 0,
            compute_dtype=self.compute_dtype,
        )  # fmt: skip
        if self._has_labels():
            network.task = "multilabel"
        return network

    def _has_labels(self):
        # Return whether each output is a label that is present or not.
        binarizer = self.__dict__.get("_label_binarizer")
        return binarizer is not None and binarizer.y_type_.startswith("multilabel")

    def _is_multiclass(self):
        # Return whether the targets are classes, with an output for each.
        binarizer = self.__dict__.get("_label_binarizer")
        return binarizer is not None and binarizer.y_type_ == "multiclass"

    def _synchronize(self):
        # Return the network. If `coefs_` or `intercepts_` have been assigned to, copy them into
        # the network first.
        attributes = self.__dict__
        network, exposed = attributes.get("_network"), attributes.get("_exposed", ())
        coefs, intercepts = get_arrays(self.coefs_), get_arrays(self.intercepts_)
        arrays = [*coefs, *intercepts]
        is_current = len(arrays) == len(exposed) and all(map(operator.is_, arrays, exposed))
        if network is not None and is_current:
            return network
        sizes = [coef.shape[0] for coef in coefs] + [coefs[-1].shape[1]]
        dtype = self._choose_dtype(coefs[0].dtype)
        if network is None or network.size != sizes or network.dtype != dtype:
            network = self._make_network(sizes, dtype)
            attributes.pop("_optimizer", None)  # its state has the layout of other parameters
        load_parameters(network, coefs, intercepts)
        self._network = network
        self._expose_parameters()
        return network

    def _expose_parameters(self):
        # Set `coefs_` and `intercepts_`, in the dtype of X, from the network.
        network = self._network
        dtype = self.__dict__.get("_input_dtype", network.dtype)
        self.coefs_, self.intercepts_ = expose_parameters(network, dtype)
        self._exposed = [*self.coefs_, *self.intercepts_]
        self._guard_parameters()

    def __getstate__(self):
        if "_network" in self.__dict__:
            self._synchronize()
        return pack_fitted(super().__getstate__())

    def __setstate__(self, state):
        # An estimator that an earlier version has pickled lacks later arguments.
        super().__setstate__(list_defaults(type(self)) | unpack_fitted(state))
        if "_network" in self.__dict__:
            if "coefs_" in self.__dict__:  # a pickled view is an array of its own
                self._synchronize()
            self._expose_parameters()

    # Training.

    def _fit(self, X, y, sample_weight=None, incremental=False):
        # scikit-learn's `fit` and `partial_fit` call this. Its own checks ignore masks.
        for name, value in {"X": X, "y": y, "sample_weight": sample_weight}.items():
            check_unmasked(name, value)
        self._check_combinations()
        if self.solver != "lbfgs":
            self._start_watchers(self.__dict__.get("_validation_data") is not None)
        if self._choose_loss()[0].call and sample_weight is not None:
            raise ValueError("sample_weight must be None with a loss that is a callable")
        ranks = self._get_ranks()
        has_tasks = not incremental and (ranks is None or ranks.is_first)
        if not (has_tasks and self.__dict__.get("_skl_callbacks")):
            return super()._fit(X, y, sample_weight, incremental)
        with self._report_tasks((X, y, sample_weight)):
            return super()._fit(X, y, sample_weight, incremental)

    def _resolve_threads(self):
        if self.threads is not None:
            return resolve_threads(self.threads)
        return resolve_jobs(self.n_jobs)

    def _combine_weights(self, y, sample_weight):
        # Return the weights to train with, float64, shape (n_samples,), or None.
        return sample_weight

    def _prepare_data(self, samples, batch_size):
        # Return the rows and weighted targets that the compiled code reads.
        X, y, sample_weight = samples
        network = self._network
        self._check_same_loss()
        # scikit-learn has checked that X is finite, in its own dtype.
        rows = prepare_rows(
            X, network.state.architecture, batch_size=batch_size,
            threads=self._resolve_threads(), check_finite=X.dtype != network.dtype,
        )  # fmt: skip
        targets = self._make_targets(y)
        if sample_weight is not None:
            sample_weight = np.array(sample_weight, np.float64)
            check_range(sample_weight, network.dtype)
        return rows, targets.set_weights(sample_weight)

    def _make_targets(self, y):
        # Return binarized labels, or real targets, as the compiled code reads them.
        if self._is_multiclass():
            return Targets(y.argmax(axis=1).astype(np.int32))
        return Targets(convert_dtype("y", y, self._network.dtype))

    def _prepare_network(self, X):
        # Return the network to train, with initial weights if they depend on X.
        network = self._synchronize()
        self._input_dtype = X.dtype
        if self.__dict__.pop("_awaits_data", False):
            network.initialize(X, threads=self._resolve_threads())
            self._expose_parameters()
        return network

    def _fit_stochastic(self, X, y, sample_weight, activations, deltas, coef_grads,
                        intercept_grads, layer_units, incremental):  # fmt: skip
        # Called by scikit-learn's `fit` and `partial_fit`. `activations` to `intercept_grads` are
        # buffers of its own solver and not used.
        network, ranks = self._prepare_network(X), self._get_ranks()
        if not incremental or "_optimizer" not in self.__dict__:
            make_state = ranks.make_optimizer_state if ranks else OptimizerState
            # Named as in scikit-learn: `_optimizer.learning_rate` is the current learning rate.
            self._optimizer = start_learning_rate(
                self, make_state(choose_optimizer(self), network.state.parameters)
            )
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        samples, held_out = self._split_validation(
            WeightedSamples(X, y, self._combine_weights(y, sample_weight))
        )
        make_run, source = self._make_source(samples)
        score = None if held_out is None else partial(self._score_held_out, held_out)
        monitor = TrainingMonitor(
            self, source.n_samples, self._optimizer, self._no_improvement_count,
            ranks.share_score(score) if ranks else score, incremental,
            prints=self.verbose == 1 and (ranks is None or ranks.is_first),
        )  # fmt: skip
        try:
            stopped = self._train(
                make_run, source, monitor, held_out, 1 if incremental else self.max_iter
            )
        finally:
            self._no_improvement_count = monitor.rule.count
            self._expose_parameters()  # also after an exception of a callback
        if not incremental and not stopped and self.n_iter_ == self.max_iter:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.", ConvergenceWarning, stacklevel=2,
            )  # fmt: skip
        if monitor.best is not None:
            network.state.restore(monitor.best)
            self._expose_parameters()

    def _make_source(self, samples):
        # Return a function that makes the training run, and the source of its samples.
        ranks, n_samples = self._get_ranks(), samples.X.shape[0]
        if ranks is None:
            batch_size = self._resolve_batch_size(n_samples)
            source = ScikitSource(
                *self._prepare_data(samples, batch_size), batch_size,
                self._random_state if self.shuffle else None,
            )  # fmt: skip
            if self._network.state.architecture.loss.call:
                source.values = samples.y
            return TrainingRun, source
        batch_size = self._resolve_batch_size(ranks.count_samples(n_samples))
        source, shards = ranks.make_source(
            self._network, self._optimizer.optimizer_state.optimizer,
            *self._prepare_data(samples, batch_size), batch_size,
        )  # fmt: skip
        return partial(ranks.make_run, shards=shards), source

    def _make_validation(self, held_out, watchers):
        # Return a function that computes loss and `metrics` of the validation data after an epoch,
        # or None if nothing needs them. The training monitor computes the score.
        monitors = [getattr(watcher, "monitor", None) for watcher in watchers]
        if held_out is None or not (self.metrics or "val_loss" in monitors):
            return None
        X, y, _ = held_out
        if "_label_binarizer" in self.__dict__:
            if not (self._has_labels() or np.isin(y, self.classes_).all()):
                raise ValueError(f"y of validation_data must have classes of {self.classes_}")
            y = self._label_binarizer.transform(y)
        network, y = self._network, y.reshape(len(y), -1)
        architecture = network.state.architecture
        names, functions = split_metrics(self.metrics or ())
        return make_validation(
            network.state, convert_rows(X, architecture.inputs, architecture.dtype),
            self._make_targets(y), y if architecture.loss.call else None, None,
            resolve_metrics(names, (network.task,)), self._resolve_threads(), functions,
        )  # fmt: skip

    def _train(self, make_run, source, monitor, held_out, epochs):
        # Return whether a stopping rule or a callback has ended training.
        optimizer_state = self._optimizer.optimizer_state
        ranks = self._get_ranks()
        shows = self.verbose and self.verbose > 1 and (ranks is None or ranks.is_first)
        schedules, callbacks = self._start_watchers(held_out is not None)
        validate = self._make_validation(held_out, [schedules["schedule"], *callbacks])
        if self.schedule is None:
            schedules["schedule"] = self._optimizer
        names, functions = split_metrics(self.metrics or ())
        if functions:
            state = self._network.state
            check_functions(functions, state.architecture)
            validate = measure_functions(
                state, source, functions, self._resolve_threads(), validate, ranks is not None
            )
        if ranks is not None:
            validate = ranks.share_validation(validate, held_out is not None, schedules, callbacks)
        run = make_run(
            self._network, source, validate=validate, epochs=epochs,
            optimizer=optimizer_state.optimizer, optimizer_state=optimizer_state, **schedules,
            callbacks=[monitor, *callbacks, *self._make_tasks()],
            metrics=resolve_metrics(names, (self._network.task,)),
            functions=tuple(metric.name for metric in functions),
            progress=choose_progress(None, 1 if shows else 0, epochs, source.n_samples),
            threads=self._resolve_threads(),
        )  # fmt: skip
        self.n_iter_, self.history_ = 0, run.history
        try:
            run.run()
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=3)
        except TrainingDiverged as error:
            if monitor.best is None:
                raise ValueError(
                    "Solver produced non-finite parameter weights. The input data may contain "
                    f"large values and need to be preprocessed. ({error})"
                ) from error
            # The caller restores the best parameters so far, as after any early stopping.
            self.validation_scores_.append(np.nan)
            warnings.warn(str(error), ConvergenceWarning, stacklevel=3)
            return True
        return run.is_stopped

    def _resolve_batch_size(self, n_samples):
        if self.batch_size == "auto":
            return min(200, n_samples)
        if self.batch_size > n_samples:
            warnings.warn("Got `batch_size` less than 1 or larger than "
                          "sample size. It is going to be clipped", stacklevel=3)  # fmt: skip
        return int(min(self.batch_size, n_samples))

    def _split_validation(self, samples):
        # Return the `WeightedSamples` to train on, and those to validate with or None.
        validation_data = self.__dict__.get("_validation_data")
        if validation_data is not None:
            if self.validation_scores_ is None:
                self.validation_scores_ = []
            X, y = split_pair("validation_data", validation_data)
            for value in (X, y):
                check_unmasked("validation_data", value)
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
            return samples, WeightedSamples(X, np.asarray(y))
        if not self.early_stopping:
            return samples, None
        is_classifier = hasattr(self, "_label_binarizer")
        stratify = samples.y if is_classifier and self.n_outputs_ == 1 else None
        samples, held_out = split_samples(
            samples, self.validation_fraction, self._random_state, stratify
        )
        if is_classifier:
            held_out = held_out._replace(y=self._label_binarizer.inverse_transform(held_out.y))
        return samples, held_out

    def _score_held_out(self, held_out):
        # NaN, which is never the best score, if the outputs are not finite: training is about to
        # diverge.
        self._expose_parameters()
        try:
            return self._score(held_out.X, held_out.y, sample_weight=held_out.sample_weight)
        except FloatingPointError:
            return np.nan

    def _fit_lbfgs(self, X, y, sample_weight, activations, deltas, coef_grads, intercept_grads,
                   layer_units):  # fmt: skip
        self._check_lbfgs_arguments()
        network = self._prepare_network(X)
        self._set_packed_layout(network.size)
        samples = WeightedSamples(X, y, self._combine_weights(y, sample_weight))
        rows, targets = self._prepare_data(samples, X.shape[0])
        total = len(rows) if samples.sample_weight is None else samples.sample_weight.sum()
        optimizer = LBFGS(tol=self.tol, max_fun=self.max_fun, decay_bias=False,
                          weight_decay=self.alpha / total)  # fmt: skip
        objective = lbfgs.Objective(
            network.state, rows, targets, optimizer, self._resolve_threads()
        )

        tasks, self.n_iter_, is_stopped = self._make_tasks(), 0, False
        self.history_ = network.state.history = History()

        def finish_iteration(epoch):
            nonlocal is_stopped
            self.n_iter_, self.loss_ = epoch + 1, objective.last_loss
            self.history_.epochs.append({"loss": self.loss_})
            if self.verbose:
                print(f"Iteration {epoch + 1}, loss = {objective.last_loss:.8f}")
            is_stopped = any(task.on_epoch_end(network, epoch, {}) for task in tasks)
            if is_stopped:
                raise StopIteration
            for task in tasks:
                task.on_epoch_begin(network, epoch + 1)

        for task in tasks:
            task.on_epoch_begin(network, 0)
        try:
            result = lbfgs.minimize(objective, optimizer, self.max_iter, finish_iteration)
        finally:
            self._expose_parameters()
        if not is_stopped:
            self.n_iter_ = _check_optimize_result("lbfgs", result, self.max_iter)
            self.loss_ = result.fun
            for task in tasks:
                task.on_epoch_end(network, self.n_iter_, {})

    def _set_packed_layout(self, layer_units):
        # The offsets of the parameters in the vector that scikit-learn's `_loss_grad_lbfgs` takes.
        shapes = list(pairwise(layer_units))
        counts = [i * o for i, o in shapes] + [o for _, o in shapes]
        spans = list(pairwise(np.cumsum([0, *counts]).tolist()))
        self._coef_indptr = [
            (*span, shape) for span, shape in zip(spans[: len(shapes)], shapes, strict=True)
        ]
        self._intercept_indptr = spans[len(shapes) :]
