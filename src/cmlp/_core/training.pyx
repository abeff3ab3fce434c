"""Training a `Program`: an epoch that runs one time slice at a time, and its optimizer."""
from libc.math cimport INFINITY, NAN, isfinite
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import numpy as np

from cmlp._core.inputs cimport MetricSums, Rows, Targets
from cmlp._core.kernels cimport CMLP_TIME_SLICE_SECONDS
from cmlp._core.kernels import OPTIMIZERS
from cmlp._core.program cimport Program, Workspace, address_array, run_training
from cmlp._core.pool cimport begin_team, end_team
from cmlp._core.steps cimport (
    BACKWARD, FORWARD, MAX_STATES, MAX_TENSORS, Job, Layer, ParameterGroup, Tensor,
    TrainingJob, address, apply_gradient, at, compute_delta_factor, count_square_blocks,
    sum_weights)

cdef extern from "random.h" nogil:
    void cmlp_shuffle(uint32_t *order, uint32_t n, uint64_t seed, uint32_t epoch)

cdef extern from "clock.h" nogil:
    double cmlp_now()

# Seconds after which `EpochRun.run` returns to Python for signals, progress and checkpoints.
TIME_SLICE = CMLP_TIME_SLICE_SECONDS


def shuffle(uint32_t[::1] order, uint64_t seed, uint32_t epoch):
    """Fill `order` with a random permutation of 0 .. n - 1.

    Parameters
    ----------
    order : ndarray of uint32, shape (n,)
    seed, epoch : int
        The permutation is a function of these alone.
    """
    if order.shape[0]:
        cmlp_shuffle(&order[0], order.shape[0], seed, epoch)


cdef class OptimizerKernel:
    """The compiled form of an optimizer: its settings and the blocks that it works on.

    Blocks are laid out like the program's `parameters`.

    Parameters
    ----------
    name : str
        ``"sgd"`` for plain gradient descent, which has no blocks but `mean` and ignores the
        other settings, or one of `kernels.OPTIMIZERS`.
    groups : sequence
        Settings that tensors share, at least one unless the optimizer is plain, with the
        attributes `hyper`, the hyper-parameters in the order of csrc/optimizers.h; `l1`, `l2` and
        `decay`, the coefficients of penalties and of decoupled decay; `rate_factor` of the learning
        rate, 0 for tensors that are not trained; `step_factor`, a further factor of the update but
        not of decoupled decay; and `is_penalized`, whether `penalty` applies.
    group_of : dict from int to int
        Index of the group of each tensor, by the tensor's offset in the block.
    clip_value, clip_norm : float
        Largest absolute value of an element of the gradient, and largest norm of all
        gradients together; 0: no limit.
    penalty : float
        If it is at least 0, penalty / 2 * sum of squared weights / weight of the batch is
        part of each batch's loss, and batches are weighted by their number of samples.
    accumulate : int
        Number of batches whose mean gradient makes one step.
    gradient : ndarray, optional
        Block of zeros. Required unless the optimizer is plain.
    states : sequence of ndarray
        One block for each state array of the optimizer.
    mean : ndarray, optional
        Block of running means of the parameters.
    mean_rate : float
        Each step moves the running means by this fraction of the difference.

    Attributes
    ----------
    is_plain : bool
        Whether it is plain gradient descent.
    position : tuple of (int, float)
        Number of steps taken, and the running product of momenta that NAdam needs.
    """
    def __init__(self, str name, groups=(), dict group_of=None, double clip_value=0,
                 double clip_norm=0, double penalty=-1, int64_t accumulate=1, gradient=None,
                 states=(), mean=None, double mean_rate=0):
        self.is_plain = name == "sgd"
        self.gradient, self.states, self.mean = gradient, states, mean
        self.clip_norm, self.penalty = clip_norm, penalty
        self.accumulate, self.mean_rate = accumulate, mean_rate
        if self.is_plain:
            return
        free(self.groups)
        self.group_of, self.group_count = group_of, len(groups)
        self.groups = <ParameterGroup *> calloc(len(groups), sizeof(ParameterGroup))
        if self.groups == NULL:
            raise MemoryError
        for i, group in enumerate(groups):
            describe_group(&self.groups[i], OPTIMIZERS[name].code, clip_value, group)

    def __dealloc__(self):
        free(self.groups)

    @property
    def position(self):
        if self.is_plain:
            return 0, 0.0
        return self.groups[0].optimizer.step, self.groups[0].optimizer.product

    @position.setter
    def position(self, position):
        cdef int group
        for group in range(self.group_count):
            self.groups[group].optimizer.step, self.groups[group].optimizer.product = position

    cdef int attach(self, TrainingJob *training, Program program) except -1:
        # Let the job accumulate gradients in their block and update by this optimizer.
        cdef Layer *layer
        cdef char *gradient = program.address_block("gradient", self.gradient)
        cdef char *mean = NULL
        cdef address[MAX_STATES] states
        cdef int l, t, count = 0
        for state in self.states:
            states[count] = program.address_block("states", state)
            count += 1
        if self.mean is not None:
            mean = program.address_block("mean", self.mean)
        training.optimizer.groups, training.optimizer.group_count = self.groups, self.group_count
        training.optimizer.accumulate = self.accumulate
        training.optimizer.mean_rate = self.mean_rate
        training.clipping.max_norm = self.clip_norm
        training.penalty.is_active = self.penalty >= 0
        training.penalty.factor = self.penalty
        training.scales_late = False
        training.decay_factor = 1
        training.first_trained = training.job.depth
        for l in range(-training.job.encoders, training.job.depth):
            layer = &training.job.layers[l]
            for t in range(MAX_TENSORS):
                if layer.tensors[t].rows:
                    attach_blocks(&layer.tensors[t], program.itemsize, gradient, states, count,
                                  mean)
                    self.attach_group(training, &layer.tensors[t], l)
        return 0

    cdef int attach_group(self, TrainingJob *training, Tensor *tensor, int layer) except -1:
        tensor.group = self.group_of[tensor.offset]
        tensor.is_frozen = self.groups[tensor.group].rate_factor == 0
        if not tensor.is_frozen:
            training.first_trained = min(training.first_trained, layer)
        return 0


