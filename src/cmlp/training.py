"""Training at the grain of an epoch: order, validation, history, progress."""

import time

import numpy as np

from cmlp._core import epochs as engine
from cmlp.callbacks import wants_batches
from cmlp.errors import TrainingDiverged
from cmlp.metrics import Metrics
from cmlp.running import Place


class History:
    """What happened in each epoch of a call of `fit`.

    Attributes
    ----------
    epochs : list of dict
        Of each epoch `loss` (the mean over its batches, each before its step), `penalty`, the
        part of it that is the optimizer's, where it has one, the metrics asked for, likewise,
        `lr`, `seconds`, `samples_per_second` and, with validation data, `val_loss`,
        `val_accuracy` (classification) or `val_r2` (regression), and the metrics with `val_`
        before them.
    """

    def __init__(self):
        self.epochs = []

    def __getitem__(self, name):
        """Return one quantity over the epochs, as a list."""
        return [epoch[name] for epoch in self.epochs]

    def __len__(self):
        return len(self.epochs)

    def __repr__(self):
        names = ", ".join(self.epochs[0]) if self.epochs else "nothing"
        return f"<History of {len(self)} epochs: {names}>"

    def to_dict(self):
        """Return the quantities as a dict of lists, one number an epoch."""
        return {name: self[name] for name in self.epochs[0]} if self.epochs else {}

    def plot(self, names=None, ax=None):
        """Draw quantities over the epochs, by Matplotlib, the extra ``plot``.

        Parameters
        ----------
        names : sequence of str, optional
            By default the losses and metrics.
        ax : matplotlib.axes.Axes, optional
            Where losses are drawn; the others are on a second axis beside it.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            Without Matplotlib.
        """
        from cmlp import plot

        return plot.history(self.epochs, names, ax)


def shuffled(key, epoch, samples):
    """Return the order of an epoch: uint32, shape (samples,), by key and epoch alone."""
    order = np.empty(samples, np.uint32)
    engine.shuffle(order, key, epoch)
    return order


