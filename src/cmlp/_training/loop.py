"""`TrainingRun`: one call of `fit`, epoch by epoch."""

import time

from cmlp._core.training import EpochRun
from cmlp._model.optimizer_state import OptimizerState
from cmlp._training import checkpoint
from cmlp._training.epochs import is_unwatched, run_epochs
from cmlp._training.history import History
from cmlp._training.run_state import Position, RunState
from cmlp._training.step_settings import StepSettings, compute_settings
from cmlp._utils.schema import FiniteArray
from cmlp.errors import TrainingDiverged
from cmlp.metrics import Metrics
from cmlp.optimizers import SGD


class TrainingRun:
    """One call of `fit`.

    Parameters
    ----------
    network : Network
        The network to train; callbacks receive it.
    source : ArraySource or BatchSource
    validate : callable or None
        Called without arguments after each epoch; returns a dict of the quantities of validation
        data and of metrics that are functions.
    epochs : int
    optimizer : cmlp.optimizers.Optimizer
    optimizer_state : OptimizerState
    schedule, decay_schedule, dropout_schedule : object or None
        See `cmlp.schedules.start_schedule`.
    callbacks : list of cmlp.callbacks.Callback
    metrics : tuple of str
    functions : tuple of str, default ()
        Names of metrics that are functions, which `validate` computes.
    progress : cmlp._training.progress.Progress
    threads : int
    restore_good : bool
        Whether divergence restores the parameters of the last finite epoch.
    task_choice : cmlp._training.arguments.TaskChoice, optional
        Its attribute `task` becomes the network's, before the first step on the targets that choose
        it. Without one the network keeps its task.

    Attributes
    ----------
    history : History
    position : Position
    is_stopped : bool
        Whether a callback has stopped the run.
    last_step : int
        Number of the latest step within its epoch.
    observed : int or None
        Number of samples of the chunk up to the last step that callbacks have observed or are
        observing; None outside of chunks, and if no callback observes steps.
    is_cancelled : bool
        Set by another thread to end training between two steps.
    checks_parameters : bool
        Whether `run` looks for parameters that are not finite before the first epoch.
    is_consistent : bool
        Whether a checkpoint can be written: callbacks and schedule have observed exactly the epochs
        before `position`, and the network has the parameters that are trained.
    """

    def __init__(self, network, source, *, validate, epochs, optimizer, optimizer_state, schedule,
                 callbacks, metrics, progress, threads, restore_good=False, task_choice=None,
                 decay_schedule=None, dropout_schedule=None, functions=()):  # fmt: skip
        self.network, self.state, self.source = network, network.state, source
        self.validate, self.epochs = validate, epochs
        self.optimizer, self.optimizer_state, self.schedule = optimizer, optimizer_state, schedule
        self.decay_schedule, self.dropout_schedule = decay_schedule, dropout_schedule
        self.callbacks, self.metrics, self.progress = callbacks, metrics, progress
        self.functions = functions
        self.threads, self.restore_good = threads, restore_good
        self.history, self.position = History(), Position()
        self.first_epoch = self.state.epoch
        self.is_stopped = self.is_cancelled = False
        self.last_step = 0
        self.observed = None
        self.is_consistent, self.checks_parameters = False, True
        self.callback_states = None
        self.task_choice = task_choice
        self.metric_sums = self.make_metrics()

    writes_files = True  # whether callbacks may write files
    is_first_rank = True  # whether this process is the only one, or the first of several

    def make_metrics(self):
        """Return metrics whose sums are zero."""
        task = (self.task_choice and self.task_choice.task) or self.state.task
        return Metrics(self.metrics, task, self.state.architecture.targets)

    def adopt_task(self):
        """Give the network the task that the targets so far choose.

        Raises
        ------
        ValueError
            If it changes while the epoch's metrics are being summed.
        """
        if self.task_choice is None:
            return
        sums, task = self.metric_sums, self.task_choice.task
        if sums.task != task:
            if self.metrics and sums.samples:
                raise ValueError(
                    "y must be of one task in all batches if metrics are given; "
                    f"got {task!r} after {sums.task!r}"
                )
            self.metric_sums = self.make_metrics()
        self.state.task = task

    def run(self):
        """Train and return the `History`.

        Raises
        ------
        TrainingDiverged
            If the loss of a batch, or a parameter before training or at the end of an epoch, is
            not finite.
        """
        parameters, is_trained = self.state.parameters, False
        if self.checks_parameters:
            self.state.check_finite()
        try:
            self.begin()
            self.progress.epoch = self.position.epoch
            with self.progress:
                while self.position.epoch < self.epochs and not self.is_stopped:
                    if is_unwatched(self):
                        run_epochs(self)
                    else:
                        self.run_epoch()
            self.is_consistent, is_trained = False, True
            self.optimizer_state.end(parameters)
            self.notify("on_train_end", self.history)
            self.state.training = self.summarize()
        except BaseException as error:
            if not is_trained:  # Ctrl-C may have left the averages of a validation in the network
                self.optimizer_state.begin(parameters)
            if self.observed not in (None, self.position.to_numbers().done):
                self.is_consistent = False  # Ctrl-C came between a step and `on_batch_end`
            self.notify("on_error", self, error)
            raise
        return self.history

    def begin(self):
        """Prepare network and callbacks for the first step."""
        self.optimizer_state.update_frozen(self.state.parameters)
        self.optimizer_state.begin(self.state.parameters)
        self.discard_averages()
        for callback in self.callbacks:
            if callback.writes_files != self.is_first_rank:
                callback.writes_files = self.is_first_rank
        self.notify("on_train_begin")
        if self.callback_states is not None:
            for callback, callback_state in zip(self.callbacks, self.callback_states, strict=True):
                callback.load_state(callback_state)
        self.state.checkpoint, self.state.history = None, self.history
        self.is_consistent = True

    def discard_averages(self):
        """Discard the optimizer of `partial_fit` if this run trains its averaged parameters.

        Its next call would continue from the parameters before this run.
        """
        optimizer_state = self.state.optimizer
        if optimizer_state not in (None, self.optimizer_state) and optimizer_state.is_averaged:
            self.state.optimizer = None

    def summarize(self):
        """Return the record of the run that files store, a dict."""
        last = self.history.epochs[-1] if self.history.epochs else {}
        return {
            "optimizer": self.optimizer.describe(), "epochs": len(self.history.epochs),
            "samples": self.source.n_samples,
            **{name: value for name, value in last.items() if isinstance(value, (int, float))},
        }  # fmt: skip

    def notify(self, event, *arguments):
        """Call the method `event` of all callbacks; return whether one of them returns True."""
        answers = [getattr(c, event)(self.network, *arguments) for c in self.callbacks]
        return any(answer is True for answer in answers)

    def agree(self, is_stopped):
        """Return whether the run stops, if this process would stop it."""
        return is_stopped

    def run_epoch(self):
        """Train for one epoch, or for the rest of a resumed one, and record it."""
        state, epoch = self.state, self.position.epoch
        if self.position.chunk == 0 and self.position.to_numbers().done == 0:
            self.notify("on_epoch_begin", epoch)
        self.optimizer_state.update_frozen(state.parameters)  # callbacks may freeze layers
        finite = state.snapshot() if self.restore_good else None
        try:
            is_stopped = self.train_epoch()
            self.check_finite()
        except TrainingDiverged:
            if finite is not None:
                state.restore(finite)
            raise
        record = self.summarize_epoch()
        with self.optimizer_state.use_averages(state.parameters):
            if self.validate is not None:
                record.update(self.validate())
            self.is_consistent = False
            self.history.epochs[epoch:] = [record]
            is_stopped = self.notify("on_epoch_end", epoch, record) or is_stopped
            if self.schedule is not None:
                self.schedule.observe(record)  # after callbacks, which may extend the record
            self.is_stopped = self.agree(is_stopped)
        self.metric_sums = self.make_metrics()
        state.epoch = self.first_epoch + epoch + 1
        self.position = Position(epoch + 1)
        self.is_consistent = True
        self.progress.finish_epoch(epoch, record)
        self.notify("on_pause", self)

    def check_finite(self):
        """Raise `TrainingDiverged` if a parameter or a running statistic is not finite."""
        if not self.state.program.is_finite():
            raise TrainingDiverged(self.position.epoch, self.last_step)

    def summarize_epoch(self):
        """Return the training quantities of the epoch that has ended, a dict."""
        p = self.position
        return self.make_record(p.loss, p.weight, p.penalty, p.trained, p.seconds, p.lr)

    def make_record(self, loss, weight, penalty, trained, seconds, lr):
        """Return an epoch's record, a dict; the arguments are attributes of `Position`."""
        weight = weight if weight > 0 else 1.0
        record = {"loss": loss / weight}
        if self.optimizer.penalty is not None:
            record["penalty"] = penalty / weight
        if self.metrics:
            record.update(self.metric_sums.results())
        record["lr"], record["seconds"] = lr, seconds
        record["samples_per_second"] = trained / max(seconds, 1e-9)
        return record

    def train_epoch(self):
        """Train on the chunks of an epoch; return whether a callback stops the run."""
        number, state = -1, self.state
        for number, chunk in enumerate(self.source.chunks(state.architecture.seed, state.epoch)):
            if number < self.position.chunk:
                continue  # processed before the checkpoint
            self.adopt_task()
            if self.train_chunk(chunk):
                return True
            self.notify("on_pause", self)
        if number + 1 < self.position.chunk:
            raise ValueError(
                f"X gave {number + 1} batches in epoch {self.position.epoch}; the checkpoint was "
                f"written after batch {self.position.chunk}"
            )
        if number < 0:
            raise ValueError(
                f"X must yield at least one batch in each epoch; got none in epoch "
                f"{self.position.epoch}; an iterator can be read only once: pass a list, a data "
                "loader, or a callable that returns a new iterator"
            )
        return False

    def train_chunk(self, chunk):
        """Train on one chunk, a time slice at a time; return whether a callback stops the run."""
        before = self.position
        steps = -(-chunk.n_samples // chunk.batch_size)
        settings = compute_settings(self, chunk.first_step, steps)
        start = time.perf_counter()
        with self.make_epoch_run(chunk, settings) as epoch_run:
            epoch_run.resume(before.done, before.loss, before.weight, before.penalty)
            self.position = before._replace(epoch_run=epoch_run, start=start)
            is_stopped = self.run_slices(epoch_run, chunk)
            self.position = Position(
                before.epoch, before.chunk + 1, loss=epoch_run.loss, weight=epoch_run.weight,
                penalty=epoch_run.penalty, trained=before.trained - before.done + epoch_run.done,
                seconds=before.seconds + time.perf_counter() - start,
                lr=settings.get_rate((epoch_run.done - 1) // chunk.batch_size),
            )  # fmt: skip
        return is_stopped

    def run_slices(self, epoch_run, chunk):
        """Run time slices, or single steps for callbacks that need them, until the chunk is done.

        Returns
        -------
        bool
            Whether a callback stops the run.
        """
        before, epoch = self.position, self.position.epoch
        steps = int(any(callback.wants_batches for callback in self.callbacks))
        is_unfinished = epoch_run.done < chunk.n_samples  # not after Ctrl-C in its last step
        self.observed = epoch_run.done if steps else None
        is_stopped, interrupt = False, None
        while is_unfinished and not is_stopped:
            done = epoch_run.done
            try:
                is_unfinished = epoch_run.run(steps)
            except KeyboardInterrupt as error:
                if epoch_run.done == done or not steps:
                    raise
                interrupt = error  # of a complete step, which callbacks have to observe
            self.last_step = step = chunk.first_step + (epoch_run.done - 1) // chunk.batch_size
            if epoch_run.has_diverged:
                raise self.diverge(step)
            if self.is_cancelled:
                interrupt = KeyboardInterrupt()
            if steps:
                self.observed = epoch_run.done
                is_stopped = self.agree(
                    self.notify("on_batch_end", epoch, step, epoch_run.last_loss)
                )
            if interrupt is not None:
                self.is_consistent = not is_stopped
                raise interrupt
            if is_unfinished and not is_stopped:
                self.notify("on_pause", self)
            if self.progress.update is not None:
                mean = epoch_run.loss / epoch_run.weight if epoch_run.weight > 0 else None
                self.progress.update(before.trained - before.done + epoch_run.done, mean)
        self.observed = None
        return is_stopped

    @property
    def kept_optimizer_state(self):
        """The state from which `partial_fit` continues."""
        return self.optimizer_state

    def diverge(self, step):
        """Return the error of a step whose loss is not finite."""
        return TrainingDiverged(self.position.epoch, step)

    def make_epoch_run(self, chunk, settings):
        """Return the engine's run of a chunk with these `StepSettings`."""
        loss = self.state.architecture.loss
        return EpochRun(
            self.state.program, chunk.rows, chunk.targets, chunk.order, chunk.batch_size, settings,
            self.threads, optimizer=self.optimizer_state.kernel,
            noise=(self.state.architecture.seed, self.state.epoch), sums=self.metric_sums.sums,
            loss=loss if loss.call else None, values=chunk.values,
            chunk=(chunk.sample_offset, chunk.first_step, chunk.steps),
        )  # fmt: skip

    @property
    def signature(self):
        """Properties that another call of `fit` must share to resume this one; a dict."""
        return {
            **self.source.fingerprint,
            "optimizer": self.optimizer.describe(),
            "schedule": None if self.schedule is None else type(self.schedule).__name__,
            **self.describe_schedules(),
            "metrics": list(self.metrics),
            **({"metric_functions": list(self.functions)} if self.functions else {}),
            "callbacks": [type(callback).__name__ for callback in self.callbacks],
        }

    def describe_schedules(self):
        """Return the names of given schedules of decay and dropout, and `epochs` if one needs it.

        Only a schedule that depends on the number of epochs prevents a resumed run from having
        another one.
        """
        given = {"decay_schedule": self.decay_schedule, "dropout_schedule": self.dropout_schedule}
        found = {name: type(each).__name__ for name, each in given.items() if each is not None}
        schedules = self.schedule, *given.values()
        if any(getattr(each, "depends_on_epochs", False) for each in schedules):
            found["epochs"] = self.epochs
        return found

    def capture(self):
        """Return the `RunState` between two steps; its arrays are not copied."""
        position, sums = self.position.to_numbers(), self.metric_sums
        return RunState(
            signature=self.signature,
            position=position,
            is_stopped=self.is_stopped,
            optimizer_position=self.optimizer_state.position,
            optimizer_arrays=self.optimizer_state.to_arrays(),
            metric_samples=sums.samples if sums.sums is not None else 0,
            metric_arrays=sums.arrays if sums.sums is not None else {},
            schedule=self.schedule.state() if hasattr(self.schedule, "state") else None,
            history=self.history.epochs[: position.epoch],
            callbacks=[(type(c).__name__, c.state()) for c in self.callbacks],
        )

    def restore(self, saved):
        """Continue from the state of an interrupted run.

        Parameters
        ----------
        saved : RunState

        Raises
        ------
        ValueError
            If an argument of `fit` differs from the other run's, or the saved state is not that of
            such a run; nothing is changed.
        """
        checkpoint.check_signature(saved.signature, self.signature)
        try:
            self.check_restore(saved)
        except ValueError as error:
            raise ValueError(f"{saved.path} is not a checkpoint to resume: {error}") from None
        self.optimizer_state.load_arrays(saved.optimizer_arrays)
        self.optimizer_state.position = saved.optimizer_position
        for name, array in saved.metric_arrays.items():
            self.metric_sums.arrays[name][:] = array
        if self.metric_sums.sums is not None:
            self.metric_sums.sums.samples = saved.metric_samples
        if saved.schedule is not None:
            self.schedule.load_state(saved.schedule)
        self.history.epochs[:] = saved.history
        self.is_stopped, self.position = saved.is_stopped, saved.position
        self.first_epoch -= saved.position.epoch
        self.callback_states = [state for _, state in saved.callbacks]

    def check_restore(self, saved):
        """Raise `ValueError` unless this run can take all of a saved state."""
        self.optimizer_state.check_arrays(saved.optimizer_arrays)
        sums = self.metric_sums.arrays if self.metrics else {}
        if set(saved.metric_arrays) != set(sums):
            raise ValueError(
                f"it must have the sums {sorted(sums)} for metrics={list(self.metrics)}; "
                f"got {sorted(saved.metric_arrays)}"
            )
        for name, array in sums.items():
            FiniteArray(array.shape, array.dtype).check(f"tally_{name}", saved.metric_arrays[name])
        if hasattr(self.schedule, "state") != (saved.schedule is not None):
            raise ValueError("schedule must be the state of a schedule that has one, else null")
        if hasattr(self.schedule, "check_state"):
            self.schedule.check_state("schedule", saved.schedule)
        for i, (callback, (_, state)) in enumerate(
            zip(self.callbacks, saved.callbacks, strict=True)
        ):
            callback.check_state(f"callbacks[{i}]", state, self.network, saved.position.epoch)

    def to_model_state(self):
        """Return the network's state with a checkpoint of this run; the arrays are shared."""
        return self.state.share(
            epoch=self.first_epoch + self.position.epoch, optimizer=None,
            checkpoint=checkpoint.to_snapshot(self.capture()),
        )  # fmt: skip

    def save(self, path):
        """Write a checkpoint of this run, an ``.npz`` file, between two steps.

        Raises
        ------
        TrainingDiverged
            If a parameter is not finite; an earlier checkpoint at `path` remains.
        """
        from cmlp import formats

        self.check_finite()
        formats.get_format("npz").write(self.to_model_state(), path)


def train_plain_epoch(state, rows, targets, order, batch_size, rate, threads, *, epoch=0,
                      noise=None):  # fmt: skip
    """Train for one epoch by plain gradient descent, without callbacks or time slices.

    Parameters
    ----------
    state : ModelState
    rows, targets, order, batch_size, rate, threads, noise
        As for `EpochRun`.
    epoch : int, default 0
        The number of the epoch in an error.

    Returns
    -------
    loss, last_loss : float
        Mean over the epoch, and over its last batch.

    Raises
    ------
    TrainingDiverged
        If the loss of a batch, or a parameter after the last one, is not finite.
    """
    kernel = None
    if state.parameters.frozen:
        optimizer_state = OptimizerState(SGD(rate), state.parameters)
        optimizer_state.update_frozen(state.parameters)
        kernel = optimizer_state.kernel
    with EpochRun(
        state.program, rows, targets, order, batch_size, StepSettings(rate), threads, noise=noise,
        optimizer=kernel,
    ) as epoch_run:  # fmt: skip
        while epoch_run.run():
            pass
        if epoch_run.has_diverged or not state.program.is_finite():
            raise TrainingDiverged(epoch, (epoch_run.done - 1) // batch_size)
        return epoch_run.mean_loss, epoch_run.last_loss
