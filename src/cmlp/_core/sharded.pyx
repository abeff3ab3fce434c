"""Training on the shards of this process: the samples of each batch are divided into shards."""
from libc.math cimport INFINITY, isfinite
from libc.stdint cimport int64_t, uint64_t

import numpy as np

from cmlp._core.inputs cimport MetricSums, Rows, Targets
from cmlp._core.kernels cimport (
    CMLP_GRADIENT_BLOCK_BYTES, CMLP_LARGE_PHASE_BLOCKS, CMLP_TIME_SLICE_SECONDS, cmlp_metric_sums)
from cmlp._core.pool cimport Range, begin_team, end_team
from cmlp._core.program cimport Program, Workspace, run_shard_gradient
from cmlp._core.steps cimport (
    Job, TrainingJob, apply_gradient, count_levels, count_square_blocks, scale_dropout)
from cmlp._core.training cimport OptimizerKernel

cdef extern from "clock.h" nogil:
    double cmlp_now()


cdef enum:
    # Positions in the vector of sums, and their number without those of metrics.
    LOSS, WEIGHT, PENALTY, SUMS


cdef class ShardedRun:
    """The steps of one epoch. Its interface is that of `EpochRun`.

    Parameters
    ----------
    program : Program
    rows, targets : Rows, Targets
        Of this process.
    order : ndarray of uint32, shape (n,)
        The rows of all steps, and within a step of all shards, one after another.
    bounds : ndarray of int64, shape (steps, shards + 1)
        Position in `order` of the first row of each shard in each step, and the step's end.
    positions : ndarray of int64, shape (steps, shards)
        Position in the epoch, over all processes, of these rows.
    sizes, weights : ndarray of int64 and of float64, shape (steps,)
        Number of samples, and sum of their weights, of each step over all processes.
    batch_size : int
        The counter `done` grows by this number in each step.
    total : int
        Value of `done` after the last step.
    settings : StepSettings
    threads : int
        Upper limit.
    optimizer : OptimizerKernel
        Not plain; accumulates nothing.
    noise : tuple of (int, int), optional
        Seed and epoch of the random numbers; None: dropout and input layers are inactive.
    metrics : ShardMetrics, optional
        The metric sums of each shard; see shard_metrics.py.
    exchange : callable, optional
        Called in each step with a float64 vector of sums over this process: of the losses, two
        zeros, and the metric sums of the step. It adds the sums of the other processes to them, and
        their gradients to the optimizer's. Its second argument is `update`, which it calls for all
        parameters or for those that no other process updates.
    sync_every : int, default 0
        If it is not 0, each process takes this number of steps, or those up to the end of the
        epoch, by its own gradient before `exchange` is called. Instead of zeros, the second and
        third element are then the sums of the weights and of the penalties, and the vector is the
        only argument.

    Raises
    ------
    ValueError
        If the arrays do not fit.
    """
    cdef TrainingJob training
    cdef Program program
    cdef Workspace workspace
    cdef object references, exchange, metrics
    cdef OptimizerKernel optimizer
    cdef double[::1] squares, weights
    cdef char[::1] scratch
    cdef uint64_t[::1] marks
    cdef size_t[::1] metric_addresses
    cdef double[::1] sums
    cdef int64_t[::1] rows_of_step
    cdef const int64_t[:, ::1] bounds, positions
    cdef const int64_t[::1] sizes
    cdef const double[::1] decays, dropouts
    cdef object settings
    cdef int64_t step, steps, batch_size, total
    cdef int64_t sync_every
    cdef readonly bint is_synchronized
    cdef double loss_sum, weight_sum

    def __init__(self, Program program not None, Rows rows not None, Targets targets not None,
                 order, bounds, positions, sizes, weights, int64_t batch_size, int64_t total,
                 settings, int threads, *, OptimizerKernel optimizer not None,
                 noise=None, metrics=None, exchange=None, int64_t sync_every=0):
        cdef TrainingJob *training = &self.training
        cdef Job *job = &training.job
        cdef int64_t bytes, l
        cdef MetricSums part
        self.bounds, self.positions, self.sizes, self.weights = bounds, positions, sizes, weights
        self.steps = self.bounds.shape[0]
        job.shards = <int> self.positions.shape[1]
        if (self.bounds.shape[1] != job.shards + 1 or self.positions.shape[0] != self.steps
                or self.sizes.shape[0] != self.steps or self.weights.shape[0] != self.steps
                or job.shards < 1 or job.shards & (job.shards - 1)):
            raise ValueError("bounds must have one column more than positions, whose number of "
                             "columns is a power of two, and all arrays the same number of steps")
        if optimizer.is_plain:
            raise ValueError("optimizer must not be plain: gradients need a block of their own")
        shards = job.shards
        self.program, self.optimizer, self.exchange = program, optimizer, exchange
        self.references = rows, targets, order
        self.metrics, self.sync_every, self.is_synchronized = metrics, sync_every, True
        self.sums = np.zeros(SUMS + (0 if metrics is None else metrics.size))
        longest = max(1, int((np.asarray(bounds)[:, -1] - np.asarray(bounds)[:, 0]).max()))
        self.workspace = program.prepare_training(
            training, rows, targets, order, longest,
            noise is not None and program.has_randomness(), False, threads)
        # A BLAS may sum in another order for another number of rows.
        job.blas, job.shards = NULL, shards
        if noise is not None:
            job.key.seed, job.key.epoch = noise
        if metrics is not None:
            self.metric_addresses = np.zeros(shards, np.uintp)
            for l, part in enumerate(metrics.parts):
                self.metric_addresses[l] = <size_t> &part.sums
            training.shard_metrics = <cmlp_metric_sums **> &self.metric_addresses[0]
        optimizer.attach(training, program)
        self.squares = np.empty(count_square_blocks(job))
        training.squares = &self.squares[0]
        training.update_factor = 1
        bytes = CMLP_GRADIENT_BLOCK_BYTES
        for l in range(job.depth):
            bytes = max(bytes, 2 * job.layers[l].n * job.itemsize)
        self.scratch = np.empty(
            64 + bytes * count_levels(shards) * job.threads * CMLP_LARGE_PHASE_BLOCKS, np.int8)
        training.shard_sum_bytes = bytes
        training.shard_sums = &self.scratch[0] + (-<size_t> &self.scratch[0]) % 64
        self.rows_of_step = np.zeros(shards + 1, np.int64)
        job.shard_rows = &self.rows_of_step[0]
        if rows.view.start != NULL:  # the workspace has marks only for many entries per column
            self.marks = np.zeros(rows.view.width, np.uint64)
            job.input.entries.marks = &self.marks[0]
        self.batch_size, self.total, self.settings = batch_size, total, settings
        self.decays, self.dropouts = settings.decays, settings.dropouts

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.workspace is not None:
            self.program.release_workspace(self.workspace)
            self.workspace = None

    def resume(self, int64_t done, double loss, double weight, double penalty):
        """Continue from the counters of another run over the same samples; see `EpochRun`."""
        if not (0 <= done <= self.total and (done % self.batch_size == 0 or done == self.total)):
            raise ValueError(f"done must be from 0 to {self.total}, and a multiple of the batch "
                             f"size {self.batch_size} unless it is {self.total}; got {done}")
        if not (isfinite(loss) and isfinite(weight) and isfinite(penalty)):
            raise ValueError(f"loss, weight and penalty must be finite; got {loss}, {weight} and "
                             f"{penalty}")
        self.step = (done + self.batch_size - 1) // self.batch_size
        self.loss_sum, self.weight_sum = loss, weight
        self.training.penalty.total = penalty

    def run(self, int64_t steps=0, double seconds=CMLP_TIME_SLICE_SECONDS):
        """Train for some steps or, by default, for a time slice; see `EpochRun.run`."""
        cdef double end = INFINITY if steps else cmlp_now() + seconds
        cdef int64_t last = min(self.steps, self.step + steps) if steps else self.steps
        if self.workspace is None:
            raise ValueError("run() must be called before the context is left")
        while not self.training.has_diverged and self.step < last:
            self.take_step()
            if cmlp_now() > end:
                break
        return not self.training.has_diverged and self.step < self.steps

    cdef object take_step(self):
        cdef TrainingJob *training = &self.training
        cdef Job *job = &training.job
        cdef int64_t first = self.bounds[self.step, 0]
        cdef int shard
        training.rate = self.settings.get_rate(self.step)
        if self.decays is not None:
            training.decay_factor = self.decays[self.step]
        if self.dropouts is not None and job.drops:
            scale_dropout(job, self.dropouts[self.step])
        for shard in range(job.shards + 1):
            self.rows_of_step[shard] = self.bounds[self.step, shard] - first
        job.shard_samples = &self.positions[self.step, 0]
        job.done, job.total = first, first + self.rows_of_step[job.shards]
        training.whole_weight = self.weights[self.step]
        vector = np.zeros(self.sums.shape[0])
        if job.total > job.done:
            run_shard_gradient(training)
            vector[LOSS] = self.sum_losses(0, job.shards)
            if self.metrics is not None:
                vector[SUMS:] = self.metrics.collect()
        else:
            self.optimizer.gradient[:] = 0
        if self.exchange is not None and not self.sync_every:
            self.exchange(vector, self.update)
        else:
            self.is_synchronized = self.exchange is None
            self.update()
        self.count_step(vector)

    def update(self, int64_t first=0, int64_t size=0):
        """Take the optimizer's step for parameters first .. first + size, or for all of them.

        Parameters
        ----------
        first, size : int
            Elements of the parameters' block, multiples of 64 bytes.
        """
        cdef TrainingJob *training = &self.training
        training.share = Range(first, size)
        with nogil:
            training.job.team = begin_team(training.job.threads)
            apply_gradient(training)
            end_team(training.job.team)

    cdef object count_step(self, vector):
        # Count the sums of a step, and find divergence.
        cdef TrainingJob *training = &self.training
        cdef double loss = vector[LOSS], weight = self.weights[self.step]
        cdef double size = self.sizes[self.step], penalty = 0
        training.last_loss = loss / weight if weight > 0 else 0
        if training.penalty.is_active:
            training.last_loss += training.penalty.batch
            penalty = training.penalty.batch * size
            loss, weight = training.last_loss * size, size
        vector[:SUMS] = loss, weight, penalty
        if self.sync_every:
            np.asarray(self.sums)[:] += vector
            vector = np.asarray(self.sums)
            if (self.step + 1) % self.sync_every and self.step + 1 < self.steps:
                self.step += 1
                return
            self.exchange(vector)
            self.is_synchronized = True
        self.loss_sum += vector[LOSS]
        self.weight_sum += vector[WEIGHT]
        training.penalty.total += vector[PENALTY]
        if self.metrics is not None:
            self.metrics.add(vector[SUMS:])
        training.has_diverged = not isfinite(<double> vector[LOSS])
        self.sums[:] = 0
        self.step += 1

    cdef double sum_losses(self, int begin, int end) noexcept:
        # Sum the losses of shards begin .. end over their tree.
        cdef double loss = 0
        cdef int64_t i
        if end - begin > 1:
            return (self.sum_losses(begin, (begin + end) // 2)
                    + self.sum_losses((begin + end) // 2, end))
        for i in range(self.rows_of_step[begin], self.rows_of_step[end]):
            loss += self.training.job.losses[i]
        return loss

    @property
    def done(self):
        """Number of steps taken times `batch_size`, and `total` after the last one."""
        return min(self.total, self.step * self.batch_size)

    @property
    def loss(self):
        """Sum of the losses of all samples processed, each times its weight."""
        return self.loss_sum

    @property
    def weight(self):
        """Sum of the weights of all samples processed."""
        return self.weight_sum

    @property
    def penalty(self):
        """Sum of the optimizer's penalties, which `loss` includes."""
        return self.training.penalty.total

    @property
    def last_loss(self):
        """Mean loss of the last batch."""
        return self.training.last_loss

    @property
    def has_diverged(self):
        """Whether the loss of the last batch is not finite."""
        return self.training.has_diverged
