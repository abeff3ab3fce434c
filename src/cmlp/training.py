"""Training at the grain of an epoch: order, validation, history, progress."""

import time

import numpy as np

from cmlp._core import engine
from cmlp.callbacks import wants_batches
from cmlp.errors import TrainingDiverged


class History:
    """What happened in each epoch of a call of `fit`.

    Attributes
    ----------
    epochs : list of dict
        Of each epoch `loss` (the mean over its batches, each before its step), `lr`,
        `seconds`, `samples_per_second` and, with validation data, `val_loss` and
        `val_accuracy` (classification) or `val_r2` (regression).
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


def shuffled(key, epoch, samples):
    """Return the order of an epoch: uint32, shape (samples,), by key and epoch alone."""
    order = np.empty(samples, np.uint32)
    engine.shuffle(order, key, epoch)
    return order


def engine_optimizer(network, optimizer):
    """Return an optimizer as the engine runs it, with state of the parameters' shapes."""
    if not optimizer.states:
        return engine.Optimizer(optimizer.kernel)
    blocks = [network._new_parameters() for _ in range(1 + optimizer.states)]
    if optimizer.initial:
        blocks[1].block[:] = optimizer.initial
    gradient, *states = [(block.padded_weights, block.padded_biases) for block in blocks]
    return engine.Optimizer(optimizer.kernel, optimizer.hyper, optimizer.l2, gradient, states)


class Course:
    """One call of `fit`: what its epochs have in common.

    Parameters
    ----------
    network : Network
    rows, targets : cmlp._core.samples.Rows, Targets
    subset : ndarray of uint32 or None
        The rows to train on; None means all.
    validate : callable or None
        Returns a dict of validation quantities.
    epochs, batch_size : int
    optimizer : cmlp.optimizers.Optimizer
    schedule : a schedule that has begun, or None
    shuffle : bool
    callbacks : list of cmlp.callbacks.Callback
    progress : cmlp.progress.Progress
    threads : int
    """

    def __init__(self, network, rows, targets, *, subset, validate, epochs, batch_size, optimizer,
                 schedule, shuffle, callbacks, progress, threads):  # fmt: skip
        self.network, self.rows, self.targets = network, rows, targets
        self.subset, self.validate, self.epochs, self.batch_size = (
            subset, validate, epochs, batch_size,
        )  # fmt: skip
        self.optimizer, self.schedule, self.shuffle = optimizer, schedule, shuffle
        self.callbacks, self.progress, self.threads = callbacks, progress, threads
        self.running = engine_optimizer(network, optimizer)
        self.samples = len(rows) if subset is None else len(subset)
        self.steps = -(-self.samples // batch_size)

    def run(self):
        """Train and return the `History`.

        Raises
        ------
        TrainingDiverged
            When the loss of a batch is not finite.
        """
        history = History()
        self.tell("on_train_begin")
        with self.progress:
            for epoch in range(self.epochs):
                self.tell("on_epoch_begin", epoch)
                record, stop = self.epoch(epoch)
                if self.validate is not None:
                    record.update(self.validate())
                history.epochs.append(record)
                if self.schedule is not None:
                    self.schedule.observe(record)
                stop = self.tell("on_epoch_end", epoch, record) or stop
                self.progress.epoch_done(epoch, record)
                if stop:
                    break
        self.tell("on_train_end", history)
        return history

    def tell(self, event, *arguments):
        """Tell all callbacks; returns whether one of them answers True."""
        answers = [getattr(c, event)(self.network, *arguments) for c in self.callbacks]
        return any(answer is True for answer in answers)

    def epoch(self, epoch):
        """Train for one epoch; returns its record, and whether a callback stops training."""
        start = time.perf_counter()
        rates, stop = self.rates(epoch), False
        order = epoch_order(self.network, self.subset, self.samples, self.shuffle)
        if wants_batches(self.callbacks):
            loss, done, stop = self.batch_by_batch(epoch, order, rates)
        else:
            loss, last_loss, done = self.train(order, rates, self.progress.tick)
            if not np.isfinite(last_loss):
                raise TrainingDiverged(epoch, (done - 1) // self.batch_size)
        seconds = time.perf_counter() - start
        lr = self.optimizer.lr if rates is None else float(rates[(done - 1) // self.batch_size])
        return {
            "loss": loss,
            "lr": lr,
            "seconds": seconds,
            "samples_per_second": done / seconds,
        }, stop

    def train(self, order, rates, tick=None):
        """Let the engine train on the samples of an order."""
        return self.network._program.train(
            self.rows, self.targets, order, self.batch_size, self.optimizer.lr, self.threads,
            tick, self.running, rates,
        )  # fmt: skip

    def batch_by_batch(self, epoch, order, rates):
        """Train for one epoch, and tell the callbacks after each batch."""
        if order is None:
            order = np.arange(self.samples, dtype=np.uint32)
        total = weight = 0.0
        for step in range(self.steps):
            part = order[step * self.batch_size : (step + 1) * self.batch_size]
            loss, _, _ = self.train(part, None if rates is None else rates[step : step + 1])
            if not np.isfinite(loss):
                raise TrainingDiverged(epoch, step)
            weight += (counted := self.targets.total_weight(part))
            total += loss * counted
            done = step * self.batch_size + len(part)
            if self.progress.tick is not None:
                self.progress.tick(done)
            if self.tell("on_batch_end", epoch, step, loss):
                return total / (weight or 1), done, True
        return total / (weight or 1), self.samples, False

    def rates(self, epoch):
        """Return the learning rate of each step of an epoch, or None where it is the same."""
        if self.schedule is None:
            return None
        steps = np.arange(epoch * self.steps, (epoch + 1) * self.steps, dtype=np.float64)
        factors = self.schedule.factors(steps, epoch, self.steps, self.epochs)
        return np.ascontiguousarray(self.optimizer.lr * factors, np.float64)


def epoch_order(network, subset, samples, shuffle):
    """Return which rows an epoch takes in which order; None is all of them as they come."""
    if not shuffle:
        return subset
    order = network._next_order(samples)
    return order if subset is None else subset[order]
