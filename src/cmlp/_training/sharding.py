"""Training on batches that are divided into shards, by one process or the ranks of a communicator.

The samples are divided into shards, a power of two of them. Each shard has an order of its own, and
a batch takes its share from each. The gradients of a batch are summed over each shard, and then
over a binary tree, so that the bits do not depend on how many ranks have the shards.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from cmlp._core.sharded import ShardedRun
from cmlp._core.training import shuffle
from cmlp._model.optimizer_state import OptimizerState
from cmlp._training import checkpoint
from cmlp._training.exchange import Exchange, PlainExchange, check_comm
from cmlp._training.loop import TrainingRun
from cmlp.lbfgs import LBFGS
from cmlp.optimizers import SGD

DEFAULT_SHARDS = 8
# Seeds of two shards' orders differ by a multiple of this.
SEED_STEP = 1 << 40


@dataclass(frozen=True, eq=False, repr=False)
class SeparateSGD(SGD):
    """`SGD` whose gradients have a block of their own, as sums over shards need it."""

    kernel: ClassVar[str] = "descent"  # type: ignore[misc]


def separate_gradient(optimizer):
    """Return an optimizer with the same steps whose gradients have a block of their own."""
    if optimizer.kernel == "sgd":
        return SeparateSGD(optimizer.lr)
    return optimizer


class ShardedChunk(NamedTuple):
    """The samples of an epoch; see `cmlp._training.sources.Chunk` and `ShardedRun`."""

    rows: Any
    targets: Any
    order: np.ndarray
    bounds: np.ndarray
    positions: np.ndarray
    sizes: np.ndarray
    weights: np.ndarray
    batch_size: int
    n_samples: int
    first_step: int = 0


class ShardedSource:
    """The shards of one rank.

    Parameters
    ----------
    rows, targets : Rows, Targets
    parts : list of ndarray
        The rows of each shard of this rank.
    first : int
        Number of this rank's first shard.
    lengths : ndarray of int64, shape (shards,)
        Number of samples of each shard, of all ranks.
    batch_size : int
    shuffle : bool
    exchange : Exchange or None

    Attributes
    ----------
    n_samples, steps : int
        Samples of all ranks, and steps of an epoch.
    has_one_chunk : bool
    subset : None
    """

    has_one_chunk = False
    subset = None

    def __init__(self, rows, targets, parts, first, lengths, batch_size, shuffle, exchange):
        self.rows, self.targets, self.parts, self.first = rows, targets, parts, first
        self.lengths, self.batch_size, self.shuffle = lengths, batch_size, shuffle
        self.exchange = exchange
        self.n_samples = int(lengths.sum())
        self.steps = -(-self.n_samples // batch_size)
        # (steps + 1, shards): where each step begins in each shard.
        self.edges = np.arange(self.steps + 1)[:, None] * lengths // self.steps
        self.sizes = np.diff(self.edges, axis=0).sum(axis=1)

    @property
    def fingerprint(self):
        """Properties that must be equal for a checkpoint of another run to fit; a dict."""
        return {"samples": self.n_samples, "batch_size": self.batch_size, "shuffle": self.shuffle,
                "shards": len(self.lengths)}  # fmt: skip

    def chunks(self, seed, epoch):
        """Yield the only chunk of an epoch."""
        own = slice(self.first, self.first + len(self.parts))
        edges = self.edges[:, own]
        order = np.concatenate(
            [
                self.draw_order(part, self.first + i, seed, epoch)
                for i, part in enumerate(self.parts)
            ]
        )
        # The step of each sample, shard by shard; sorted by step, and within it by shard.
        steps = np.concatenate(
            [np.repeat(np.arange(self.steps), np.diff(edge)) for edge in edges.T]
        )
        order = np.ascontiguousarray(order[np.argsort(steps, kind="stable")], np.uint32)
        shares = np.diff(edges, axis=0)
        ends = np.cumsum(shares.ravel()).reshape(shares.shape)
        bounds = np.column_stack((ends[:, 0] - shares[:, 0], ends))
        bases = np.concatenate(([0], np.cumsum(self.lengths)))[:-1]
        yield ShardedChunk(
            self.rows, self.targets, order, np.ascontiguousarray(bounds, np.int64),
            np.ascontiguousarray(bases[own] + edges[:-1], np.int64),
            np.ascontiguousarray(self.sizes, np.int64), self.sum_weights(order, shares),
            self.batch_size, self.n_samples,
        )  # fmt: skip

    def draw_order(self, part, shard, seed, epoch):
        """Return the rows of a shard in the order of an epoch."""
        if not self.shuffle:
            return part
        order = np.empty(len(part), np.uint32)
        shuffle(order, (seed + shard * SEED_STEP) % 2**64, epoch)
        return part[order]

    def sum_weights(self, order, shares):
        """Return the sum of the weights of each step over all ranks, float64 (steps,)."""
        weights = self.targets.sample_weights
        if weights is None:
            return self.sizes.astype(np.float64)
        segments = np.repeat(np.arange(shares.size), shares.ravel())
        sums = np.bincount(segments, weights[order], shares.size).reshape(shares.shape)
        while sums.shape[1] > 1:
            sums = sums[:, ::2] + sums[:, 1::2]
        return sums[:, 0].copy() if self.exchange is None else self.exchange.sum_vector(sums[:, 0])


class ShardedTraining(TrainingRun):
    """One call of `fit` on shards.

    Parameters
    ----------
    exchange : Exchange or None
        None: this process has all shards.
    """

    def __init__(self, *arguments, exchange, **options):
        super().__init__(*arguments, **options)
        self.exchange = exchange

    @property
    def writes_files(self):
        """Whether callbacks may write files: on one rank only."""
        return self.exchange is None or self.exchange.rank == 0

    def run(self):
        """Train and return the `History`; see `TrainingRun.run`.

        Raises
        ------
        RankError
            If another rank has ended.
        """
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

    def make_epoch_run(self, chunk, rate, rates):
        """Return the engine's run of an epoch."""
        return ShardedRun(
            self.state.program, chunk.rows, chunk.targets, chunk.order, chunk.bounds,
            chunk.positions, chunk.sizes, chunk.weights, chunk.batch_size, chunk.n_samples, rate,
            self.threads, optimizer=self.optimizer_state.kernel, rates=rates,
            noise=(self.state.architecture.seed, self.state.epoch), sums=self.metric_sums.sums,
            exchange=None if self.exchange is None else self.exchange.sum_gradient,
        )  # fmt: skip


