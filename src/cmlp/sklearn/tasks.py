"""`TaskMixin`: the epochs of an estimator as tasks of scikit-learn's callbacks."""

from contextlib import contextmanager

from cmlp._training.scikit_tasks import CallbackSupportMixin, FitTasks
from cmlp.sklearn.parameters import expose_parameters
from cmlp.sklearn.unavailable import guard_arrays

# Attributes of a running fit, which copies for callbacks do not have.
OF_A_FIT = ("_tasks", "_is_fitting", "_ranks", "_validation_data")


class TaskMixin(CallbackSupportMixin):
    """A base of the estimators."""

    def __getstate__(self):
        return {key: value for key, value in super().__getstate__().items() if key not in OF_A_FIT}

    @contextmanager
    def _report_tasks(self, data):
        # Report the epochs of `fit` within a ``with`` block; `data`: its arguments.
        # L-BFGS reports the beginning of an iteration after the last one, too.
        epochs = self.max_iter + (self.solver == "lbfgs")
        context = self._init_callback_context(max_subtasks=epochs)
        self._tasks = FitTasks(self, context, data, 1, epochs, self._reconstruct)
        try:
            yield
            self._tasks.finish()
        finally:
            del self._tasks

    def _make_tasks(self):
        # Return the callbacks that report epochs to scikit-learn's callbacks, a list.
        tasks = self.__dict__.get("_tasks")
        return [] if tasks is None else tasks.make_callbacks()

    def _reconstruct(self, network):
        # Return the attributes of an estimator that predicts by a network.
        coefs, intercepts = expose_parameters(network, self._input_dtype)
        exposed = [*coefs, *intercepts]
        coefs, intercepts = guard_arrays(network, coefs, intercepts)
        return {"_network": network, "coefs_": coefs, "intercepts_": intercepts,
                "_exposed": exposed}  # fmt: skip
