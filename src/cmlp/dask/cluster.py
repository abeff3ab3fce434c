"""The client's side of training: submits the tasks of each round and reads their small results."""

import uuid
from typing import Any, NamedTuple

import dask
from dask import delayed
from distributed import futures_of

from cmlp.dask.partitions import load_blocks, prepare_partition, summarize_blocks
from cmlp.dask.rounds import (
    average_replicas,
    combine_scores,
    get_sums,
    return_argument,
    score_partition,
    train_partition,
)

# Rounds after which the client reads the replica and continues from a copy that is part of the
# graph. If a worker dies, Dask repeats the rounds since then at most, and it can forget the tasks
# of earlier rounds.
CHECKPOINT_ROUNDS = 10

# Replicas that a task averages. The scheduler takes 2.5 ms for a task (Dask 2026.8, Zen 4), ten
# times as long as the average of two networks of 784-256-10. A worker needs memory for this number
# of replicas. A power of 2, so that the sums are those of a binary tree.
FAN_IN = 4


class RoundResult(NamedTuple):
    """The results of a round that the client reads.

    Attributes
    ----------
    loss, weight, penalty, n_samples : float
        Sums over all partitions.
    score : float or None
        Score on the samples that were held out.
    """

    loss: float
    weight: float
    penalty: float
    n_samples: float
    score: float | None