def check_sharding(architecture, optimizer, options, is_iterable):
    """Raise `ValueError` for what training on shards does not support."""
    if is_iterable:
        raise ValueError("X and y must be arrays for shards and comm; got an iterable of batches")
    if isinstance(optimizer, LBFGS) or optimizer.accumulate > 1:
        raise ValueError("shards and comm support neither LBFGS nor accumulate > 1")
    if architecture.loss.call:
        raise ValueError("shards and comm do not support a loss that is a callable")
    if any(getattr(layer, "normalization", None) is not None and layer.normalization.name == "batch"
           for layer in architecture.dense):  # fmt: skip
        raise ValueError(
            "shards and comm do not support normalization='batch', which needs all samples of a "
            "batch; use 'layer'"
        )
    if options.distribute and options.comm is None:
        raise ValueError("distribute=True requires comm")
    if not options.reproducible and (options.comm is None or options.shards is not None):
        raise ValueError("reproducible=False requires comm, and shards must be None")


def make_exchange(options):
    """Return the `Exchange` of the communicator, or None for one process."""
    if options.comm is None:
        return None
    check_comm(options.comm)
    return (Exchange if options.reproducible else PlainExchange)(options.comm)


def choose_shards(options, exchange):
    """Return the number of shards.

    Raises
    ------
    ValueError
        If it is not a power of two, less than the number of ranks, or more than the batch size.
    """
    ranks = 1 if exchange is None else exchange.size
    if not options.reproducible:
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
    """Return the `ShardedSource` of this rank.

    Parameters
    ----------
    source : ArraySource
        All samples with `distribute` and on one process, otherwise those of this rank.
    options : FitOptions
    exchange : Exchange or None
    """
    shards = choose_shards(options, exchange)
    rank, ranks = (0, 1) if exchange is None else (exchange.rank, exchange.size)
    own, first = shards // ranks, rank * (shards // ranks)
    has_all = exchange is None or options.distribute
    rows = np.arange(len(source.rows), dtype=np.uint32) if source.subset is None else source.subset
    count = shards if has_all else own
    cuts = np.arange(count + 1) * len(rows) // count
    parts = [rows[cuts[i] : cuts[i + 1]] for i in range(count)]
    lengths = np.array([len(part) for part in parts])
    if has_all:
        parts = parts[first : first + own]
    elif exchange is not None:
        vector = np.zeros(shards)
        vector[first : first + own] = lengths
        lengths = exchange.sum_vector(vector).astype(np.int64)
    if lengths.min() < 1:
        raise ValueError(
            f"each of the {shards} shards must have a sample; got {lengths.min()} in one of them"
        )
    return ShardedSource(
        source.rows, source.targets, parts, first, lengths, options.batch_size, source.shuffle,
        exchange,
    )  # fmt: skip


