"""Training on batches that are divided into shards, by one process or the ranks of a communicator.

The samples are divided into shards, a power of two of them. Each shard has an order of its own, and
a batch takes its share from each. The gradients of a batch are summed over each shard, and then
over a binary tree, so that the bits do not depend on how many ranks have the shards.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cmlp._core.sharded import ShardedRun
from cmlp._model.optimizer_state import OptimizerState
from cmlp._training import checkpoint
from cmlp._training.augmentation import AugmentedSource
from cmlp._training.exchange import Exchange, PlainExchange, check_comm
from cmlp._training.loop import TrainingRun
from cmlp._training.shard_metrics import ShardMetrics
from cmlp._training.shard_sources import ShardedBatchSource, ShardedSource
from cmlp._training.sources import BatchSource
from cmlp._training.splits import is_given
from cmlp.errors import TrainingDiverged
from cmlp.lbfgs import LBFGS
from cmlp.optimizers import SGD

DEFAULT_SHARDS = 8
# Arguments of `fit` that are the same on all ranks.
SAME = ("epochs", "batch_size", "shards", "shuffle", "distribute", "sync_every", "restore_good")
SCHEDULES = ("schedule", "decay_schedule", "dropout_schedule")
# Sums of each step besides those of metrics: losses, weights and penalties.
STEP_SUMS = 3
# Numbers in a vector that ranks agree on, besides one for each step and shard.
MOST_SUMS = 64


@dataclass(frozen=True, eq=False, repr=False)
class SeparateSGD(SGD):
    """`SGD` whose gradients have a block of their own, as sums over shards need it."""

    kernel: ClassVar[str] = "descent"  # type: ignore[misc]


def separate_gradient(optimizer):
    """Return an optimizer with the same steps whose gradients have a block of their own."""
    if optimizer.kernel == "sgd":
        return SeparateSGD(optimizer.lr)
    return optimizer


class ShardedTraining(TrainingRun):
    """One call of `fit` on shards.

    Parameters
    ----------
    shards : int
        Of this process.
    exchange : Exchange or None
        None: this process has all shards.
    sync_every : int, default 0
        Number of steps after which parameters and optimizer state are averaged over the ranks; 0:
        gradients are summed in each step.
    """

    def __init__(self, *arguments, shards, exchange, sync_every=0, **options):
        super().__init__(*arguments, **options)
        self.shards, self.exchange, self.sync_every = shards, exchange, sync_every
        if exchange is not None:
            self.prepare_exchange()

    def prepare_exchange(self):
        """Let the exchange have a buffer for the gradient, or for all that is averaged."""
        block, sums = self.state.parameters.block, STEP_SUMS
        self.exchange.has_more_sums = bool(self.metrics or self.sync_every)
        if self.metrics:
            sums += ShardMetrics(self.metric_sums, [], 0.0).size
        if self.sync_every:
            size = sum(array.size for array in self.list_averaged())
            self.exchange.make_gradient(size, block.dtype, sums)
        else:
            # An optimizer's state would have to be complete on all ranks, for checkpoints.
            has_state = len(self.optimizer_state.blocks) > 1 or self.state.architecture.max_norm
            self.optimizer_state.replace_gradient(
                self.exchange.make_gradient(
                    block.size, block.dtype, sums, None if has_state else block
                )
            )

    @property
    def writes_files(self):
        """Whether callbacks may write files: on one rank only, when all have the same network."""
        epoch_run = self.position.epoch_run
        is_synchronized = epoch_run is None or epoch_run.is_synchronized
        return is_synchronized and self.is_first_rank

    @property
    def is_first_rank(self):
        """Whether this process has all shards, or is rank 0."""
        return self.exchange is None or self.exchange.rank == 0

    def run(self):
        """Train and return the `History`; see `TrainingRun.run`.

        Raises
        ------
        RankError
            If another rank has ended.
        """
        try:
            return self.run_ranks()
        finally:
            # Other runs begin with a gradient of zeros.
            self.optimizer_state.blocks["gradient"][:] = 0

    def run_ranks(self):
        """Do the work of `run`."""
        if self.exchange is None:
            return super().run()
        with self.exchange.defer_interrupts():
            try:
                return super().run()
            except BaseException:
                if self.position.epoch < self.epochs and not self.is_stopped:
                    self.exchange.abort()  # the others are not done
                raise

    def begin(self):
        """Prepare network and callbacks; all ranks begin with the parameters of rank 0."""
        super().begin()
        if self.exchange is not None:
            self.agree(False)  # that all ranks have come so far
            for block in (self.state.parameters.block, self.state.statistics.block):
                if block.size:
                    self.exchange.comm.Bcast(block, 0)

    def agree(self, is_stopped):
        """Return whether a rank stops."""
        if self.exchange is None:
            return is_stopped
        return bool(self.exchange.sum_vector(np.array([float(is_stopped)]))[0])

    @property
    def kept_optimizer_state(self):
        """The state from which `partial_fit` continues."""
        if isinstance(self.optimizer_state.optimizer, SeparateSGD):
            return OptimizerState(self.optimizer, self.state.parameters)
        return self.optimizer_state

    def diverge(self, step):
        """Return the error of a step whose loss is not finite."""
        rank = None if self.exchange is None else self.exchange.diverged
        return TrainingDiverged(self.position.epoch, step, rank)

    def list_averaged(self):
        """Return the arrays that ranks with steps of their own average."""
        blocks = self.optimizer_state.blocks
        return [self.state.parameters.block,
                *(block for name, block in blocks.items() if name != "gradient")]  # fmt: skip

    def average(self, sums):
        """Average parameters and optimizer state over the ranks, and add their sums."""
        vector, first = self.exchange.gradient, 0
        for array in self.list_averaged():
            np.multiply(array, self.source.share, out=vector[first : first + array.size])
            first += array.size
        self.exchange.sum_gradient(sums)
        first, parameters = 0, self.state.parameters
        for array in self.list_averaged():
            # A mean of equal values may differ from them in the last bit.
            frozen = [(view, view.copy()) for tensor, view in parameters.view_block(array).items()
                      if tensor.layer in parameters.frozen]  # fmt: skip
            array[:] = vector[first : first + array.size]
            for view, values in frozen:
                view[:] = values
            first += array.size

    def make_shard_metrics(self, targets):
        """Return the metric sums of this process's shards, or None without metrics."""
        if not self.metrics:
            return None
        shift = np.zeros(self.state.architecture.targets)
        array = targets.array
        if "first" in self.metric_sums.arrays and array.size and array.dtype.kind == "f":
            shift[:] = array[0]
        if self.exchange is not None:
            shift = self.exchange.share(shift)
        parts = [self.make_metrics().sums for _ in range(self.shards)]
        return ShardMetrics(self.metric_sums, parts, shift)

    def make_epoch_run(self, chunk, settings):
        """Return the engine's run of an epoch."""
        exchange = self.exchange and (
            self.average if self.sync_every else self.exchange.sum_gradient
        )
        return ShardedRun(
            self.state.program, chunk.rows, chunk.targets, chunk.order, chunk.bounds,
            chunk.positions, chunk.sizes, chunk.weights, chunk.batch_size, chunk.n_samples,
            settings, self.threads, optimizer=self.optimizer_state.kernel,
            noise=(self.state.architecture.seed, self.state.epoch),
            metrics=self.make_shard_metrics(chunk.targets), exchange=exchange,
            sync_every=self.sync_every,
        )  # fmt: skip


