"""The doors of the engine: a network as a `Program`, and its workspace.

Training is in `epochs.pyx`; what happens without the GIL is in `steps.pyx`.
"""
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.stdlib cimport posix_memalign

from cpython.buffer cimport (
    Py_buffer, PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE,
    PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer)
from cpython.exc cimport PyErr_CheckSignals

import numpy as np

from cmlp._core.blas cimport enter_single_threaded, hooks, leave_single_threaded
from cmlp._core.kernels cimport (
    CMLP_PAD, cmlp_head, cmlp_rows, cmlp_span, dropout_of, table)
from cmlp._core.samples cimport Rows, Tally, Targets, describe
from cmlp._core.steps cimport (
    OVER_BATCH, OVER_LAYER, Job, Layer, batch_weight, has_targets, infer_team, suits_blas,
    tally_outputs, train_team)
from cmlp._core.team cimport CMLP_HAVE_THREADS, cmlp_parallel, cmlp_survive_fork

cdef extern from "clock.h" nogil:
    double cmlp_now()

cmlp_survive_fork()

HAVE_THREADS = bool(CMLP_HAVE_THREADS)

# Seconds between two breaths of inference: signals, progress.
cdef double BREATH = 0.05

# Below this many multiply-adds for each thread, waking a team costs more than it saves.
cdef double WORK_PER_THREAD = 2e6

# What touching a weight for one sparse element costs, in multiply-adds of a dense product.
cdef double SPARSE_COST = 3

# Rows that go through the network at a time where nothing asks for a batch.
cdef int64_t INFERENCE_ROWS = 256

# The next batch is asked for ahead of time where it is no larger than this, in bytes.
cdef int64_t PREFETCHED_BYTES = 1 << 18

# Wider vectors than these take our products near the peak of the core, and no BLAS was
# found to be faster; one that was made for the CPU is faster than the plain kernels.
cdef int PLAIN_VECTOR_BYTES = 16

# Rows whose stride is a multiple of this many bytes fall on the same few lines of the cache.
cdef int64_t ALIASED_BYTES = 1 << 10


cdef int64_t leading(int64_t n, int itemsize) noexcept:
    # What is between two rows of n reals in the workspace: whole vectors, and not aliased.
    cdef int64_t lanes = CMLP_PAD // itemsize
    cdef int64_t ld = (n + lanes - 1) // lanes * lanes
    return ld + lanes if ld * itemsize % ALIASED_BYTES == 0 else ld


cdef class Workspace:
    """The memory of one call: the batch, and of each layer its outputs and deltas.

    It is zeroed once; what lies between a row's width and its padded width stays zero
    or finite, so that kernels may run over whole vectors.
    """
    def __dealloc__(self):
        free(self.memory)
        free(self.layers)

    cdef void *take(self, size_t size) noexcept:
        # The next so many bytes; before there is memory, only counted.
        cdef size_t place = self.used
        self.used += (size + CMLP_PAD - 1) // CMLP_PAD * CMLP_PAD
        return self.memory + place if self.memory != NULL else NULL

    cdef void lay_out(self, Job *job, Layer *layers) noexcept:
        # Gives every buffer of the job its place.
        cdef int s = job.itemsize
        cdef int l
        cdef bint sloped
        cdef Layer *layer
        self.used = 0
        if self.entries:
            job.entries.spans = <cmlp_span *> self.take(self.capacity * sizeof(cmlp_span))
            job.entries.column = <int32_t *> self.take(self.entries * sizeof(int32_t))
            job.entries.value = self.take(self.entries * s)
            job.entries.marks = NULL
            if layers[0].inputs <= self.entries:
                job.entries.marks = <uint64_t *> self.take(layers[0].inputs * sizeof(uint64_t))
        else:
            job.input = self.take(self.capacity * self.input_ld * s)
            job.spare_input = self.take(self.capacity * self.input_ld * s) if self.spare else NULL
        for l in range(job.depth):
            layer = &layers[l]
            layer.output = self.take(self.capacity * layer.ld * s)
            layer.spare = self.take(self.capacity * layer.ld * s) if self.spare else NULL
            layer.slope = NULL
            sloped = job.kernels.keeps_slope(layer.activation.kind)
            if sloped or layer.dropout.dropped:
                layer.slope = self.take(self.capacity * layer.ld * s)
            if not (sloped or job.drops):
                layer.slope = NULL
            layer.delta = self.take(self.capacity * layer.ld * s)
            layer.start = layer.bias.value
            if layer.scale.value != NULL:
                layer.start = self.take(layer.n * s)
                layer.normal = self.take(self.capacity * layer.ld * s)
                layer.shift_delta = self.take(self.capacity * layer.ld * s)
                layer.inverse = self.take(max(self.capacity, layer.n) * s)
        job.losses = <double *> self.take(self.capacity * sizeof(double))
        job.input_ld = self.input_ld
        job.layers = layers