class Samples:
    """Arrays to train on.

    Parameters
    ----------
    rows, targets : cmlp._core.samples.Rows, Targets
    values : ndarray or None
        What a loss in Python compares outputs with.
    subset : ndarray of uint32 or None
        The rows to train on; None means all.
    batch_size : int
    shuffle : bool
    """

    def __init__(self, rows, targets, values, subset, batch_size, shuffle):
        self.rows, self.targets, self.values = rows, targets, values
        self.subset, self.batch_size, self.shuffle = subset, batch_size, shuffle
        self.samples = len(rows) if subset is None else len(subset)
        self.steps = -(-self.samples // batch_size)

    def parts(self, network, epoch):
        """Yield the only part of an epoch: rows, targets, values, order, batch size, place."""
        order = self.subset
        if self.shuffle:
            order = shuffled(network.seed, network._epoch, self.samples)
            order = order if self.subset is None else self.subset[order]
        place = 0, 0, self.steps
        yield self.rows, self.targets, self.values, order, self.batch_size, place

    @property
    def fingerprint(self):
        """What another call of `fit` must have alike to go on where this one was."""
        return {"samples": self.samples, "batch_size": self.batch_size, "shuffle": self.shuffle}


class Batches:
    """An iterable of batches to train on.

    Parameters
    ----------
    source : iterable or callable
        Of (X, y) or (X, y, sample_weight); a callable returns such an iterable.
    convert : callable
        Of these, giving rows, targets and values.
    """

    samples = None

    def __init__(self, source, convert):
        self.source, self.convert = source, convert
        self.steps = len(source) if hasattr(source, "__len__") else None

    def check(self, schedule, optimizer):
        """Raise where an epoch's steps must be known, and are not."""
        if self.steps is None and (schedule is not None or getattr(optimizer, "accumulate", 1) > 1):
            raise ValueError(
                "a schedule, and an optimizer that accumulates, need the number of batches of "
                "an epoch: X must have a length"
            )

    def parts(self, network, epoch):
        """Yield each batch as `Samples.parts` yields its part."""
        place, number = 0, -1
        for number, batch in enumerate(self.source() if callable(self.source) else self.source):
            rows, targets, values = self.convert(batch, number)
            yield rows, targets, values, None, len(rows), (place, number, self.steps or 0)
            place += len(rows)
        if number < 0:
            raise ValueError(
                f"X gave no batches in epoch {epoch}; an iterator can be read once, give a list, "
                "a data loader, or a callable that returns a new iterator"
            )

    @property
    def fingerprint(self):
        """What another call of `fit` must have alike to go on where this one was."""
        return {"steps": self.steps}


class Course:
    """One call of `fit`: what its epochs have in common, and where it is.

    Parameters
    ----------
    network : Network
    source : Samples or Batches
    validate : callable or None
        Returns a dict of validation quantities.
    epochs : int
    optimizer : cmlp.optimizers.Optimizer
    running : Running
    schedule : a schedule that has begun, or None
    callbacks : list of cmlp.callbacks.Callback
    metrics : tuple of str
    progress : cmlp.progress.Progress
    threads : int
    restore_good : bool
        Whether the parameters of the last good epoch come back when training diverges.

    Attributes
    ----------
    place : Place
    stopped : bool
        Whether a callback has ended it.
    cancelled : bool
        Set from another thread, it ends training between two steps.
    settled : bool
        Whether the callbacks and the schedule have seen as many epochs as `place` says.
    resumed : list of dict
        What a checkpoint kept of each callback.
    """

    def __init__(self, network, source, *, validate, epochs, optimizer, running, schedule,
                 callbacks, metrics, progress, threads, restore_good=False):  # fmt: skip
        self.network, self.source, self.validate, self.epochs = network, source, validate, epochs
        self.optimizer, self.running, self.schedule = optimizer, running, schedule
        self.callbacks, self.metrics, self.progress = callbacks, metrics, progress
        self.threads, self.restore_good = threads, restore_good
        self.history, self.place = History(), Place()
        self.first_epoch = network._epoch
        self.stopped = self.cancelled = False
        self.settled, self.resumed = True, []
        self.tally = self.new_tally()

    def new_tally(self):
        """Return metrics that have seen nothing."""
        return Metrics(self.metrics, self.network.is_classifier, self.network.size[-1])

    def run(self):
        """Train and return the `History`.

        Raises
        ------
        TrainingDiverged
            When the loss of a batch is not finite.
        """
        try:
            self.running.begin(self.network)
            self.tell("on_train_begin")
            for callback, state in zip(self.callbacks, self.resumed, strict=False):
                callback.load_state(state)
            with self.progress:
                while self.place.epoch < self.epochs and not self.stopped:
                    self.run_epoch()
            self.running.end(self.network)
            self.tell("on_train_end", self.history)
            self.network._training = self.summary()
        except BaseException as error:
            self.tell("on_error", self, error)
            raise
        return self.history

    def summary(self):
        """Return a record of the training as files keep it."""
        last = self.history.epochs[-1] if self.history.epochs else {}
        return {
            "optimizer": repr(self.optimizer), "epochs": len(self.history),
            "samples": self.source.samples,
            **{name: value for name, value in last.items() if isinstance(value, (int, float))},
        }  # fmt: skip

    def tell(self, event, *arguments):
        """Tell all callbacks; returns whether one of them answers True."""
        answers = [getattr(c, event)(self.network, *arguments) for c in self.callbacks]
        return any(answer is True for answer in answers)

    def run_epoch(self):
        """Train for one epoch, or for what is left of it, and take note of it."""
        network, epoch = self.network, self.place.epoch
        if self.place.part == self.place.done == 0:
            self.tell("on_epoch_begin", epoch)
        good = network._snapshot() if self.restore_good else None
        try:
            stop = self.train()
        except TrainingDiverged:
            if good is not None:
                network._restore(good)
            raise
        place = self.place
        loss, weight, penalty = place.sums
        weight = weight if weight > 0 else 1.0
        record = {
            "loss": loss / weight,
            **({} if self.optimizer.penalty is None else {"penalty": penalty / weight}),
            **self.tally.results(),
            "lr": place.lr,
            "seconds": place.seconds,
            "samples_per_second": place.trained / max(place.seconds, 1e-9),
        }
        with self.running.averaged(network):
            if self.validate is not None:
                record.update(self.validate())
            self.settled = False
            self.history.epochs[epoch:] = [record]
            if self.schedule is not None:
                self.schedule.observe(record)
            self.stopped = self.tell("on_epoch_end", epoch, record) or stop
        self.tally = self.new_tally()
        network._epoch = self.first_epoch + epoch + 1
        self.place = Place(epoch + 1)
        self.settled = True
        self.progress.epoch_done(epoch, record)
        self.tell("on_pause", self)

    def train(self):
        """Train on the parts of an epoch; returns whether a callback stops it."""
        for number, part in enumerate(self.source.parts(self.network, self.place.epoch)):
            if number < self.place.part:
                continue  # an earlier run has been there
            if self.train_part(*part):
                return True
            self.tell("on_pause", self)
        return False

    def train_part(self, rows, targets, values, order, batch_size, where):
        """Train on one part of an epoch, breath by breath; returns whether a callback stops it."""
        network, before = self.network, self.place
        samples = len(rows) if order is None else len(order)
        rates = self.rates(where[1], -(-samples // batch_size))
        loss = network._architecture.loss
        start = time.perf_counter()
        with engine.Epoch(
            network._program, rows, targets, order, batch_size, self.optimizer.lr, self.threads,
            optimizer=self.running.engine, rates=rates, noise=(network.seed, network._epoch),
            tally=self.tally.tally, loss=loss if loss.call else None, values=values, part=where,
        ) as live:  # fmt: skip
            live.resume(before.begun, *before.sums)
            self.place = before._replace(live=live)
            steps = int(wants_batches(self.callbacks))
            goes_on, stop = True, False
            while goes_on and not stop:
                goes_on = live.run(steps)
                step = (live.done - 1) // batch_size
                if live.diverged:
                    raise TrainingDiverged(before.epoch, where[1] + step)
                if self.cancelled:
                    raise KeyboardInterrupt
                if steps:
                    stop = self.tell("on_batch_end", before.epoch, where[1] + step, live.last_loss)
                if goes_on and not stop:
                    self.tell("on_pause", self)
                if self.progress.tick is not None:
                    self.progress.tick(before.trained - before.begun + live.done)
            self.place = Place(
                before.epoch, before.part + 1, None, 0, live.loss, live.weight, live.penalty,
                before.trained - before.begun + live.done,
                before.seconds + time.perf_counter() - start,
                float(self.optimizer.lr if rates is None else rates[step]),
            )  # fmt: skip
        return stop

    def rates(self, first, count):
        """Return the learning rate of `count` steps of the epoch, or None where all are alike."""
        if self.schedule is None:
            return None
        of_epoch, epoch = self.source.steps, self.place.epoch
        steps = np.arange(first, first + count, dtype=np.float64) + epoch * of_epoch
        factors = self.schedule.factors(steps, epoch, of_epoch, self.epochs)
        return np.ascontiguousarray(self.optimizer.lr * factors, np.float64)


class FullBatchCourse(Course):
    """One call of `fit` with `LBFGS`; an epoch is an iteration of it."""

    def run(self):
        """Train and return the `History`."""
        from cmlp import lbfgs

        source = self.source
        self.objective = lbfgs.Objective(
            self.network, source.rows, source.targets, self.optimizer, self.threads
        )
        self.start = time.perf_counter()
        self.tell("on_train_begin")
        with self.progress:
            lbfgs.minimize(self.objective, self.optimizer, self.epochs, self.after)
        self.tell("on_train_end", self.history)
        self.network._training = self.summary()
        return self.history

    def after(self, epoch):
        """Take note of an iteration; raises `StopIteration` to end training."""
        start, self.start = self.start, time.perf_counter()
        seconds = self.start - start
        record = {
            "loss": self.objective.last_loss,
            "seconds": seconds,
            "samples_per_second": self.source.samples / max(seconds, 1e-9),
        }
        if not np.isfinite(record["loss"]):
            raise TrainingDiverged(epoch, 0)
        if self.validate is not None:
            record.update(self.validate())
        self.history.epochs.append(record)
        stop = self.tell("on_epoch_end", epoch, record)
        self.progress.epoch_done(epoch, record)
        if stop or self.cancelled:
            raise StopIteration