def check_sharding(architecture, optimizer, options, is_iterable):
    """Raise `ValueError` for what training on shards does not support."""
    if isinstance(optimizer, LBFGS) or optimizer.accumulate > 1:
        raise ValueError("shards and comm support neither LBFGS nor accumulate > 1")
    if options.drop_last:
        raise ValueError("shards and comm do not support drop_last")
    if architecture.loss.call:
        raise ValueError("shards and comm do not support a loss that is a callable")
    if architecture.encoders:
        raise ValueError("shards and comm do not support input_layers")
    if any(layer.normalization is not None and layer.normalization.name == "batch"
           and not layer.frozen for layer in architecture.dense):  # fmt: skip
        raise ValueError(
            "shards and comm do not support normalization='batch', which needs all samples of a "
            "batch; use 'layer'"
        )
    if options.distribute and options.comm is None:
        raise ValueError("distribute=True requires comm")
    if not options.reproducible and (options.comm is None or options.shards is not None):
        raise ValueError("reproducible=False requires comm, and shards must be None")
    if options.sync_every is not None:
        check_sync_every(options, is_iterable)


def check_sync_every(options, is_iterable):
    """Raise `ValueError` for what ranks with steps of their own do not support."""
    if options.comm is None or options.shards is not None:
        raise ValueError("sync_every requires comm, and shards must be None")
    if is_iterable:
        raise ValueError("X and y must be arrays for sync_every; got an iterable of batches")


