"""`CombinationChecks`: arguments of the estimators that do not fit each other."""

import numpy as np

from cmlp._model.tasks import TASKS
from cmlp._training.arguments import start_schedules
from cmlp._training.metric_functions import check_monitors
from cmlp.callbacks import resolve_callbacks
from cmlp.metrics import resolve_metrics, split_metrics


class CombinationChecks:
    """A base of the estimators."""

    def _check_combinations(self):
        # Raise ValueError for arguments that do not fit each other or are not known.
        if self.batch_norm and self.normalization is not None:
            raise ValueError(
                f"normalization must be None with batch_norm=True; got {self.normalization!r}"
            )
        if isinstance(self.initializer, str) and self.initializer == "data":
            for name in ("normalization", "batch_norm"):
                if getattr(self, name):
                    raise ValueError(f"initializer must not be 'data' with {name}")
            if self._get_ranks():
                raise ValueError("initializer must not be 'data' with comm or shards")
        self._choose_loss()
        start_schedules(self)
        resolve_metrics(split_metrics(self.metrics or ())[0], TASKS)

    def _start_watchers(self, has_validation_data):
        # Return the schedules, a dict, and the callbacks, after `check_monitors`.
        schedules, callbacks = start_schedules(self), resolve_callbacks(self.callbacks or (), None)
        check_monitors(
            [schedules["schedule"], *callbacks], split_metrics(self.metrics or ())[1],
            has_validation_data or self.early_stopping, "validation_data or early_stopping=True",
        )  # fmt: skip
        return schedules, callbacks

    def _check_same_loss(self):
        # Raise ValueError if `loss` has been changed since the fit that training continues.
        if self._network.state.architecture.loss != self._choose_loss()[0]:
            raise ValueError(
                f"loss must not change with warm_start and partial_fit; got {self.loss!r} after "
                f"{self._network.loss!r}"
            )

    def _check_lbfgs_arguments(self):
        values = {name: getattr(self, name) for name in (
            "optimizer", "schedule", "decay_schedule", "dropout_schedule", "callbacks", "max_norm",
        )}  # fmt: skip
        values["validation_data"] = self.__dict__.get("_validation_data")
        values["comm or shards"] = self._get_ranks()
        for name in ("dropout", "input_dropout", "input_noise"):
            values[name] = getattr(self, name) if np.any(getattr(self, name)) else None
        values["metrics"] = self.metrics or None
        values["a loss that is a callable"] = self._choose_loss()[0].call
        for name, value in values.items():
            if value is not None:
                raise ValueError(f"solver='lbfgs' does not support {name}")
