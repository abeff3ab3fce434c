"""Tasks of a round: local training on each partition, averaging, scores.

Local stochastic gradient descent with averaging of the parameters: Zinkevich, Weimer, Li and Smola,
"Parallelized stochastic gradient descent", NIPS 2010; McMahan et al., "Communication-efficient
learning of deep networks from decentralized data", AISTATS 2017; Stich, "Local SGD converges fast
and communicates little", ICLR 2019. Moment estimates of the optimizer are averaged like the
parameters: Yu, Jin and Yang, "On the linear speedup analysis of communication efficient momentum
SGD", ICML 2019.

All functions are pure: they copy what they change, and their results depend on nothing but their
arguments. Dask may therefore repeat a task on another worker.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cmlp._core.training import EpochRun
from cmlp._model.optimizer_state import OptimizerState
from cmlp._model.state import ModelState
from cmlp._training.sources import make_shuffled_order
from cmlp._training.step_settings import StepSettings, check_dropout
from cmlp.errors import TrainingDiverged


@dataclass(frozen=True)
class Plan:
    """Arguments of the tasks that all rounds share.

    Attributes
    ----------
    architecture : Architecture
    optimizer : Optimizer
    batch_size : int
    shuffle : bool
    local_steps : int or None
        Steps on each partition in a round; None: as many as an epoch has.
    epochs : int
        Number of rounds, for schedules.
    threads : int
        Threads of a task.
    score : EstimatorScore or ValidationValue
        Measures replicas on the rows that are held out.
    fold : Fold or None
        What each partition holds out; None: what it was prepared with.
    decay_schedule, dropout_schedule : Schedule or None
        Compute factors of each step.
    drop_last : bool
        Whether to leave out the last samples of an epoch that do not fill a batch.
    """

    architecture: Any
    optimizer: Any
    batch_size: int
    shuffle: bool
    local_steps: int | None
    epochs: int
    threads: int
    score: Any
    fold: Any = None
    decay_schedule: Any = None
    dropout_schedule: Any = None
    drop_last: bool = False

    def count_steps(self, n_samples):
        """Return the number of steps of an epoch."""
        if self.drop_last and n_samples >= self.batch_size:
            return n_samples // self.batch_size
        return -(-n_samples // self.batch_size)


@dataclass(frozen=True)
class Round:
    """Arguments of the tasks of one round.

    Attributes
    ----------
    number : int
        Number of the round in this call of `fit`, from 0.
    position : int
        Number of rounds that the network has been trained for; selects the order of the samples.
    rate : float
        Learning rate, unless there is a `schedule`.
    momentum_factor : float
        Factor of the momentum buffer of SGD after a change of the learning rate.
    schedule : Schedule or None
        Computes the learning rate of each step.
    """

    number: int
    position: int
    rate: float
    momentum_factor: float
    schedule: Any


class Replica:
    """A copy of the network: parameters, statistics and optimizer state, and sums of a round.

    Parameters
    ----------
    blocks : dict from str to ndarray
        ``"parameters"``, ``"statistics"`` and the arrays of the optimizer.
    position : tuple
        See `OptimizerState.position`.
    sums : ndarray of float64, shape (4,)
        Loss, weight, penalty and number of samples of the round.
    """

    def __init__(self, blocks, position, sums):
        self.blocks, self.position, self.sums = blocks, position, sums

    @classmethod
    def capture(cls, state, optimizer_state, sums=None):
        """Return a copy of a `ModelState` and an `OptimizerState`."""
        blocks = {"parameters": state.parameters.block, "statistics": state.statistics.block,
                  **optimizer_state.blocks}  # fmt: skip
        blocks.pop("gradient", None)  # used within a step only
        blocks = {name: block.copy() for name, block in blocks.items()}
        return cls(blocks, optimizer_state.position, np.zeros(4) if sums is None else sums)

    def load(self, state, optimizer_state=None):
        """Copy the arrays into a `ModelState` and an `OptimizerState`."""
        state.restore((self.blocks["parameters"], self.blocks["statistics"]))
        if optimizer_state is not None:
            for name in self.blocks.keys() & optimizer_state.blocks.keys():
                optimizer_state.blocks[name][:] = self.blocks[name]
            optimizer_state.position = self.position

    def load_averages(self, state):
        """Copy the parameters to predict with: the optimizer's averages, if it has them."""
        parameters = self.blocks.get("average", self.blocks["parameters"])
        state.restore((parameters, self.blocks["statistics"]))

    def __sizeof__(self):
        return object.__sizeof__(self) + sum(block.nbytes for block in self.blocks.values())


def return_argument(argument):
    """Return the argument: as a task, it makes a value part of the graph."""
    return argument