def share_validation(validate, exchange):
    """Return a validation function with the quantities of rank 0 on all ranks."""
    if validate is None or exchange is None:
        return validate

    def share():
        record = validate()
        return dict(zip(record, exchange.share(list(record.values())).tolist(), strict=True))

    return share


def check_same(exchange, values):
    """Raise `ValueError` on a rank where a number differs from that of rank 0.

    Parameters
    ----------
    exchange : Exchange
    values : dict from str to float
    """
    for (name, value), first in zip(values.items(), exchange.share(list(values.values())),
                                    strict=True):  # fmt: skip
        if value != first:
            raise ValueError(
                f"{name} must be the same on all ranks; got {value:g} on rank {exchange.rank}, and "
                f"{first:g} on rank 0"
            )


def check_ranks(exchange, state, options, common):
    """Raise `ValueError` unless the ranks agree, and for what several ranks do not support."""
    if exchange is None or exchange.size == 1:
        return
    if common["metrics"]:
        raise ValueError("metrics must be empty with comm; validation_data are evaluated")
    if not options.distribute and options.validation_split:
        raise ValueError("validation_split requires distribute=True; or pass validation_data")
    if not options.distribute and isinstance(options.class_weight, str):
        raise ValueError("class_weight='balanced' requires distribute=True; or pass the weights")
    check_same(exchange, {
        "the number of parameters": state.parameters.block.size, "epochs": options.epochs,
        "batch_size": options.batch_size, "shards": options.shards or 0,
        "shuffle": bool(options.shuffle), "distribute": options.distribute,
        "seed": state.architecture.seed % 2**52,
        "the number of epochs trained": state.epoch,
        "whether validation data are given": common["validate"] is not None,
        "whether sample weights are given": options.sample_weight is not None,
        "whether callbacks observe steps": any(c.wants_batches for c in common["callbacks"]),
    })  # fmt: skip


def prepare_sharded(network, X, y, options, optimizer, prepare_parts):
    """Return the `ShardedTraining` of a call of `fit`.

    Parameters
    ----------
    network, X, y, options, optimizer
        As for `cmlp._training.arguments.prepare_parts`.
    prepare_parts : callable
        That function.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the other ranks raise `RankError`.
    """
    exchange = make_exchange(options)
    try:
        check_sharding(network.state.architecture, optimizer, options, y is None)
        shows = exchange is None or exchange.rank == 0
        source, common = prepare_parts(network, X, y, options, optimizer, shows=shows)
        return make_sharded_run(network, source, options, exchange, optimizer, common)
    except BaseException:
        if exchange is not None:
            exchange.abort()
        raise


def make_sharded_run(network, source, options, exchange, optimizer, common):
    """Return a `ShardedTraining`; the arguments are those of `prepare_sharded`."""
    state = network.state
    check_ranks(exchange, state, options, common)
    source = shard_source(source, options, exchange)
    optimizer_state = OptimizerState(separate_gradient(optimizer), state.parameters)
    if exchange is not None:
        exchange.most_bytes = 8 * (source.steps + len(source.lengths))
        gradient = exchange.make_gradient(optimizer_state.blocks["gradient"])
        optimizer_state.replace_gradient(gradient)
    common["validate"] = share_validation(common["validate"], exchange)
    run = ShardedTraining(
        network, source, optimizer_state=optimizer_state, exchange=exchange, **common
    )
    if state.checkpoint is not None:
        run.restore(checkpoint.from_snapshot(state.checkpoint, state))
    return run
