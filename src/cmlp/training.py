"""Training at the grain of an epoch: order, validation, history, progress."""

import time

import numpy as np

from cmlp._core import engine
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


def train(network, rows, targets, *, subset, validate, epochs, batch_size, optimizer, shuffle,
          progress, threads):  # fmt: skip
    """Train `network` and return its `History`.

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
    shuffle : bool
    progress : cmlp.progress.Progress
    threads : int

    Raises
    ------
    TrainingDiverged
        When the loss of a batch is not finite.
    """
    history = History()
    running = engine_optimizer(network, optimizer)
    samples = len(rows) if subset is None else len(subset)
    with progress:
        for epoch in range(epochs):
            start = time.perf_counter()
            order = epoch_order(network, subset, samples, shuffle)
            loss, last_loss, done = network._program.train(
                rows,
                targets,
                order,
                batch_size,
                optimizer.lr,
                threads,
                progress.tick,
                running,
            )
            if not np.isfinite(last_loss):
                raise TrainingDiverged(epoch, (done - 1) // batch_size)
            seconds = time.perf_counter() - start
            record = {
                "loss": loss,
                "lr": optimizer.lr,
                "seconds": seconds,
                "samples_per_second": samples / seconds,
            }
            if validate is not None:
                record.update(validate())
            history.epochs.append(record)
            progress.epoch_done(epoch, record)
    return history


def epoch_order(network, subset, samples, shuffle):
    """Return which rows an epoch takes in which order; None is all of them as they come."""
    if not shuffle:
        return subset
    order = network._next_order(samples)
    return order if subset is None else subset[order]
