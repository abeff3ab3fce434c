"""Sources of training data that are divided into shards."""

from typing import Any, NamedTuple

import numpy as np

from cmlp._core.training import shuffle
from cmlp._training.shard_metrics import sum_tree

# Seeds of two shards' orders differ by a multiple of this.
SEED_STEP = 1 << 40


class ShardedChunk(NamedTuple):
    """Samples of an epoch or a batch; see `cmlp._training.sources.Chunk` and `ShardedRun`."""

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


def sum_weights(targets, order, shares):
    """Return the sum of the weights of each step, over its shards and the tree, float64 (steps,).

    Parameters
    ----------
    targets : Targets
    order : ndarray, shape (n,)
        Rows, step by step and shard by shard.
    shares : ndarray of int, shape (steps, shards)
        Number of rows of each shard in each step.
    """
    weights = targets.sample_weights
    if weights is None:
        return shares.sum(axis=1).astype(np.float64)
    segments = np.repeat(np.arange(shares.size), shares.ravel())
    sums = np.bincount(segments, weights[order], shares.size).reshape(shares.shape)
    return sum_tree(sums.T).copy()


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
    sync_every : int, default 0
        If it is not 0, ranks take steps of their own: sizes and weights of the steps are those of
        this rank's samples.

    Attributes
    ----------
    n_samples, steps : int
        Samples of all ranks, and steps of an epoch.
    share : float
        Fraction of the samples that this rank has.
    seed_offset : int
        Added to the seed of the orders.
    has_one_chunk : bool
    subset : None
    """

    has_one_chunk = False
    subset = None
    seed_offset = 0

    def __init__(self, rows, targets, parts, first, lengths, batch_size, shuffle, exchange,
                 sync_every=0):  # fmt: skip
        self.rows, self.targets, self.parts, self.first = rows, targets, parts, first
        self.lengths, self.batch_size, self.shuffle = lengths, batch_size, shuffle
        self.exchange, self.sync_every = exchange, sync_every
        self.n_samples = int(lengths.sum())
        self.share = sum(map(len, parts)) / self.n_samples
        self.steps = -(-self.n_samples // batch_size)
        # (steps + 1, shards): where each step begins in each shard.
        self.edges = np.arange(self.steps + 1)[:, None] * lengths // self.steps

    @property
    def fingerprint(self):
        """Properties that must be equal for a checkpoint of another run to fit; a dict."""
        found = {"samples": self.n_samples, "batch_size": self.batch_size,
                 "shuffle": self.shuffle, "shards": len(self.lengths)}  # fmt: skip
        return {**found, "sync_every": self.sync_every} if self.sync_every else found

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
        sizes, weights = self.measure_steps(order, shares)
        ends = np.cumsum(shares.ravel()).reshape(shares.shape)
        bounds = np.column_stack((ends[:, 0] - shares[:, 0], ends))
        bases = np.concatenate(([0], np.cumsum(self.lengths)))[:-1]
        yield ShardedChunk(
            self.rows, self.targets, order, np.ascontiguousarray(bounds, np.int64),
            np.ascontiguousarray(bases[own] + edges[:-1], np.int64),
            np.ascontiguousarray(sizes, np.int64), weights, self.batch_size, self.n_samples,
        )  # fmt: skip

    def draw_order(self, part, shard, seed, epoch):
        """Return the rows of a shard in the order of an epoch."""
        if not self.shuffle:
            return part
        order = np.empty(len(part), np.uint32)
        shuffle(order, (seed + self.seed_offset + shard * SEED_STEP) % 2**64, epoch)
        return part[order]

    def measure_steps(self, order, shares):
        """Return the number of samples and the sum of the weights of each step."""
        weights = sum_weights(self.targets, order, shares)
        if self.sync_every:
            return shares.sum(axis=1), weights
        sizes = np.diff(self.edges, axis=0).sum(axis=1)
        if self.targets.sample_weights is None:
            return sizes, sizes.astype(np.float64)
        return sizes, weights if self.exchange is None else self.exchange.sum_vector(weights)


class ShardedBatchSource:
    """The shards of one rank of each batch of an iterable.

    A rank whose iterable ends before those of others takes part in their steps without samples.

    Parameters
    ----------
    source : cmlp._training.sources.BatchSource
        With `distribute`, and on one process, it yields all samples of each batch; otherwise the
        samples of this rank.
    shards, first, own : int
        Shards of all ranks, this rank's first one, and their number.
    exchange : Exchange or None
    distribute : bool

    Attributes
    ----------
    n_samples : None
    steps : int or None
        As of `source`.
    has_one_chunk : bool
    """

    n_samples = None
    has_one_chunk = False

    def __init__(self, source, shards, first, own, exchange, distribute):
        self.source, self.shards, self.first, self.own = source, shards, first, own
        self.exchange, self.steps = exchange, source.steps
        self.has_all = exchange is None or distribute

    @property
    def fingerprint(self):
        """Properties that must be equal for a checkpoint of another run to fit; a dict."""
        return {**self.source.fingerprint, "shards": self.shards}

    def chunks(self, seed, epoch):
        """Yield each batch as a chunk."""
        batches, last, offset = self.source.chunks(seed, epoch), None, 0
        for number in range(2**62):
            chunk = next(batches, None)
            length = 0 if chunk is None else len(chunk.rows)
            edges = self.divide(length)
            order = np.arange(edges[0], edges[-1], dtype=np.uint32)
            shares = np.diff(edges)[None]
            weight = 0.0 if chunk is None else sum_weights(chunk.targets, order, shares)[0]
            lengths, weight = self.add_ranks(length, shares, weight)
            n_samples = int(lengths.sum())
            if n_samples == 0:
                return
            last = last if chunk is None else chunk
            if last is None:
                raise ValueError(
                    "X must yield at least one batch on each rank in each epoch; got none in epoch "
                    f"{epoch}"
                )
            bases = offset + np.concatenate(([0], np.cumsum(lengths)))[:-1]
            yield ShardedChunk(
                last.rows, last.targets, order, (edges - edges[0])[None],
                np.ascontiguousarray(bases[None, self.first : self.first + self.own]),
                np.array([n_samples]), np.array([weight]), n_samples, n_samples, number,
            )  # fmt: skip
            offset += n_samples

    def divide(self, length):
        """Return where each shard of this rank begins in its batch, and the end, int64."""
        if self.has_all:
            return np.arange(self.first, self.first + self.own + 1) * length // self.shards
        return np.arange(self.own + 1) * length // self.own

    def add_ranks(self, length, shares, weight):
        """Return the lengths of all shards of a batch, and the sum of its weights.

        Raises
        ------
        ValueError
            If the ranks have different batches with `distribute`.
        """
        if self.exchange is None:
            return shares[0], weight
        vector = np.zeros(self.shards + 2)
        vector[self.first : self.first + self.own] = shares
        vector[-2:] = weight, length
        total = self.exchange.sum_vector(vector)
        if self.has_all and total[-1] != self.exchange.size * length:
            raise ValueError(
                "X must yield the same batches on all ranks with distribute=True; got one of "
                f"{length} samples on rank {self.exchange.rank}"
            )
        return total[:-2].astype(np.int64), total[-2]