def train_partition(partition, replica, plan, turn, is_first=True):
    """Train a copy of a replica on one partition.

    Parameters
    ----------
    partition : Partition
    replica : Replica
    plan : Plan
    turn : Round
    is_first : bool, default True
        Whether this is the replica's first partition in the round; else the sums continue.

    Returns
    -------
    Replica

    Raises
    ------
    TrainingDiverged
        If the loss of a batch, or a parameter after the last one, is not finite.
    """
    state = ModelState(plan.architecture)
    optimizer_state = OptimizerState(plan.optimizer, state.parameters)
    replica.load(state, optimizer_state)
    if is_first and turn.momentum_factor != 1:
        optimizer_state.blocks["state_0"] *= turn.momentum_factor
    sums = np.zeros(4) if is_first else replica.sums.copy()
    partition = partition.select(plan.fold)
    for order, epoch, first, steps, offset in list_chunks(partition, plan, turn.position):
        n_samples = partition.n_training if order is None else len(order)
        batch_size = min(plan.batch_size, n_samples)
        taken = -(-n_samples // batch_size)
        settings = compute_settings(plan, turn, offset, taken, steps)
        with EpochRun(
            state.program, partition.rows, partition.targets, order, batch_size, settings,
            plan.threads, optimizer=optimizer_state.kernel,
            noise=(partition.seed, epoch), chunk=(first * plan.batch_size, first, steps),
        ) as run:  # fmt: skip
            while run.run():
                pass
            if run.has_diverged or not state.program.is_finite():
                raise TrainingDiverged(turn.number, first + (run.done - 1) // batch_size)
            sums += run.loss, run.weight, run.penalty, run.done
    return Replica.capture(state, optimizer_state, sums)


def list_chunks(partition, plan, position):
    """Yield (order, epoch, first step, steps of the epoch, steps done before) of a round's steps.

    Parameters
    ----------
    partition : Partition
    plan : Plan
    position : int
        Number of earlier rounds.
    """
    n_samples, batch_size = partition.n_training, plan.batch_size
    steps = plan.count_steps(n_samples)
    count = steps if plan.local_steps is None else plan.local_steps
    begin, end = position * count, (position + 1) * count
    done = begin
    while done < end:
        epoch, first = divmod(done, steps)
        taken = min(steps - first, end - done)
        order = partition.training
        if plan.shuffle:
            order = make_shuffled_order(partition.seed, epoch, n_samples)
            if partition.training is not None:
                order = partition.training[order]
        is_part = taken < steps or steps * batch_size < n_samples
        if order is None and is_part:
            order = np.arange(n_samples, dtype=np.uint32)
        if is_part:
            order = order[first * batch_size : (first + taken) * batch_size].copy()
        yield order, epoch, first, steps, done - begin
        done += taken


def compute_settings(plan, turn, first, count, steps):
    """Return the `StepSettings` of `count` steps of a round, from step `first` of the round on.

    Parameters
    ----------
    steps : int
        Number of steps of an epoch of the partition.
    """
    schedules = turn.schedule, plan.decay_schedule, plan.dropout_schedule
    if all(schedule is None for schedule in schedules):
        return StepSettings(turn.rate)
    per_round = steps if plan.local_steps is None else plan.local_steps
    numbers = np.arange(first, first + count, dtype=np.float64) + turn.number * per_round
    factors, decays, dropouts = (
        schedule and np.ascontiguousarray(
            schedule.factors(numbers, turn.number, per_round, plan.epochs), np.float64
        )
        for schedule in schedules
    )  # fmt: skip
    if dropouts is not None:
        check_dropout(plan.architecture, dropouts)
    rates = None if factors is None else plan.optimizer.lr * factors
    return StepSettings(turn.rate, rates, decays, dropouts)


def average_replicas(replicas, weights):
    """Return the weighted mean of replicas, over a binary tree; the sums of the round are added.

    Parameters
    ----------
    replicas : list of Replica
    weights : list of float

    Returns
    -------
    Replica
    """
    nodes = list(zip(replicas, weights, strict=True))
    while len(nodes) > 1:
        pairs = [nodes[i : i + 2] for i in range(0, len(nodes), 2)]
        nodes = [average_pair(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return nodes[0][0]


def average_pair(first, second):
    """Return the weighted mean of two replicas and the sum of their weights.

    Parameters
    ----------
    first, second : tuple (Replica, float)
    """
    (a, weight), (b, other) = first, second
    share, blocks = other / (weight + other), {}
    for name, block in a.blocks.items():
        mean = block * block.dtype.type(1 - share)
        mean += b.blocks[name] * block.dtype.type(share)
        # Equal values, such as those of frozen layers, keep their bits.
        np.copyto(mean, block, where=block == b.blocks[name])
        blocks[name] = mean
    position = max(a.position, b.position)
    return Replica(blocks, position, a.sums + b.sums), weight + other


def get_sums(replica):
    """Return the sums of the round, which the client reads."""
    return replica.sums


def score_partition(partition, replica, plan):
    """Return the sums of the score of a replica on the rows of a partition that were held out.

    Returns
    -------
    object or None
        What `plan.score` combines; None if no rows were held out.
    """
    partition = partition.select(plan.fold)
    if partition.held_out is None:
        return None
    state = ModelState(plan.architecture)
    replica.load_averages(state)
    return plan.score.measure(state, partition, plan.threads)


def combine_scores(parts, plan):
    """Return the score over all partitions."""
    return plan.score.combine([part for part in parts if part is not None])
