"""Training: an epoch of a `Program`, run a breath or some steps at a time, and its optimizer."""
from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import numpy as np

from cmlp._core.engine cimport Program, Workspace, matrix, run_team, set_into, vector
from cmlp._core.kernels cimport cmlp_optimizer
from cmlp._core.kernels import OPTIMIZERS
from cmlp._core.samples cimport Rows, Tally, Targets
from cmlp._core.steps cimport (
    BACKWARD, FORWARD, Job, Layer, at, batch_weight, squared_blocks, step_of)

cdef extern from "random.h" nogil:
    void cmlp_shuffle(uint32_t *order, uint32_t n, uint64_t seed, uint32_t epoch)

cdef extern from "clock.h" nogil:
    double cmlp_now()

# Seconds between two breaths of training: signals, progress, checkpoints.
BREATH = 0.05


def shuffle(uint32_t[::1] order, uint64_t seed, uint32_t epoch):
    """Fill `order` with a permutation that is a function of (seed, epoch) alone."""
    if order.shape[0]:
        cmlp_shuffle(&order[0], order.shape[0], seed, epoch)


cdef class Optimizer:
    """What turns gradients into steps: plain descent, or an optimizer with state.

    Parameters
    ----------
    name : str
        ``"sgd"``, the plain one, or one of `kernels.OPTIMIZERS`.
    hyper, bias_hyper : sequence of float
        As csrc/optimizers.h tells for each; for weights, and for biases and scales.
    l1, l2 : tuple (float, float)
        So much of each parameter's sign and of itself is added to its gradient; for weights,
        and for biases and scales.
    clip_value, clip_norm : float
        What an element of a gradient, and the norm of all of them, may be; 0 allows any.
    penalty : float
        Half of this times the squares of all weights over the samples of a batch, by their
        weights, is part of its loss, and batches count by their samples; below 0 for none.
    accumulate : int
        The steps whose mean gradient makes one step.
    gradient : list of (weight, bias, scale) arrays, optional
        Zeros like the parameters, padded as they are; unless it is plain.
    states : list of such lists, optional
    means : such a list, optional
        Running means of the parameters, which go a part `average` of the way in each step.
    """
    cdef cmlp_optimizer of_weights, of_biases
    cdef readonly bint plain
    cdef double clip_norm, penalty, average
    cdef int64_t accumulate
    cdef object gradient, states, means

    def __init__(self, str name, hyper=(), bias_hyper=(), l1=(0, 0), l2=(0, 0),
                 double clip_value=0, double clip_norm=0, double penalty=-1,
                 int64_t accumulate=1, gradient=None, states=(), means=None, double average=0):
        self.plain = name == "sgd"
        self.gradient, self.states, self.means = gradient, states, means
        self.clip_norm, self.penalty = clip_norm, penalty
        self.accumulate, self.average = accumulate, average
        if self.plain:
            return
        self.of_weights.kind = self.of_biases.kind = OPTIMIZERS.index(name)
        self.of_weights.clip_value = self.of_biases.clip_value = clip_value
        self.of_weights.scale = self.of_biases.scale = 1
        self.of_weights.l1, self.of_biases.l1 = l1
        self.of_weights.l2, self.of_biases.l2 = l2
        for i, (weights, biases) in enumerate(zip(hyper, bias_hyper, strict=True)):
            self.of_weights.hyper[i], self.of_biases.hyper[i] = weights, biases

    @property
    def position(self):
        """How many steps it has taken, and a product that NAdam keeps."""
        return self.of_weights.step, self.of_weights.product

    @position.setter
    def position(self, position):
        self.of_weights.step, self.of_weights.product = position
        self.of_biases.step, self.of_biases.product = position

    cdef int attach(self, Job *job, double rate) except -1:
        # Gradients go into arrays of their own, and the optimizer goes over them.
        cdef Layer *layer
        cdef int l, i
        self.of_weights.rate = self.of_biases.rate = rate
        job.optimizer, job.bias_optimizer = &self.of_weights, &self.of_biases
        job.clip_norm, job.accumulate, job.average = self.clip_norm, self.accumulate, self.average
        job.penalized, job.penalty = self.penalty >= 0, self.penalty
        job.step = 1
        for l in range(job.depth):
            layer = &job.layers[l]
            set_into(layer, self.gradient[l])
            for i, state in enumerate(self.states):
                weight, bias, scale = state[l]
                layer.weight.state[i], layer.bias.state[i] = matrix(weight), vector(bias)
                if scale is not None:
                    layer.scale.state[i] = vector(scale)
            if self.means is not None:
                weight, bias, scale = self.means[l]
                layer.weight.mean, layer.bias.mean = matrix(weight), vector(bias)
                if scale is not None:
                    layer.scale.mean = vector(scale)
        return 0


