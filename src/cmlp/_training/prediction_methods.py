"""`PredictionMethods`: outputs, predictions and scores of a network."""

from cmlp._model.tasks import check_targets, convert_outputs, drop_single_column
from cmlp._training.arguments import convert_targets
from cmlp._training.inputs import convert_samples
from cmlp._training.metric_functions import check_functions, compute_functions
from cmlp._training.progress import make_prediction_progress
from cmlp._utils.threads import resolve_threads
from cmlp.metrics import Metrics, join_average, resolve_metrics, split_metrics


class PredictionMethods:
    """A mixin of the networks: it uses their state and the attributes that follow from it.

    A subclass has the methods `_infer` and `_evaluate`, and, as look-ups would slow down the
    prediction of one row, the attributes `_program` and `_has_probabilities`.
    """

    __slots__ = ()

    def __call__(self, X, *, threads=None, progress=None):
        """Return the outputs for samples as rows.

        Parameters
        ----------
        X : array_like, shape (n, inputs)
            As in `Network.fit`.
        threads : int, optional
            Maximum number of threads, as in `Network.fit`.
        progress : bool, optional
            True shows a bar.

        Returns
        -------
        ndarray, shape (n, outputs)

        Raises
        ------
        TypeError, ValueError
            If X does not fit or is not finite, or if parameters or outputs are not finite.
        """
        outputs = None if progress else self._program.predict_few(X)
        return self._predict_rows(X, threads, progress) if outputs is None else outputs

    def _predict_rows(self, X, threads, progress):
        rows = convert_samples(X, self.state.architecture, check_finite=False)
        with make_prediction_progress(progress, len(rows)) as display:
            outputs = self._infer(rows, resolve_threads(threads), display.update)
        if outputs is None:
            rows.check_finite(self.dtype)
        return outputs

    def predict_proba(self, X, *, threads=None, progress=None, comm=None):
        """Return the outputs as probabilities.

        Parameters
        ----------
        X, threads, progress, comm
            As in `predict`.

        Returns
        -------
        ndarray, shape (n, outputs)

        Raises
        ------
        TypeError
            If the outputs are not probabilities (sigmoid or softmax).
        """
        if not self._has_probabilities:
            raise TypeError(
                "output must be 'softmax' or 'sigmoid' for predict_proba; this network has "
                f"{self.output!r}"
            )
        if comm is not None:
            return self._predict_on_ranks(self.predict_proba, X, threads, progress, comm)
        outputs = None if progress else self._program.predict_few(X)
        return self._predict_rows(X, threads, progress) if outputs is None else outputs

    def predict(self, X, *, return_std=False, threads=None, progress=None, comm=None):
        """Return labels of a classifier, or the predictions of a regressor.

        Parameters
        ----------
        X, threads, progress
            As in `__call__`.
        return_std : bool, default False
            Whether to return standard deviations, too; only with `losses.gaussian_nll`.
        comm : communicator, optional
            As in `Network.fit`. All ranks pass the same X; each computes the predictions of some
            rows, and all return the predictions of all rows.

        Returns
        -------
        ndarray, shape (n,) or (n, outputs)
            For a classifier, int labels (n,): the index of the largest output or, with one
            output, whether it is at least 1/2 (a probability) or 0 (a hinge's score). If the task
            is multilabel, that for each output, int (n, outputs). For a regressor, the outputs,
            their exponential for the Poisson losses, the quantiles for `losses.pinball`, or the
            means for `losses.gaussian_nll`; (n,) if there is one of them.
        std : ndarray, shape (n,) or (n, targets)
            Only with `return_std`.

        Raises
        ------
        TypeError, ValueError
            As in `__call__`; if `return_std` is true for another loss.
        """
        architecture = self.state.architecture
        if return_std:
            architecture.loss.check_std()
        if comm is None:
            outputs = self(X, threads=threads, progress=progress)
        else:
            outputs = self._predict_on_ranks(self, X, threads, progress, comm)
        predictions = convert_outputs(architecture, self.state.task, outputs)
        if return_std:
            return predictions, drop_single_column(architecture.loss.predict_std(outputs))
        return predictions

    def _predict_on_ranks(self, method, X, threads, progress, comm):
        from cmlp._training.ranks import predict_on_ranks

        def predict(part, shows):
            return method(part, threads=threads, progress=progress if shows else False)

        return predict_on_ranks(predict, X, comm)

    def score(self, X, y, *, metric=None, average=None, threads=None, comm=None,
              distribute=False):  # fmt: skip
        """Return the accuracy of a classifier, the R^2 of a regressor, or another metric.

        Parameters
        ----------
        X, y : array_like
            As in `Network.fit`; y suits the network's task. With several outputs, R^2 is the mean
            over the targets; if the task is multilabel, a sample is correct if all its labels are.
        metric : str, Metric or callable, optional
            One of `cmlp.metrics`, or a function of (y_true, y_pred) as in `fit`.
        average : {"macro", "weighted", "micro", "samples", "binary"}, optional
            Of precision, recall and F1, as in scikit-learn: ``metric="f1", average="micro"`` is
            ``metric="f1_micro"``. By default ``"binary"`` (of class 1) if the task is binary, else
            ``"macro"``. ``"samples"`` needs the task multilabel.
        threads : int, optional
            Maximum number of threads, as in `Network.fit`.
        comm : communicator, optional
            As in `Network.fit`: return the score of the samples of all ranks, on each of them. That
            of a regressor depends on the number of ranks by rounding.
        distribute : bool, default False
            With `comm`: every rank is given all samples, and evaluates its part.

        Returns
        -------
        float
        """
        architecture, task = self.state.architecture, self.state.task
        metric = self.score_name if metric is None else metric
        if distribute and comm is None:
            raise ValueError("distribute=True requires comm")
        if callable(metric) and average is None:
            return self._score_by_function(X, y, metric, threads, comm, distribute)
        if average is not None:
            metric = join_average(metric, average, task)
        names = resolve_metrics(metric, (task,))
        threads = resolve_threads(threads)
        if comm is None:
            metrics = self._measure(X, y, names, threads)
            return metrics.value(names[0])
        from cmlp._training.ranks import measure_on_ranks

        metrics = measure_on_ranks(
            lambda X, y: self._measure(X, y, names, threads),
            lambda: Metrics(names, task, architecture.targets), X, y, comm, distribute,
        )  # fmt: skip
        return metrics.value(names[0])

    def _score_by_function(self, X, y, metric, threads, comm, distribute):
        architecture, (_, functions) = self.state.architecture, split_metrics(metric)
        check_functions(functions, architecture)
        threads = resolve_threads(threads)

        def compute(X, y):
            rows, targets, _ = self._convert_samples(X, y)
            return targets.array, self._infer(rows, threads, None)

        if comm is None:
            found = compute(X, y)
        else:
            from cmlp._training.ranks import join_outputs

            found = join_outputs(compute, X, y, comm, distribute)
        values = compute_functions(architecture, self.state.task, functions, *found)
        return values[functions[0].name]

    def _measure(self, X, y, names, threads):
        # Return the `Metrics` of samples.
        rows, targets, values = self._convert_samples(X, y)
        return self._evaluate(rows, targets, values, names, threads)

    def _convert_samples(self, X, y):
        # Return samples as rows, targets and the targets for a loss in Python.
        architecture = self.state.architecture
        rows = convert_samples(X, architecture)
        targets, values = convert_targets(architecture, rows, y, for_metrics=True)
        if len(rows) == 0:
            raise ValueError(f"X must have at least one sample; got shape (0, {rows.width})")
        check_targets(architecture.tasks, self.state.task, targets.array)
        return rows, targets, values