cdef class Program:
    """A network as the engine runs it.

    Parameters
    ----------
    layers : list of dict
        Of each layer ``arrays``, the weights (inputs, outputs), the bias (outputs,) and,
        where it is normalised, the scale (outputs,), else None: rows padded with zeros to
        `kernels.PAD` bytes and aligned to as many; float32 or float64, used in place;
        ``outputs``, without the padding; ``activation``, its code and parameter;
        ``dropout``, a rate; and, where it is normalised, ``normalization``, its kind, and
        ``epsilon``; over batches ``momentum`` and ``running``, the mean and the variance.
    loss : int
        The code; -1 for one in Python.
    parameter : float
        Of the loss, where it has one.
    input_dropout, input_noise : float
        A rate, and a standard deviation.
    max_norm : float
        Of the weights into a unit; 0 allows any.
    """

    def __cinit__(self, layers, int loss, double parameter=0, double input_dropout=0,
                  double input_noise=0, double max_norm=0):
        self.depth = len(layers)
        first = layers[0]["arrays"][0]
        self.itemsize = first.itemsize
        self.dtype = first.dtype
        self.kernels = table(self.itemsize)
        self.kept = layers
        self.spare = []
        self.layers = <Layer *> calloc(self.depth, sizeof(Layer))
        if self.layers == NULL:
            raise MemoryError
        for l, layer in enumerate(layers):
            self.describe_layer(&self.layers[l], layer)
        self.head = cmlp_head(self.layers[self.depth - 1].activation, loss,
                              self.layers[self.depth - 1].outputs, parameter)
        self.input_dropout = dropout_of(input_dropout)
        self.input_noise, self.max_norm = input_noise, max_norm

    cdef int describe_layer(self, Layer *layer, dict given) except -1:
        weight, bias, scale = given["arrays"]
        layer.inputs, layer.n = weight.shape
        layer.ld = leading(layer.n, self.itemsize)
        layer.outputs = given["outputs"]
        layer.activation.kind, layer.activation.parameter = given["activation"]
        layer.dropout = dropout_of(given["dropout"])
        layer.weight.value = layer.weight.into = matrix(weight)
        layer.bias.value = layer.bias.into = vector(bias)
        if scale is None:
            return 0
        layer.scale.value = layer.scale.into = vector(scale)
        layer.epsilon = given["epsilon"]
        layer.normalization = OVER_LAYER
        if given["normalization"] == "batch":
            layer.normalization = OVER_BATCH
            layer.momentum = given["momentum"]
            layer.running_mean = vector(given["running"][0])
            layer.running_variance = vector(given["running"][1])
            self.normalizes_batches = True
        return 0

    def __dealloc__(self):
        free(self.layers)

    cdef bint drops(self) noexcept:
        # Whether training drops elements or adds noise.
        cdef int l
        for l in range(self.depth):
            if self.layers[l].dropout.dropped:
                return True
        return self.input_dropout.dropped != 0 or self.input_noise > 0

    cdef bint lets_wait(self) noexcept:
        # Whether an update may be put off: what comes after it is the next forward product.
        cdef int l
        for l in range(self.depth):
            if self.layers[l].scale.value != NULL:
                return False
        return self.max_norm == 0

    cdef Workspace take_workspace(self, Job *job, int64_t longest):
        # One from the shelf if it is large enough; two calls at once have two.
        cdef Workspace w
        cdef int64_t entries = 0
        cdef bint fits
        if job.rows.start != NULL:
            entries = max(1, min(job.batch * longest, job.rows.start[job.rows.n]))
        while self.spare:
            w = self.spare.pop()
            fits = w.entries >= entries > 0 or w.entries == entries == 0
            if w.capacity >= job.batch and fits:
                w.lay_out(job, w.layers)
                return w
        w = Workspace()
        w.capacity, w.entries = job.batch, entries
        w.input_ld = leading(self.layers[0].inputs, self.itemsize)
        w.spare = job.batch <= self.kernels.shared_pass_rows
        w.layers = <Layer *> calloc(self.depth, sizeof(Layer))
        if w.layers == NULL:
            raise MemoryError
        memcpy(w.layers, self.layers, self.depth * sizeof(Layer))
        w.lay_out(job, w.layers)
        w.size = w.used
        if posix_memalign(<void **> &w.memory, CMLP_PAD, w.size) != 0:
            w.memory = NULL
            raise MemoryError(f"{w.size} bytes for a batch of {job.batch} samples")
        memset(w.memory, 0, w.size)
        w.lay_out(job, w.layers)
        return w

    cdef void choose(self, Job *job, const cmlp_rows *rows, int64_t batch,
                     int64_t elements) noexcept:
        # What the rules make of rows that hold so many sparse elements, or are dense.
        cdef double first = rows.width
        cdef bint suits = False
        cdef int l
        memset(job, 0, sizeof(Job))
        job.kernels, job.depth, job.head = self.kernels, self.depth, self.head
        job.itemsize = self.itemsize
        job.rows = rows[0]
        job.total = rows.n
        job.batch = min(batch, rows.n)
        job.by_columns = self.normalizes_batches
        job.input_dropout, job.input_noise = self.input_dropout, self.input_noise
        job.accumulate = 1
        if elements:
            first = min(first, SPARSE_COST * elements / rows.n)
        for l in range(self.depth):
            suits = suits or suits_blas(job.batch, self.layers[l].n, self.layers[l].inputs)
            job.work += (first if l == 0 else self.layers[l].inputs) * self.layers[l].n
        job.blas = hooks()
        if (not suits or job.blas.sgemm == NULL or job.by_columns
                or self.kernels.vector_bytes > PLAIN_VECTOR_BYTES):
            job.blas = NULL

    cdef Workspace prepare(self, Job *job, const cmlp_rows *rows, Targets targets, order,
                           int64_t batch, int64_t longest, bint drops):
        # Fills in a job over these rows, in their order or another; layers update themselves.
        cdef const uint32_t[::1] index
        self.choose(job, rows, batch,
                    rows.start[rows.n] - rows.start[0] if rows.start != NULL else 0)
        if order is not None:
            index = order
            job.order, job.total = &index[0], index.shape[0]
            job.prefetches = job.batch * rows.width * 8 <= PREFETCHED_BYTES
        if targets is not None:
            job.targets = targets.view
        job.limit, job.drops = job.total, drops
        return self.take_workspace(job, longest)

    cdef int team(self, Job *job, int threads) noexcept:
        # Small work stays on one thread.
        return max(1, <int> min(<double> threads, job.batch * job.work / WORK_PER_THREAD))

    cdef void reset_updates(self, Job *job) noexcept:
        # Layers of a workspace that goes back to the shelf are as the program's are.
        cdef Layer *layer
        cdef int l
        for l in range(self.depth):
            layer = &job.layers[l]
            layer.weight, layer.bias = self.layers[l].weight, self.layers[l].bias
            layer.scale, layer.momentum = self.layers[l].scale, self.layers[l].momentum

    def gradient(self, Rows rows not None, Targets targets not None, gradients, int threads,
                 double momentum=0):
        """The gradient of the mean loss over all rows, added to arrays like the parameters.

        Nothing is dropped. Where layers are normalised over batches, the statistics are
        those of all rows; the running ones go so much of the way. Returns the mean loss.
        """
        cdef Job job
        cdef Workspace workspace = self.prepare(&job, &rows.view, targets, None, rows.view.n,
                                                rows.longest, False)
        cdef int l
        try:
            for l, arrays in enumerate(gradients):
                set_into(&job.layers[l], arrays)
                job.layers[l].momentum = momentum
            job.step = 1
            job.steps = 1
            run_training(&job, self.team(&job, threads))
        finally:
            self.reset_updates(&job)
            self.spare.append(workspace)
        return job.last_loss

    def infer(self, Rows rows not None, Targets targets, order, out, int threads,
              bint checks=False, Tally tally=None, tick=None):
        """The outputs of all rows into `out` (n, outputs), C-contiguous, of the real type.

        With an `order`, an ndarray of uint32, those of its rows alone, in its order.
        Without `out` only the loss is wanted, and the sums of `tally`.
        With `checks` it stops at rows that hold NaN or infinity, while they are in the
        cache. `tick` is called with the number of samples done at each breath.
        Returns the mean loss where there are targets, else 0; None where it stopped.
        """
        cdef Job job
        cdef Workspace workspace = self.prepare(&job, &rows.view, targets, order, INFERENCE_ROWS,
                                                rows.longest, False)
        try:
            if out is not None:
                job.out = <char *> matrix(out)
            if tally is not None:
                job.tally = &tally.sums
            job.checks = checks
            run_inference(&job, self.team(&job, threads), tick)
        finally:
            self.spare.append(workspace)
        return None if job.not_finite else mean_loss(&job)

    def plan(self, int64_t batch, int threads, int64_t entries=0):
        """What the rules choose for a batch of so many dense samples.

        With `entries`, for sparse samples of so many elements each.

        Returns
        -------
        threads : int
        products : list of str
            Who computes each layer's: ``"kernels"``, ``"BLAS"``, ``"sparse kernels"``, or
            ``"kernels, update and forward in one pass"``.
        """
        cdef Job job
        cdef cmlp_rows rows
        cdef Layer *layer
        cdef int l, team
        memset(&rows, 0, sizeof(rows))
        rows.n, rows.width = batch, self.layers[0].inputs
        self.choose(&job, &rows, batch, batch * entries)
        team = self.team(&job, threads)
        shares = batch <= self.kernels.shared_pass_rows and self.lets_wait()
        products = []
        for l in range(self.depth):
            layer = &self.layers[l]
            if l == 0 and entries:
                products.append("sparse kernels")
            elif job.blas != NULL and suits_blas(batch, layer.n, layer.inputs):
                products.append("BLAS")
            else:
                products.append("kernels" + ", update and forward in one pass" * shares)
        return team, products

    def outputs(self, array):
        """The short way for few samples: the outputs (n, outputs), or None.

        None where `array` is no 2-D buffer of uint8, float32 or float64 with contiguous
        rows, does not fit, holds NaN or infinity, or is worth more than one thread:
        the long way tells what is wrong with it.
        """
        cdef Py_buffer buffer
        cdef cmlp_rows rows
        if not PyObject_CheckBuffer(array):
            return None
        PyObject_GetBuffer(array, &buffer, PyBUF_STRIDES | PyBUF_FORMAT)
        try:
            memset(&rows, 0, sizeof(rows))
            if describe(&buffer, &rows) and rows.width == self.layers[0].inputs and rows.n:
                return self.small_outputs(&rows)
        finally:
            PyBuffer_Release(&buffer)

    cdef object small_outputs(self, const cmlp_rows *rows):
        cdef Job job
        cdef Workspace workspace
        if rows.n > INFERENCE_ROWS:
            return None
        workspace = self.prepare(&job, rows, None, None, INFERENCE_ROWS, 0, False)
        try:
            if self.team(&job, 2) > 1:
                return None
            out = np.empty((rows.n, self.head.outputs), self.dtype)
            job.out = <char *> matrix(out)
            job.checks = True
            run_inference(&job, 1, None)
            return None if job.not_finite else out
        finally:
            self.spare.append(workspace)