class ClusterRun:
    """The tasks of one call of `fit`. The names of all tasks begin with ``cmlp-``.

    Parameters
    ----------
    client : distributed.Client

    Attributes
    ----------
    prepared : list of Future of Partition
        All with samples, apart from validation data.
    partitions : list of Future of Partition
        Those to train on.
    sizes : list of tuple
        Their sizes; see `Partition.get_sizes`.
    validation : list of Future of Partition
        Those with samples to validate with.
    n_validation : int
        Number of these samples.
    replica : Future of Replica
        The average of the last round.
    """

    def __init__(self, client):
        self.client, self.token = client, uuid.uuid4().hex
        self.prepared: list = []
        self.partitions: list = []
        self.sizes: list = []
        self.validation: list = []
        self.n_validation = self.n_rounds = self.n_runs = 0
        self.replica: Any = None

    def submit(self, name, index, function, *args):
        """Submit a task named `name`, whose key has `index`; return its future."""
        key = (f"cmlp-{name}-{self.token}", *index)
        return self.client.submit(function, *args, key=key, pure=False)

    def submit_each(self, name, function, futures, *args):
        """Submit a task for each of some futures, a dict by number; return the list of results."""
        return self.client.gather([
            self.submit(name, [i], function, future, i, *args) for i, future in futures.items()
        ])  # fmt: skip

    def load(self, blocks, is_classifier, kind=""):
        """Load the blocks of all partitions.

        Parameters
        ----------
        blocks : Blocks
        is_classifier : bool
        kind : {"", "validation "}
            Prefix of the partitions' names in messages.

        Returns
        -------
        loaded : list of Future of LoadedBlocks
        summaries : list of Summary
        """
        name = f"cmlp-{kind.strip()}load-{self.token}"
        tasks = [
            delayed(load_blocks)(
                part, f"{kind}partition {i}", blocks.dtype, dask_key_name=(name, i)
            )
            for i, part in enumerate(blocks.parts)
        ]
        loaded = [futures_of(task)[0] for task in self.client.persist(tasks)]
        summaries = [
            self.submit(
                f"{kind.strip()}summarize", [i], summarize_blocks, future, f"{kind}partition {i}",
                is_classifier,
            )
            for i, future in enumerate(loaded)
        ]  # fmt: skip
        return loaded, self.client.gather(summaries)

    def prepare(self, loaded, summaries, preparation, kind=""):
        """Convert the partitions that have samples.

        Afterwards `partitions` are those to train on, with `sizes`; `validation` grows by those
        with samples to validate with.

        Parameters
        ----------
        loaded, summaries : list
            As `load` returns them. `loaded` is emptied, so that the workers can free the blocks.
        preparation : Preparation or TablePreparation
        kind : str
            As for `load`.
        """
        shared = self.submit(f"{kind.strip()}arguments", [0], return_argument, preparation)
        found = [
            self.submit(
                f"{kind.strip()}prepare", [i], prepare_partition, future, i,
                f"{kind}partition {i}", shared,
            )
            for i, (future, summary) in enumerate(zip(loaded, summaries, strict=True))
            if summary.n_samples
        ]  # fmt: skip
        name = f"{kind.strip()}sizes"
        sizes = self.submit_each(name, get_partition_sizes, dict(enumerate(found)))
        loaded.clear()
        if not kind:
            self.prepared = found
        self.add(found, sizes)

    def select(self, fold):
        """Hold out a `Fold` of each partition, instead of the rows held out before."""
        futures = dict(enumerate(self.prepared))
        sizes = self.submit_each(f"sizes-{fold.number}", get_partition_sizes, futures, fold)
        self.partitions, self.sizes, self.validation, self.n_validation = [], [], [], 0
        self.add(self.prepared, sizes)

    def add(self, futures, sizes):
        """Add partitions with their sizes to those to train on and those to validate with."""
        for future, size in zip(futures, sizes, strict=True):
            n_samples, weight, held_out = size
            if n_samples and weight > 0:
                self.partitions.append(future)
                self.sizes.append(size)
            if held_out:
                self.validation.append(future)
                self.n_validation += held_out

    def start(self, replica, plan, n_replicas):
        """Begin with a replica.

        Parameters
        ----------
        replica : Replica
        plan : Plan
        n_replicas : int or None
            Number of replicas that are trained at the same time; None: one for each partition.
        """
        count = len(self.partitions)
        n_replicas = min(n_replicas or count, count)
        bounds = [i * count // n_replicas for i in range(n_replicas + 1)]
        self.groups = [range(*pair) for pair in zip(bounds[:-1], bounds[1:], strict=True)]
        self.weights = [sum(self.sizes[i][1] for i in group) for group in self.groups]
        self.n_runs += 1
        self.plan = self.submit("arguments", [self.n_runs], return_argument, plan)
        self.embed(replica)

    def embed(self, replica):
        """Make a replica part of the graph, so that Dask can restore it without earlier rounds."""
        # Dask warns of graphs of more than 10 MB.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
            self.replica = self.submit(
                "replica", [self.n_runs, self.n_rounds], return_argument, replica
            )

    def run_round(self, turn, validates):
        """Train every replica on its partitions and average the replicas.

        Parameters
        ----------
        turn : Round
        validates : bool
            Whether to score the average on the samples that were held out.

        Returns
        -------
        RoundResult

        Raises
        ------
        TrainingDiverged
            If the loss of a batch, or a parameter, is not finite.
        """
        if self.n_rounds and self.n_rounds % CHECKPOINT_ROUNDS == 0:
            self.embed(self.replica.result())
        number = self.n_rounds
        replicas = []
        for group in self.groups:
            replica = self.replica
            for i in group:
                replica = self.submit(
                    f"train-{number}", [i], train_partition, self.partitions[i], replica,
                    self.plan, turn, i == group[0],
                )  # fmt: skip
            replicas.append(replica)
        average = self.average(number, replicas)
        futures = [self.submit(f"sums-{number}", [0], get_sums, average)]
        if validates:
            futures.append(self.score(number, average))
        sums, *score = self.client.gather(futures)
        self.replica = average
        self.n_rounds += 1
        return RoundResult(*map(float, sums), score[0] if score else None)

    def average(self, number, replicas):
        """Return the future of the weighted mean of replicas, over a fixed tree."""
        level, weights = 0, self.weights
        while len(replicas) > 1:
            groups = range(0, len(replicas), FAN_IN)
            parts = [(replicas[i : i + FAN_IN], weights[i : i + FAN_IN]) for i in groups]
            replicas = [
                self.submit(f"average-{number}", [level, i], average_replicas, *part)
                for i, part in enumerate(parts)
            ]
            weights = [sum(part) for _, part in parts]
            level += 1
        return replicas[0]

    def score(self, number, replica):
        """Return the future of the score of a replica on the samples that were held out."""
        parts = [
            self.submit(f"score-{number}", [i], score_partition, partition, replica, self.plan)
            for i, partition in enumerate(self.validation)
        ]
        return self.submit(f"scores-{number}", [0], combine_scores, parts, self.plan)

    def release(self):
        """Let the workers forget all results; an unfinished round is canceled."""
        self.prepared, self.partitions, self.validation = [], [], []
        self.replica = self.plan = None


def get_partition_sizes(partition, index, fold=None):
    """Return `Partition.get_sizes` of a partition, with a `Fold` held out."""
    return partition.select(fold).get_sizes()