cdef int describe_group(ParameterGroup *group, int kind, double clip_value,
                        settings) except -1:
    # Fill in a group; the position is that of an optimizer before its first step.
    cdef int i
    group.optimizer.kind, group.optimizer.clip_value, group.optimizer.scale = kind, clip_value, 1
    for i in range(len(settings.hyper)):
        group.optimizer.hyper[i] = settings.hyper[i]
    group.optimizer.l1 = settings.l1
    group.l2, group.decay = settings.l2, settings.decay
    group.rate_factor, group.step_factor = settings.rate_factor, settings.step_factor
    group.is_penalized = settings.is_penalized
    return 0


cdef void attach_blocks(Tensor *tensor, int itemsize, char *gradient, address *states, int count,
                        char *mean) noexcept:
    cdef int i
    tensor.into = at(gradient, tensor.offset, itemsize)
    for i in range(count):
        tensor.state[i] = at(states[i], tensor.offset, itemsize)
    tensor.mean = at(mean, tensor.offset, itemsize) if mean != NULL else NULL


cdef const double *address_steps(array) except? NULL:
    # Return the address of the values of each step, or NULL for None.
    cdef const double[::1] values
    if array is None or len(array) == 0:
        return NULL
    values = array
    return &values[0]


cdef class EpochRun:
    """One epoch of gradient descent, or a chunk of one.

    Use it as a context manager: on exit it returns its workspace to the program.

    Parameters
    ----------
    program : Program
    rows : Rows
    targets : Targets
        One for each row; at least one.
    order : ndarray of uint32 or None
        The samples to take, in this order; None: all, as stored.
    batch_size : int
    settings : StepSettings
        Learning rate, and factors of weight decay and dropout, of each step.
    threads : int
        Upper limit; small work uses fewer.
    optimizer : OptimizerKernel, optional
        Without one, each batch subtracts its learning rate times its mean gradient.
    noise : tuple of (seed, epoch), optional
        Key of the random numbers of dropout and input layers; without it they are inactive.
    sums : MetricSums, optional
        Receives the metric sums of the outputs before each step.
    loss : callable, optional
        Replaces the program's loss. It is called with the outputs (m, n_outputs) of a batch and
        the m items of `values`, and returns the mean loss and its gradient with respect to the
        outputs.
    values : ndarray, optional
        Targets that `loss` is called with, one item per row.
    chunk : tuple of (sample_offset, first_step, steps), optional
        If the samples are a chunk of an epoch: position of their first sample in the epoch,
        number of their first step, and number of steps of the epoch.
    """
    cdef TrainingJob training
    cdef Program program
    cdef Workspace workspace
    cdef object references              # owners of the memory that the job points to
    cdef object loss_function, values, order, settings
    cdef OptimizerKernel optimizer
    cdef double[::1] squares

    def __init__(self, Program program not None, Rows rows not None, Targets targets not None,
                 order, int64_t batch_size, settings, int threads, *,
                 OptimizerKernel optimizer=None, noise=None, MetricSums sums=None, loss=None,
                 values=None, chunk=None):
        cdef TrainingJob *training = &self.training
        cdef Job *job = &training.job
        self.program, self.loss_function, self.values = program, loss, values
        self.order, self.optimizer = order, optimizer
        self.references = rows, targets, sums
        self.workspace = program.prepare_training(
            training, rows, targets, order, batch_size,
            noise is not None and program.has_randomness(), loss is None, threads)
        if noise is not None:
            job.key.seed, job.key.epoch = noise
        if sums is not None:
            job.sums = &sums.sums
        training.steps = (job.total + job.batch - 1) // job.batch
        if chunk is not None:
            job.sample_offset, training.first_step, training.steps = chunk
        if optimizer is not None and not optimizer.is_plain:
            optimizer.attach(training, program)
            self.squares = np.empty(count_square_blocks(job))
            training.squares = &self.squares[0]
        self.set_steps(settings)
        training.defers_updates = (training.is_small and training.optimizer.groups == NULL
                                   and program.can_defer_updates())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.workspace is not None:
            self.program.release_workspace(self.workspace)
            self.workspace = None

    cdef int set_steps(self, settings) except -1:
        cdef TrainingJob *training = &self.training
        training.rate = settings.rate
        training.update_factor = -training.rate if training.optimizer.groups == NULL else 1
        training.rates = address_steps(settings.rates)
        training.decays = address_steps(settings.decays)
        training.dropouts = NULL
        if training.job.drops:
            training.dropouts = address_steps(settings.dropouts)
        self.settings = settings
        return 0

    def restart(self, order, settings, uint32_t epoch):
        """Begin another epoch over the same samples, with all counters at zero.

        Parameters
        ----------
        order, settings
            As in the constructor. The number of samples must stay the same, and an order must be
            given if and only if the first epoch has one.
        epoch : int
            Number of the epoch in the key of the random numbers.

        Raises
        ------
        ValueError
            If the order does not fit, or the context has been left.
        """
        cdef TrainingJob *training = &self.training
        cdef Job *job = &training.job
        cdef const uint32_t[::1] index
        if self.workspace is None:
            raise ValueError("restart() must be called before the context is left")
        if order is not self.order:
            if order is None or self.order is None or len(order) != job.total:
                raise ValueError(f"order must have {job.total} indices, like the first epoch's")
            index = order
            self.order, job.input.order = order, &index[0]
        self.set_steps(settings)
        job.key.epoch = epoch
        job.done, job.loss, job.weight = 0, 0, 0
        training.penalty.total, training.has_diverged = 0, False

    def resume(self, int64_t done, double loss, double weight, double penalty):
        """Continue from the counters of another run over the same samples.

        Parameters
        ----------
        done : int
            A multiple of the batch size, or the number of all samples.
        loss, weight, penalty : float
            That run's properties of these names.

        Raises
        ------
        ValueError
            If no step begins with sample `done`, or a sum is not finite.
        """
        cdef Job *job = &self.training.job
        if not (0 <= done <= job.total and (done % job.batch == 0 or done == job.total)):
            raise ValueError(f"done must be from 0 to {job.total}, and a multiple of the batch "
                             f"size {job.batch} unless it is {job.total}; got {done}")
        if not (isfinite(loss) and isfinite(weight) and isfinite(penalty)):
            raise ValueError(f"loss, weight and penalty must be finite; got {loss}, {weight} and "
                             f"{penalty}")
        self.training.job.done = done
        self.training.job.loss, self.training.job.weight = loss, weight
        self.training.penalty.total = penalty

    def run(self, int64_t steps=0, double seconds=CMLP_TIME_SLICE_SECONDS):
        """Train for some steps or, by default, for a time slice.

        The parameters are consistent whenever it returns. Training ends when all samples are
        processed, or when the loss of a batch, or the gradient from a callable, is not finite.

        Parameters
        ----------
        steps : int, default 0
            Number of steps; 0: run until `seconds` have passed.
        seconds : float, default TIME_SLICE

        Returns
        -------
        bool
            Whether samples remain to be processed.

        Raises
        ------
        ValueError
            If the context has been left.
        """
        cdef TrainingJob *training = &self.training
        cdef Job *job = &training.job
        if self.workspace is None:
            raise ValueError("run() must be called before the context is left")
        if training.has_diverged or job.done >= job.total:
            return False
        training.limit = min(job.total, job.done + steps * job.batch) if steps else job.total
        job.deadline = INFINITY if steps else cmlp_now() + seconds
        if self.loss_function is None:
            run_training(training)
        else:
            self.run_with_function(seconds if not steps else INFINITY)
        return not (training.has_diverged or job.done >= job.total)

    cdef object run_with_function(self, double seconds):
        # Run steps in two parts, between which the loss in Python is called.
        cdef TrainingJob *training = &self.training
        cdef double end = cmlp_now() + seconds
        while True:
            training.part = FORWARD
            before = self.program.statistics.copy()
            run_training(training)
            try:
                self.call_function()
            except BaseException:
                # The step is not complete: undo what batch normalization noted of its batch.
                self.program.statistics[:] = before
                raise
            training.part = BACKWARD
            run_training(training)
            if (training.has_diverged or training.job.done >= training.limit
                    or cmlp_now() > end):
                return

    cdef object call_function(self):
        # Call the loss in Python with the outputs of the batch; store its loss and gradient.
        cdef Job *job = &self.training.job
        cdef Layer *last = &job.layers[job.depth - 1]
        cdef int64_t m = min(job.batch, job.total - job.done), i
        cdef int64_t width = last.outputs * job.itemsize
        cdef double factor = compute_delta_factor(&self.training, job.done)
        cdef char *row
        outputs = np.empty((m, last.outputs), self.program.dtype)
        row = address_array(outputs, 2)
        for i in range(m):
            memcpy(row + i * width, at(last.output, i * last.ld, job.itemsize), width)
        batch = slice(job.done, job.done + m)
        index = batch if self.order is None else self.order[batch]
        loss, gradient = self.loss_function(outputs, self.values[index])
        gradient = np.ascontiguousarray(gradient * factor, self.program.dtype)
        if not np.isfinite(gradient).all():
            loss = NAN  # the step makes parameters NaN: training has diverged
        row = address_array(gradient, 2)
        for i in range(m):
            memcpy(at(last.delta, i * last.ld, job.itemsize), row + i * width, width)
        memset(job.losses, 0, m * sizeof(double))
        job.losses[0] = loss * sum_weights(job, job.done, m)

    @property
    def done(self):
        """Number of samples processed."""
        return self.training.job.done

    @property
    def loss(self):
        """Sum of the losses of the samples processed, each times its weight."""
        return self.training.job.loss

    @property
    def weight(self):
        """Sum of the weights of the samples processed."""
        return self.training.job.weight

    @property
    def penalty(self):
        """Sum of the optimizer's penalties, which `loss` includes."""
        return self.training.penalty.total

    @property
    def mean_loss(self):
        """Mean loss of the samples processed; 0 before the first."""
        cdef Job *job = &self.training.job
        return job.loss / job.weight if job.weight > 0 else 0.0

    @property
    def last_loss(self):
        """Mean loss of the last batch."""
        return self.training.last_loss

    @property
    def has_diverged(self):
        """Whether the loss of the last batch, or its gradient from a callable, is not finite."""
        return self.training.has_diverged


def apply_optimizer(Program program not None, Rows rows not None,
                    OptimizerKernel optimizer not None, double rate):
    """Take one step of an optimizer by the gradient in its block, which becomes zero.

    Parameters
    ----------
    program : Program
    rows : Rows
        One sample, which is not read.
    optimizer : OptimizerKernel
        Not plain; accumulates nothing and has no penalty.
    rate : float
        Learning rate.
    """
    cdef TrainingJob training
    cdef double[::1] squares
    cdef Workspace workspace = program.prepare_training(&training, rows, None, None, 1, False,
                                                        False, 1)
    try:
        optimizer.attach(&training, program)
        squares = np.empty(count_square_blocks(&training.job))
        training.squares = &squares[0]
        training.rate, training.update_factor, training.whole_weight = rate, 1, 1
        with nogil:
            training.job.team = begin_team(1)
            apply_gradient(&training)
            end_team(training.job.team)
    finally:
        program.release_workspace(workspace)