def make_exchange(comm, reproducible):
    """Return the `Exchange` of a communicator.

    It is made before other arguments are checked, so that a wrong one on one rank ends all.

    Raises
    ------
    TypeError
        If `comm` is not a communicator.
    ValueError
        If the number of ranks does not suit reproducible sums.
    """
    check_comm(comm)
    return (Exchange if reproducible else PlainExchange)(comm)


def choose_shards(options, exchange):
    """Return the number of shards.

    Raises
    ------
    ValueError
        If it is not a power of two, less than the number of ranks, or more than the batch size.
    """
    ranks = 1 if exchange is None else exchange.size
    if not options.reproducible or options.sync_every:
        return ranks
    shards = max(DEFAULT_SHARDS, ranks) if options.shards is None else options.shards
    if shards & (shards - 1) or shards < ranks:
        raise ValueError(
            f"shards must be a power of two and at least the number of ranks, {ranks}; got {shards}"
        )
    if shards > options.batch_size:
        raise ValueError(
            f"shards must be at most batch_size, {options.batch_size}; got {shards} (by default "
            f"{DEFAULT_SHARDS} or the number of ranks)"
        )
    return shards


def shard_source(source, options, exchange):
    """Return the source of this rank's shards, and their number.

    Parameters
    ----------
    source : ArraySource or BatchSource
        All samples with `distribute` and on one process, otherwise those of this rank.
    options : FitOptions
    exchange : Exchange or None
    """
    shards = choose_shards(options, exchange)
    rank, ranks = (0, 1) if exchange is None else (exchange.rank, exchange.size)
    own, first = shards // ranks, rank * (shards // ranks)
    if isinstance(source, BatchSource):
        found = ShardedBatchSource(source, shards, first, own, exchange, options.distribute)
        return found, own
    if isinstance(source, AugmentedSource):
        raise ValueError("X must not be augmented in training on shards (comm, shards, sync_every)")
    rows = np.arange(len(source.rows), dtype=np.uint32) if source.subset is None else source.subset
    parts, lengths = divide_rows(rows, shards, first, own, options, exchange)
    if lengths.min() < 1:
        raise ValueError(
            f"each of the {shards} shards must have a sample; got {lengths.min()} in one of them"
        )
    found = ShardedSource(
        source.rows, source.targets, parts, first, lengths, options.batch_size, source.shuffle,
        exchange, options.sync_every or 0,
    )  # fmt: skip
    if options.sync_every and lengths.min() < found.steps:
        raise ValueError(
            f"X must have at least one sample on each rank for each of {found.steps} steps with "
            f"sync_every; got {lengths.min()} on one of them"
        )
    return found, own


def divide_rows(rows, shards, first, own, options, exchange):
    """Return the rows of each shard of this rank, and the lengths of all shards.

    Parameters
    ----------
    rows : ndarray of uint32
    shards, first, own : int
        Shards of all ranks, this rank's first one, and their number.
    options, exchange
        As for `shard_source`.
    """
    has_all = exchange is None or options.distribute
    count = shards if has_all else own
    cuts = np.arange(count + 1) * len(rows) // count
    parts = [rows[cuts[i] : cuts[i + 1]] for i in range(count)]
    lengths = np.array([len(part) for part in parts])
    if has_all:
        return parts[first : first + own], lengths
    vector = np.zeros(shards)
    vector[first : first + own] = lengths
    return parts, exchange.sum_vector(vector).astype(np.int64)


