"""`TrainingLoop`: the rounds of one call of `fit`, on the client."""

import time
import warnings

from sklearn.exceptions import ConvergenceWarning

from cmlp._training.history import History
from cmlp.dask.rounds import Replica, Round, compute_settings
from cmlp.errors import TrainingDiverged
from cmlp.optimizers import SGD
from cmlp.schedules import start_schedule


class AveragedNetwork:
    """The average of a round as `TrainingMonitor` reads it: its snapshots are futures.

    Parameters
    ----------
    run : ClusterRun
    score_name : str
    """

    def __init__(self, run, score_name):
        self.run, self.score_name = run, score_name

    @property
    def state(self):
        """The object itself, which has the method `snapshot`."""
        return self

    def snapshot(self):
        """Return the future of the replica, whose arrays stay on the cluster."""
        return self.run.replica


class TrainingLoop:
    """The rounds of one call of `fit`.

    Parameters
    ----------
    run : ClusterRun
        Its partitions are prepared.
    network : Network
        Trained in place when the rounds end, and before callbacks.
    learning_rate : cmlp.sklearn.schedules.LearningRate
    schedule : Schedule, callable or None
    monitor : TrainingMonitor
    callbacks : list of Callback
    validates : bool
        Whether to score each average on the samples that were held out.

    Attributes
    ----------
    history : History
        A record for each round.
    is_stopped : bool
        Whether a stopping rule, a callback or divergence has ended training.
    """

    def __init__(self, run, network, learning_rate, schedule, monitor, callbacks,
                 validates):  # fmt: skip
        self.run, self.network, self.learning_rate = run, network, learning_rate
        self.schedule = None if schedule is None else start_schedule(schedule)
        self.monitor, self.callbacks = monitor, callbacks
        self.history, self.is_stopped = History(), False
        self.last_rate = learning_rate.learning_rate
        self.score: float | None = None
        monitor.validate = self.get_score if validates else None

    def get_score(self):
        """Return the score of the last round."""
        return self.score

    def start(self, plan, replicas):
        """Give the cluster the network's parameters and the optimizer's state."""
        state, optimizer_state = self.network.state, self.learning_rate.optimizer_state
        self.plan = plan
        optimizer_state.update_frozen(state.parameters)
        optimizer_state.begin(state.parameters)
        self.run.start(Replica.capture(state, optimizer_state), plan, replicas)

    def train(self, rounds):
        """Train for some rounds, and load the result into the network.

        Raises
        ------
        ValueError
            If training diverges, unless early stopping has parameters to restore.
        """
        state, optimizer_state = self.network.state, self.learning_rate.optimizer_state
        state.history = self.history
        for callback in self.callbacks:
            callback.on_train_begin(self.network)
        try:
            while len(self.history.epochs) < rounds and not self.is_stopped:
                self.train_round()
        except KeyboardInterrupt:
            self.handle_interrupt()
        except TrainingDiverged as error:
            self.handle_divergence(error)
        self.run.replica.result().load(state, optimizer_state)
        self.scale_momentum()
        optimizer_state.end(state.parameters)
        state.epoch += len(self.history.epochs)
        for callback in self.callbacks:
            callback.on_train_end(self.network, self.history)
        if self.monitor.best is not None:
            self.monitor.best.result().load_averages(state)
            self.monitor.best = None  # the workers may forget it

    def train_round(self):
        """Train for one round and record it."""
        number, start = len(self.history.epochs), time.perf_counter()
        for callback in self.callbacks:
            callback.on_epoch_begin(self.network, number)
        turn = self.make_round(number)
        self.last_rate = self.learning_rate.learning_rate
        found = self.run.run_round(turn, self.monitor.validate is not None)
        seconds = time.perf_counter() - start
        record = {"loss": found.loss / found.weight}
        if self.learning_rate.optimizer_state.optimizer.penalty is not None:
            record["penalty"] = found.penalty / found.weight
        record |= {"lr": self.get_last_rate(turn), "seconds": seconds,
                   "samples_per_second": found.n_samples / max(seconds, 1e-9)}  # fmt: skip
        self.score = found.score
        view = AveragedNetwork(self.run, self.network.state.score_name)
        self.is_stopped = self.monitor.on_epoch_end(view, number, record)
        self.history.epochs.append(record)
        if self.schedule is not None:
            self.schedule.observe(record)
        if self.callbacks:
            self.run.replica.result().load_averages(self.network.state)
            answers = [c.on_epoch_end(self.network, number, record) for c in self.callbacks]
            self.is_stopped |= any(answer is True for answer in answers)

    def get_last_rate(self, turn):
        """Return the learning rate of the last step of a round, on its largest partition."""
        plan = self.plan
        n_samples = max(n_samples for n_samples, *_ in self.run.sizes)
        steps = plan.count_steps(n_samples)
        last = (plan.local_steps or steps) - 1
        return compute_settings(plan, turn, last, 1, steps).get_rate(0)

    def make_round(self, number):
        """Return the arguments of a round's tasks."""
        rate, schedule, factor = self.learning_rate.learning_rate, self.schedule, 1.0
        if schedule is None:
            factor = self.get_momentum_factor()
        elif hasattr(schedule, "epoch_factor"):  # computed from records, which only the client has
            lr = self.learning_rate.optimizer_state.optimizer.lr
            rate, schedule = lr * schedule.epoch_factor, None
        return Round(number, self.network.state.epoch + number, rate, factor, schedule)

    def get_momentum_factor(self):
        """Return the factor of SGD's momentum buffer since the last round; see `LearningRate`."""
        optimizer, rate = self.learning_rate.optimizer_state.optimizer, self.learning_rate
        if isinstance(optimizer, SGD) and optimizer.momentum:
            return self.last_rate / rate.learning_rate
        return 1.0

    def scale_momentum(self):
        """Scale the momentum buffer of the last round for the learning rate after it."""
        factor = self.get_momentum_factor() if self.schedule is None else 1.0
        if factor != 1:
            self.learning_rate.optimizer_state.blocks["state_0"] *= factor

    def handle_interrupt(self):
        """Keep the result of the last round, as scikit-learn does."""
        warnings.warn("Training interrupted by user.", stacklevel=6)

    def handle_divergence(self, error):
        """Stop; raise `ValueError` unless there are earlier parameters to restore."""
        if self.monitor.best is None:
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                f"values and need to be preprocessed. ({error})"
            ) from error
        self.monitor.estimator.validation_scores_.append(float("nan"))
        warnings.warn(str(error), ConvergenceWarning, stacklevel=6)
        self.is_stopped = True