cdef object run_training(Job *job, int team):
    # Until the job is done or has diverged.
    job.deadline = INFINITY
    run_team(job, team)


cdef object run_team(Job *job, int team):
    # One breath of training.
    if job.blas != NULL:
        enter_single_threaded()
    try:
        job.stop = False
        with nogil:
            cmlp_parallel(train_team, job, team)
    finally:
        if job.blas != NULL:
            leave_single_threaded()


cdef int set_into(Layer *layer, arrays) except -1:
    # Updates go into these arrays, which are like the layer's parameters.
    weight, bias, scale = arrays
    layer.weight.into, layer.bias.into = matrix(weight), vector(bias)
    if scale is not None:
        layer.scale.into = vector(scale)
    return 0


cdef double mean_loss(const Job *job) noexcept:
    return job.loss / job.weight if job.weight > 0 else 0


cdef void infer_for_a_breath(Job *job, int team) noexcept nogil:
    cdef int64_t i, m
    while True:
        m = min(job.batch, job.total - job.done)
        cmlp_parallel(infer_team, job, team)
        if has_targets(job):
            for i in range(m):
                job.loss += job.losses[i]
            job.weight += batch_weight(job, job.done, m)
        if job.tally != NULL:
            tally_outputs(job, job.done, m)
        job.done += m
        if job.done >= job.total or job.not_finite:
            return
        if job.deadline == 0:
            job.deadline = cmlp_now() + BREATH
        elif cmlp_now() > job.deadline:
            job.deadline = 0
            return


cdef object run_inference(Job *job, int team, tick):
    if job.blas != NULL:
        enter_single_threaded()
    try:
        while True:
            with nogil:
                infer_for_a_breath(job, team)
            if tick is not None:
                tick(job.done)
            if job.done >= job.total or job.not_finite:
                return
            PyErr_CheckSignals()
    finally:
        if job.blas != NULL:
            leave_single_threaded()


cdef void *reals(array, int ndim) except NULL:
    # The address of a C-contiguous, writable array of reals, which stays the caller's.
    cdef Py_buffer buffer
    PyObject_GetBuffer(array, &buffer, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
    cdef void *address = buffer.buf
    cdef bint fits = buffer.ndim == ndim and buffer.itemsize in (4, 8)
    PyBuffer_Release(&buffer)
    if not fits:
        raise ValueError(f"{ndim} dimensions of reals are needed, got {array.dtype}, "
                         f"shape {array.shape}")
    return address


cdef void *matrix(array) except NULL:
    return reals(array, 2)


cdef void *vector(array) except NULL:
    return reals(array, 1)