def share_validation(validate, exchange):
    """Return a validation function with the quantities of rank 0 on all ranks."""
    if validate is None or exchange is None:
        return validate

    def share():
        record = validate()
        return dict(zip(record, exchange.share(list(record.values())).tolist(), strict=True))

    return share


def check_same(exchange, values):
    """Raise `ValueError` on a rank where a value differs from the one on rank 0.

    Parameters
    ----------
    exchange : Exchange
    values : dict
        From the name of each value in messages; all of them can be pickled.
    """
    for (name, value), first in zip(
        values.items(), exchange.share_object(list(values.values())), strict=True
    ):
        if value != first:
            raise ValueError(
                f"{name} must be the same on all ranks; got {value} on rank {exchange.rank}, and "
                f"{first} on rank 0"
            )


def check_ranks(exchange, network, source, options, common):
    """Raise `ValueError` unless the ranks agree, and for what several ranks do not support."""
    if exchange is None or exchange.size == 1:
        return
    if not options.distribute and is_given(options.validation_split):
        raise ValueError("validation_split requires distribute=True; or pass validation_data")
    if not options.distribute and isinstance(options.class_weight, str):
        raise ValueError("class_weight='balanced' requires distribute=True; or pass the weights")
    observes_steps = any(callback.wants_batches for callback in common["callbacks"])
    schedules = [common[name] for name in SCHEDULES]
    has_schedule = any(each is not None for each in schedules)
    check_same(exchange, {
        "the network": (network.size, network.activation, network.output, network.loss),
        "dtype": network.dtype.name, "seed": network.seed, "frozen": network.frozen,
        "the number of epochs trained": network.state.epoch,
        **{name: getattr(options, name) for name in SAME},
        "optimizer": common["optimizer"].describe(), "metrics": common["metrics"],
        "the functions in metrics": common["functions"],
        **{name: type(each).__name__ for name, each in zip(SCHEDULES, schedules, strict=True)},
        "the number of batches with a schedule": source.steps if has_schedule else 0,
        "the task that y chooses": common["task_choice"].task,
        "whether X is an iterable": isinstance(source, BatchSource),
        "whether validation data are given": common["validate"] is not None,
        "whether sample weights are given": options.sample_weight is not None,
        "whether callbacks observe steps": observes_steps,
    })  # fmt: skip
    if options.sync_every and observes_steps:
        raise ValueError("callbacks must not observe steps with sync_every")


def prepare_sharded(network, X, y, options, optimizer, prepare_parts, exchange,
                    optimizer_state=None, earlier_task=None):  # fmt: skip
    """Return the `ShardedTraining` of a call of `fit`.

    Parameters
    ----------
    network, X, y, options, optimizer, earlier_task
        As for `cmlp._training.arguments.prepare_parts`.
    prepare_parts : callable
        That function.
    exchange : Exchange or None
        None: this process has all shards.
    optimizer_state : OptimizerState, optional
        State to continue with; by default a new one.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    """
    check_sharding(network.state.architecture, optimizer, options, y is None)
    shows = exchange is None or exchange.rank == 0
    source, common = prepare_parts(network, X, y, options, optimizer, earlier_task, shows=shows)
    check_ranks(exchange, network, source, options, common)
    state = network.state
    source, own = shard_source(source, options, exchange)
    if optimizer_state is None or optimizer_state.optimizer.kernel == "sgd":
        optimizer_state = OptimizerState(separate_gradient(optimizer), state.parameters)
    if exchange is not None:
        exchange.most_bytes = 8 * (source.steps or 0) + 16 * (MOST_SUMS + exchange.size * own)
    common["validate"] = share_validation(common["validate"], exchange)
    run = ShardedTraining(
        network, source, optimizer_state=optimizer_state, shards=own, exchange=exchange,
        sync_every=options.sync_every or 0, **common,
    )  # fmt: skip
    if state.checkpoint is not None:
        run.restore(checkpoint.from_snapshot(state.checkpoint, state))
    return run