cdef class Epoch:
    """One epoch of gradient descent, or a part of one.

    Used as a context, it gives its workspace back at the end.

    Parameters
    ----------
    program : Program
    rows, targets : Rows, Targets
        Of equal length, at least one sample.
    order : ndarray of uint32 or None
        The samples to take, in this order; None takes all as they come.
    batch_size : int
    rate : float
        The learning rate.
    threads : int
        At most so many; small work takes fewer.
    optimizer : Optimizer, optional
        By default each batch subtracts `rate` times its mean gradient.
    rates : ndarray of float64, optional
        The learning rate of each step, instead of `rate`.
    noise : tuple (seed, epoch), optional
        What dropout and noise are drawn by; nothing is dropped without.
    tally : Tally, optional
    loss : callable, optional
        Of the outputs and targets of a batch, giving their mean loss and its gradient with
        respect to the outputs; instead of the program's.
    values : ndarray, optional
        What such a loss compares the rows' outputs with.
    part : tuple (place, first_step, steps), optional
        Where these are only a part of an epoch's samples: the place of the first, the number
        of its step, and the epoch's steps.
    """
    cdef Job job
    cdef Program program
    cdef Workspace workspace
    cdef int members
    cdef object kept, loss_function, values, order
    cdef double[::1] squares

    def __init__(self, Program program not None, Rows rows not None, Targets targets not None,
                 order, int64_t batch_size, double rate, int threads, *,
                 Optimizer optimizer=None, rates=None, noise=None, Tally tally=None, loss=None,
                 values=None, part=None):
        cdef const double[::1] of_steps
        cdef Job *job = &self.job
        self.program, self.loss_function, self.values = program, loss, values
        self.order = order
        self.kept = rows, targets, order, rates, tally, optimizer
        self.workspace = program.prepare(job, &rows.view, targets, order, batch_size,
                                         rows.longest, noise is not None and program.drops())
        job.step = -rate
        job.training = True
        job.max_norm = program.max_norm
        if rates is not None:
            of_steps = rates
            job.rates = &of_steps[0]
        if noise is not None:
            job.noise.seed, job.noise.epoch = noise
        if tally is not None:
            job.tally = &tally.sums
        job.steps = (job.total + job.batch - 1) // job.batch
        if part is not None:
            job.place, job.first_step, job.steps = part
        if optimizer is not None and not optimizer.plain:
            optimizer.attach(job, rate)
            self.squares = np.empty(squared_blocks(job.layers, job.depth))
            job.squares = &self.squares[0]
        job.small = (loss is None and self.workspace.spare
                     and job.batch <= program.kernels.shared_pass_rows)
        job.waits = job.small and job.optimizer == NULL and program.lets_wait()
        self.members = program.team(job, threads)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.workspace is not None:
            self.program.reset_updates(&self.job)
            self.program.spare.append(self.workspace)
            self.workspace = None

    def resume(self, int64_t done, double loss, double weight, double penalty):
        """Go on from where another one was."""
        self.job.done, self.job.loss, self.job.weight = done, loss, weight
        self.job.penalties = penalty

    def run(self, int64_t steps=0, double seconds=BREATH):
        """Train for so many seconds, about, or for so many steps; returns whether to go on.

        The parameters are consistent whenever it returns. It ends when all samples are
        done, or when a loss is not finite.
        """
        cdef Job *job = &self.job
        if self.workspace is None:
            raise ValueError("the epoch has ended")
        if job.diverged or job.done >= job.total:
            return False
        job.limit = min(job.total, job.done + steps * job.batch) if steps else job.total
        job.deadline = INFINITY if steps else cmlp_now() + seconds
        if self.loss_function is None:
            run_team(job, self.members)
        else:
            self.run_with_function(seconds if not steps else INFINITY)
        return not (job.diverged or job.done >= job.total)

    cdef object run_with_function(self, double seconds):
        # The loss in Python stands between the two parts of each step.
        cdef Job *job = &self.job
        cdef double end = cmlp_now() + seconds
        while True:
            job.phase = FORWARD
            run_team(job, self.members)
            self.call_function()
            job.phase = BACKWARD
            run_team(job, self.members)
            if job.diverged or job.done >= job.limit or cmlp_now() > end:
                return

    cdef object call_function(self):
        # Outputs to their loss and gradient, by the function.
        cdef Job *job = &self.job
        cdef Layer *last = &job.layers[job.depth - 1]
        cdef int64_t m = min(job.batch, job.total - job.done), i
        cdef int64_t width = last.outputs * job.itemsize
        cdef double scale = step_of(job, job.done)
        cdef char *row
        outputs = np.empty((m, last.outputs), self.program.dtype)
        row = <char *> matrix(outputs)
        for i in range(m):
            memcpy(row + i * width, at(last.output, i * last.ld, job.itemsize), width)
        part = slice(job.done, job.done + m)
        index = part if self.order is None else self.order[part]
        loss, gradient = self.loss_function(outputs, self.values[index])
        gradient = np.ascontiguousarray(gradient * scale, self.program.dtype)
        row = <char *> matrix(gradient)
        for i in range(m):
            memcpy(at(last.delta, i * last.ld, job.itemsize), row + i * width, width)
        memset(job.losses, 0, m * sizeof(double))
        job.losses[0] = loss * batch_weight(job, job.done, m)

    @property
    def done(self):
        """The samples done."""
        return self.job.done

    @property
    def total(self):
        """The samples that there are."""
        return self.job.total

    @property
    def loss(self):
        """The sum of all samples' weighted losses."""
        return self.job.loss

    @property
    def weight(self):
        """The sum of all samples' weights."""
        return self.job.weight

    @property
    def penalty(self):
        """The part of the loss that is the optimizer's penalty."""
        return self.job.penalties

    @property
    def mean_loss(self):
        """Over the samples done."""
        return self.job.loss / self.job.weight if self.job.weight > 0 else 0.0

    @property
    def last_loss(self):
        """Mean over the last batch."""
        return self.job.last_loss

    @property
    def diverged(self):
        """Whether the last batch's loss was not finite."""
        return self.job.diverged


def train(Program program, Rows rows, Targets targets, order, int64_t batch_size, double rate,
          int threads, tick=None, **options):
    """Train for one epoch; the arguments are those of `Epoch`.

    Parameters
    ----------
    tick : callable, optional
        Called with the number of samples done at each breath.

    Returns
    -------
    loss, last_loss : float
        Mean over the epoch, and over the last batch.
    """
    with Epoch(program, rows, targets, order, batch_size, rate, threads, **options) as epoch:
        while epoch.run():
            if tick is not None:
                tick(epoch.done)
        return epoch.mean_loss, epoch.last_loss
