"""The epoch loop: gather a batch, go forward, go back, update, without the GIL.

A `Program` is what the loop runs: layers, loss and pointers into the parameters.
A step has two phases.  In the first, each thread takes rows of the batch through
the whole network and back; nothing but the workspace is written.  In the second,
each thread takes rows of the weights and adds its update to them.  Two barriers a
step are all that the team needs, and no sum is ever split between threads.
"""
from libc.math cimport isfinite
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.stdlib cimport posix_memalign

from cpython.exc cimport PyErr_CheckSignals

from cmlp._core.blas cimport (
    cblas_hooks, enter_single_threaded, gemm, hooks, leave_single_threaded)
from cmlp._core.kernels cimport (
    CMLP_F32, CMLP_F64, CMLP_PAD, CMLP_U8, cmlp_head, cmlp_kernels, cmlp_rows, cmlp_targets, table)

cdef extern from "threads.h" nogil:
    ctypedef void (*cmlp_body)(void *arg, int thread, int threads) noexcept nogil
    void cmlp_parallel(cmlp_body body, void *arg, int threads)
    void cmlp_barrier(int threads)
    void cmlp_survive_fork()
    int CMLP_HAVE_THREADS

cdef extern from "random.h" nogil:
    void cmlp_shuffle(uint32_t *order, uint32_t n, uint64_t seed, uint32_t epoch)

cdef extern from "clock.h" nogil:
    double cmlp_now()

cmlp_survive_fork()

HAVE_THREADS = bool(CMLP_HAVE_THREADS)

# Seconds between two breaths of the engine: signals, progress.
cdef double BREATH = 0.05

# Below this many multiply-adds for each thread, waking a team costs more than it saves.
cdef double WORK_PER_THREAD = 2e6

# Rows that go through the network at a time where nothing asks for a batch.
cdef int64_t INFERENCE_ROWS = 256

# A BLAS is worth its call from this many multiply-adds on.
cdef double BLAS_WORK = 2e6

# A BLAS may sum differently for different shapes: it gets fixed blocks of rows,
# so that the number of threads does not change what it is asked for.
cdef int64_t BLAS_ROWS = 64
cdef int64_t KERNEL_ROWS = 16


def shuffle(uint32_t[::1] order, uint64_t seed, uint32_t epoch):
    """Fill `order` with a permutation that is a function of (seed, epoch) alone."""
    if order.shape[0]:
        cmlp_shuffle(&order[0], order.shape[0], seed, epoch)


cdef class Rows:
    """Samples: a 2-D array of uint8, float32 or float64, read where it lies.

    Raises
    ------
    ValueError
        If the elements of a row are not next to one another.
    """
    cdef cmlp_rows view
    cdef const unsigned char[:, :] u8
    cdef const float[:, :] f4
    cdef const double[:, :] f8

    def __init__(self, array):
        cdef Py_ssize_t step
        kind = array.dtype.str[1:]
        self.view.n, self.view.width = array.shape
        self.view.stride = array.strides[0]
        step = array.strides[1]
        if self.view.n and self.view.width > 1 and step != array.itemsize:
            raise ValueError(f"the elements of a row must be contiguous; they are {step} bytes "
                             f"apart in an array of {array.dtype}")
        if kind == "u1":
            self.u8, self.view.kind = array, CMLP_U8
            if self.view.n:
                self.view.data = &self.u8[0, 0]
        elif kind == "f4":
            self.f4, self.view.kind = array, CMLP_F32
            if self.view.n:
                self.view.data = &self.f4[0, 0]
        else:
            self.f8, self.view.kind = array, CMLP_F64
            if self.view.n:
                self.view.data = &self.f8[0, 0]

    def __len__(self):
        return self.view.n

    def first_not_finite(self):
        """The first row that holds NaN or infinity, or -1."""
        cdef const cmlp_kernels *kernels = table(4)
        cdef int64_t row
        with nogil:
            row = kernels.first_not_finite(&self.view)
        return row


cdef class Targets:
    """What the outputs are compared with: int32 labels (n,), or reals (n, outputs)."""
    cdef cmlp_targets view
    cdef readonly Py_ssize_t n
    cdef const int32_t[::1] labels
    cdef const float[:, ::1] f4
    cdef const double[:, ::1] f8

    def __init__(self, array):
        self.n = array.shape[0]
        if array.ndim == 1:
            self.labels = array
            self.view.labels = &self.labels[0]
            return
        self.view.ld = array.shape[1]
        if array.itemsize == 4:
            self.f4 = array
            self.view.values = &self.f4[0, 0]
        else:
            self.f8 = array
            self.view.values = &self.f8[0, 0]


cdef struct Layer:
    int64_t inputs, outputs
    int64_t n                   # outputs with their padding
    int32_t activation
    void *weight                # (inputs, n)
    void *bias                  # (n,)
    void *weight_into           # what an update is added to: the same, or a gradient
    void *bias_into
    void *output                # of the workspace: (capacity, n)
    void *delta                 # gradient with respect to the layer's input sums


cdef struct Job:
    # One call of the engine: all that its team of threads shares.
    const cmlp_kernels *kernels
    const cblas_hooks *blas     # NULL where the rule says that our own kernels do it
    Layer *layers
    int depth
    cmlp_rows rows
    cmlp_targets targets
    cmlp_head head
    const uint32_t *order       # NULL: as the rows come
    void *input                 # of the workspace: (capacity, input_ld), the batch converted
    int64_t input_ld
    double *losses              # of the workspace: (capacity,)
    int64_t batch, done, total  # in samples
    double step                 # an update adds `step` times the mean gradient
    double work                 # multiply-adds a sample
    double work_done            # since the clock was last read
    double deadline
    bint stop, diverged
    double loss, last_loss      # sum over all samples; mean of the last batch
    char *out                   # inference: rows of outputs, packed
    int itemsize


cdef inline int64_t padded(int64_t n, int itemsize) noexcept nogil:
    cdef int64_t lanes = CMLP_PAD // itemsize
    return (n + lanes - 1) // lanes * lanes


cdef inline char *at(const void *p, int64_t element, int itemsize) noexcept nogil:
    return <char *> p + element * itemsize


cdef class Workspace:
    """The memory of one call: the batch, and of each layer its outputs and deltas.

    It is zeroed once; what lies between a row's width and its padded width stays zero
    or finite, so that kernels may run over whole vectors.
    """
    cdef char *memory
    cdef Layer *layers
    cdef int64_t capacity, input_ld
    cdef double *losses

    def __dealloc__(self):
        free(self.memory)
        free(self.layers)


cdef Workspace new_workspace(const Layer *layers, int depth, int itemsize, int64_t capacity):
    cdef Workspace w = Workspace()
    cdef int64_t reals
    cdef size_t size
    cdef char *place
    cdef int l
    w.capacity = capacity
    w.input_ld = reals = padded(layers[0].inputs, itemsize)
    for l in range(depth):
        reals += 2 * layers[l].n
    size = <size_t> capacity * (reals * itemsize + sizeof(double))
    w.layers = <Layer *> calloc(depth, sizeof(Layer))
    if w.layers == NULL or posix_memalign(<void **> &w.memory, CMLP_PAD, size) != 0:
        w.memory = NULL
        raise MemoryError(f"{size} bytes for a batch of {capacity} samples")
    memset(w.memory, 0, size)
    memcpy(w.layers, layers, depth * sizeof(Layer))
    place = w.memory + capacity * w.input_ld * itemsize
    for l in range(depth):
        w.layers[l].output = place
        place += capacity * layers[l].n * itemsize
        w.layers[l].delta = place
        place += capacity * layers[l].n * itemsize
    w.losses = <double *> place
    return w


cdef inline bint use_blas(Job *job, int64_t m, int64_t n, int64_t k) noexcept nogil:
    return job.blas != NULL and m >= 8 and <double> m * n * k >= BLAS_WORK


cdef inline int64_t share(int64_t blocks, int thread, int threads) noexcept nogil:
    return blocks * thread // threads


cdef void forward_layer(Job *job, Layer *layer, const void *a, int64_t lda,
                        int64_t first, int64_t m) noexcept nogil:
    # Rows first .. first + m of the layer's output from those of its input a.
    cdef int s = job.itemsize
    cdef char *c = at(layer.output, first * layer.n, s)
    cdef int64_t i
    if use_blas(job, m, layer.n, layer.inputs):
        for i in range(m):
            memcpy(c + i * layer.n * s, layer.bias, layer.n * s)
        gemm(job.blas, s, False, False, m, layer.n, layer.inputs, a, lda,
             layer.weight, layer.n, 1, c, layer.n)
    else:
        job.kernels.affine(m, layer.n, layer.inputs, a, lda, layer.weight, layer.n,
                           layer.bias, c, layer.n)


cdef void backward_layer(Job *job, Layer *layer, Layer *below,
                         int64_t first, int64_t m) noexcept nogil:
    # Rows of the delta below: through the weights, then through its activation.
    cdef int s = job.itemsize
    cdef char *d = at(layer.delta, first * layer.n, s)
    cdef char *c = at(below.delta, first * below.n, s)
    if use_blas(job, m, layer.n, layer.inputs):
        gemm(job.blas, s, False, True, m, layer.inputs, layer.n, d, layer.n,
             layer.weight, layer.n, 0, c, below.n)
    else:
        job.kernels.affine_backward(m, layer.n, layer.inputs, d, layer.n,
                                    layer.weight, layer.n, c, below.n)
    job.kernels.activate_backward(below.activation, m, below.n,
                                  at(below.output, first * below.n, s), below.n, c, below.n)


cdef void update_layer(Job *job, Layer *layer, const void *a, int64_t lda,
                       int64_t first, int64_t rows, int64_t m) noexcept nogil:
    # Rows first .. first + rows of the weights, by the input a and the delta of all samples.
    cdef int s = job.itemsize
    cdef char *w = at(layer.weight_into, first * layer.n, s)
    a = at(a, first, s)
    if use_blas(job, m, layer.n, rows):
        gemm(job.blas, s, True, False, rows, layer.n, m, a, lda, layer.delta, layer.n, 1,
             w, layer.n)
    else:
        job.kernels.accumulate(m, layer.n, rows, a, lda, layer.delta, layer.n, w, layer.n)


cdef bint reads_rows_in_place(Job *job) noexcept nogil:
    # Rows in order and in our real type are their own converted batch.
    return (job.order == NULL
            and job.rows.kind == (CMLP_F32 if job.itemsize == 4 else CMLP_F64)
            and job.rows.stride % job.itemsize == 0 and job.rows.stride >= 0)


cdef void read_rows(Job *job, int64_t first, int64_t m, int64_t sample) noexcept nogil:
    # Samples sample .. sample + m of the job, converted into rows first .. of the batch.
    cdef cmlp_rows rows = job.rows
    if job.order == NULL:
        rows.data = <const char *> rows.data + sample * rows.stride
    job.kernels.gather(&rows, job.order + sample if job.order != NULL else NULL, m,
                       at(job.input, first * job.input_ld, job.itemsize), job.input_ld)


cdef const void *forward_rows(Job *job, int64_t first, int64_t m, int64_t sample,
                              int64_t *lda) noexcept nogil:
    # Rows first .. first + m of the batch to the last layer's input sums, which
    # wait for the head or the activation.  Returns the input of the first layer.
    cdef const void *a
    cdef const void *inputs
    cdef Layer *layer
    cdef int l
    if reads_rows_in_place(job):
        inputs = <const char *> job.rows.data + sample * job.rows.stride
        lda[0] = job.rows.stride // job.itemsize
    else:
        read_rows(job, first, m, sample)
        inputs = at(job.input, first * job.input_ld, job.itemsize)
        lda[0] = job.input_ld
    a = inputs
    for l in range(job.depth):
        layer = &job.layers[l]
        forward_layer(job, layer, a, lda[0] if l == 0 else job.layers[l - 1].n, first, m)
        a = at(layer.output, first * layer.n, job.itemsize)
        if l < job.depth - 1:
            job.kernels.activate(layer.activation, m, layer.n, layer.outputs, <void *> a, layer.n)
    return inputs


cdef void head_rows(Job *job, int64_t first, int64_t m, int64_t sample,
                    double scale) noexcept nogil:
    cdef Layer *last = &job.layers[job.depth - 1]
    cdef cmlp_targets targets = job.targets
    cdef const uint32_t *index = NULL
    if job.order != NULL:
        index = job.order + sample
    elif targets.labels != NULL:
        targets.labels += sample
    else:
        targets.values = at(targets.values, sample * targets.ld, job.itemsize)
    job.kernels.head(&job.head, &targets, index, m, scale,
                     at(last.output, first * last.n, job.itemsize),
                     at(last.delta, first * last.n, job.itemsize), last.n, job.losses + first)


cdef void through(Job *job, int64_t sample, int64_t m, int thread, int threads) noexcept nogil:
    # Phase one of a step: a thread's rows of the batch forward and back.
    cdef int64_t blocks = (m + BLAS_ROWS - 1) // BLAS_ROWS if job.blas != NULL else m
    cdef int64_t size = BLAS_ROWS if job.blas != NULL else 1
    cdef int64_t first = share(blocks, thread, threads) * size
    cdef int64_t end = min(share(blocks, thread + 1, threads) * size, m)
    cdef int64_t rows, lda
    cdef int l
    while first < end:
        rows = min(end - first, size) if job.blas != NULL else end - first
        forward_rows(job, first, rows, sample + first, &lda)
        head_rows(job, first, rows, sample + first, job.step / m)
        for l in range(job.depth - 1, 0, -1):
            backward_layer(job, &job.layers[l], &job.layers[l - 1], first, rows)
        first += rows


cdef void update(Job *job, int64_t sample, int64_t m, int thread, int threads) noexcept nogil:
    # Phase two: a thread's rows of the weights, layer by layer.
    cdef const void *a = job.input
    cdef int64_t lda = job.input_ld
    cdef int64_t size = 2 * BLAS_ROWS if job.blas != NULL else KERNEL_ROWS
    cdef int64_t blocks, first, end, rows
    cdef Layer *layer
    cdef int l
    if reads_rows_in_place(job):
        a = <const char *> job.rows.data + sample * job.rows.stride
        lda = job.rows.stride // job.itemsize
    for l in range(job.depth):
        layer = &job.layers[l]
        blocks = (layer.inputs + size - 1) // size
        first = share(blocks, thread, threads) * size
        end = min(share(blocks, thread + 1, threads) * size, layer.inputs)
        while first < end:
            rows = min(end - first, size) if job.blas != NULL else end - first
            update_layer(job, layer, a, lda, first, rows, m)
            first += rows
        if thread == l % threads:
            job.kernels.accumulate_bias(m, layer.n, layer.delta, layer.n, layer.bias_into)
        a = layer.output
        lda = layer.n


cdef void finish_step(Job *job, int64_t m) noexcept nogil:
    # One thread adds up the losses, in order, and looks at the clock now and then.
    cdef double loss = 0
    cdef int64_t i
    for i in range(m):
        loss += job.losses[i]
    job.loss += loss
    job.last_loss = loss / m
    job.done += m
    job.work_done += m * job.work
    job.diverged = not isfinite(loss)
    job.stop = job.diverged or job.done >= job.total
    if job.work_done > WORK_PER_THREAD:
        job.work_done = 0
        job.stop = job.stop or cmlp_now() > job.deadline


cdef void train_team(void *arg, int thread, int threads) noexcept nogil:
    cdef Job *job = <Job *> arg
    cdef int64_t sample, m
    while not job.stop:
        sample = job.done
        m = min(job.batch, job.total - sample)
        through(job, sample, m, thread, threads)
        cmlp_barrier(threads)
        update(job, sample, m, thread, threads)
        cmlp_barrier(threads)
        if thread == 0:
            finish_step(job, m)
        cmlp_barrier(threads)


cdef inline bint has_targets(Job *job) noexcept nogil:
    return job.targets.labels != NULL or job.targets.values != NULL


cdef void infer_team(void *arg, int thread, int threads) noexcept nogil:
    # A thread's rows of the next batch to outputs, and to losses where there are targets.
    cdef Job *job = <Job *> arg
    cdef Layer *last = &job.layers[job.depth - 1]
    cdef int64_t m = min(job.batch, job.total - job.done)
    cdef int64_t size = BLAS_ROWS if job.blas != NULL else 1
    cdef int64_t blocks = (m + size - 1) // size
    cdef int64_t first = share(blocks, thread, threads) * size
    cdef int64_t end = min(share(blocks, thread + 1, threads) * size, m)
    cdef int64_t rows, lda, i, width = last.outputs * job.itemsize
    cdef char *a
    while first < end:
        rows = min(end - first, size) if job.blas != NULL else end - first
        forward_rows(job, first, rows, job.done + first, &lda)
        a = at(last.output, first * last.n, job.itemsize)
        if has_targets(job):
            head_rows(job, first, rows, job.done + first, 1)
        else:
            job.kernels.activate(last.activation, rows, last.n, last.outputs, a, last.n)
        for i in range(rows):
            memcpy(job.out + (job.done + first + i) * width, a + i * last.n * job.itemsize, width)
        first += rows


cdef void infer_for_a_breath(Job *job, int team) noexcept nogil:
    cdef int64_t i, m
    job.deadline = cmlp_now() + BREATH
    while job.done < job.total and cmlp_now() < job.deadline:
        m = min(job.batch, job.total - job.done)
        cmlp_parallel(infer_team, job, team)
        if has_targets(job):
            for i in range(m):
                job.loss += job.losses[i]
        job.done += m


cdef class Program:
    """A network as the engine runs it.

    Parameters
    ----------
    weights, biases : list of ndarray
        Of each layer the weights (inputs, outputs) and the bias (outputs,), rows
        padded with zeros to `kernels.PAD` bytes and aligned to as many; float32
        or float64.  They are used in place.
    outputs : list of int
        The widths without the padding.
    activations : list of int
        The codes, the last layer's included.
    loss : int
        The code.
    """
    cdef const cmlp_kernels *kernels
    cdef Layer *layers
    cdef int depth, itemsize
    cdef cmlp_head head
    cdef double work
    cdef object kept, spare

    def __cinit__(self, weights, biases, outputs, activations, int loss):
        cdef int l
        self.depth = len(weights)
        self.itemsize = weights[0].itemsize
        self.kernels = table(self.itemsize)
        self.kept = (weights, biases)
        self.spare = []
        self.layers = <Layer *> calloc(self.depth, sizeof(Layer))
        if self.layers == NULL:
            raise MemoryError
        for l in range(self.depth):
            self.layers[l].inputs, self.layers[l].n = weights[l].shape
            self.layers[l].outputs = outputs[l]
            self.layers[l].activation = activations[l]
            self.layers[l].weight = matrix(weights[l])
            self.layers[l].bias = vector(biases[l])
            self.work += self.layers[l].inputs * self.layers[l].n
        self.head = cmlp_head(
            self.layers[self.depth - 1].activation, loss, self.layers[self.depth - 1].outputs)

    def __dealloc__(self):
        free(self.layers)

    cdef Workspace take_workspace(self, int64_t capacity):
        # One from the shelf if it is large enough; two calls at once have two.
        cdef Workspace workspace
        while self.spare:
            workspace = self.spare.pop()
            if workspace.capacity >= capacity:
                return workspace
        return new_workspace(self.layers, self.depth, self.itemsize, capacity)

    cdef Job prepare(self, Rows rows, Targets targets, int64_t batch, Workspace workspace) except *:
        # A job over `rows` in their order; its layers update themselves.
        cdef Job job
        cdef Layer *layer
        cdef int l
        memset(&job, 0, sizeof(job))
        job.kernels, job.depth, job.head = self.kernels, self.depth, self.head
        job.itemsize, job.work = self.itemsize, self.work
        job.layers, job.input_ld = workspace.layers, workspace.input_ld
        job.input, job.losses = workspace.memory, workspace.losses
        job.blas = hooks()
        if job.blas.sgemm == NULL or job.blas.vector_bytes < self.kernels.vector_bytes:
            job.blas = NULL
        for l in range(self.depth):
            layer = &job.layers[l]
            layer.weight_into, layer.bias_into = layer.weight, layer.bias
        job.rows = rows.view
        if targets is not None:
            job.targets = targets.view
        job.batch, job.total = min(batch, rows.view.n), rows.view.n
        return job

    cdef int team(self, int64_t batch, int threads) noexcept:
        # Small work stays on one thread.
        cdef double most = batch * self.work / WORK_PER_THREAD
        return max(1, <int> min(<double> threads, most))

    def train(self, Rows rows not None, Targets targets not None, order, Py_ssize_t batch_size,
              double rate, int threads, tick=None):
        """One epoch of gradient descent.

        Parameters
        ----------
        rows, targets : Rows, Targets
            Of equal length, at least one sample.
        order : ndarray of uint32 or None
            The samples to take, in this order; None takes all as they come.
        batch_size : int
        rate : float
            Each batch subtracts `rate` times its mean gradient.
        threads : int
            At most so many; small work takes fewer.
        tick : callable, optional
            Called with the number of samples done at each breath.

        Returns
        -------
        loss, last_loss, samples : float, float, int
            Mean over the epoch, mean over the last batch, and how many samples were
            trained: all, unless the loss of the last batch is not finite.

        Raises
        ------
        KeyboardInterrupt
            Between two steps; the parameters are consistent.
        """
        cdef const uint32_t[::1] index
        cdef Workspace workspace = self.take_workspace(min(batch_size, rows.view.n))
        cdef Job job = self.prepare(rows, targets, batch_size, workspace)
        try:
            if order is not None:
                index = order
                job.order, job.total = &index[0], index.shape[0]
            job.step = -rate
            run_training(&job, self.team(job.batch, threads), tick)
        finally:
            self.spare.append(workspace)
        return job.loss / job.done, job.last_loss, job.done

    def gradient(self, Rows rows not None, Targets targets not None, weights, biases,
                 int threads):
        """The gradient of the mean loss over all rows, added to `weights` and `biases`.

        They are arrays of the parameters' shapes.  Returns the mean loss.
        """
        cdef Workspace workspace = self.take_workspace(rows.view.n)
        cdef Job job = self.prepare(rows, targets, rows.view.n, workspace)
        cdef int l
        try:
            for l in range(self.depth):
                job.layers[l].weight_into = matrix(weights[l])
                job.layers[l].bias_into = vector(biases[l])
            job.step = 1
            run_training(&job, self.team(job.batch, threads), None)
        finally:
            self.spare.append(workspace)
        return job.last_loss

    def infer(self, Rows rows not None, Targets targets, order, out, int threads):
        """The outputs of all rows into `out` (n, outputs), C-contiguous, of the real type.

        With an `order`, an ndarray of uint32, those of its rows alone, in its order.
        Returns the mean loss where there are targets, else 0.
        """
        cdef const uint32_t[::1] index
        cdef Workspace workspace = self.take_workspace(min(INFERENCE_ROWS, rows.view.n))
        cdef Job job = self.prepare(rows, targets, INFERENCE_ROWS, workspace)
        try:
            if order is not None:
                index = order
                job.order, job.total = &index[0], index.shape[0]
            job.out = <char *> matrix(out)
            run_inference(&job, self.team(job.batch, threads))
        finally:
            self.spare.append(workspace)
        return job.loss / job.total


cdef object run_training(Job *job, int team, tick):
    # Breath by breath until the job is done or has diverged.
    if job.blas != NULL:
        enter_single_threaded()
    try:
        while True:
            job.stop = False
            with nogil:
                job.deadline = cmlp_now() + BREATH
                cmlp_parallel(train_team, job, team)
            if job.diverged or job.done >= job.total:
                return
            PyErr_CheckSignals()
            if tick is not None:
                tick(job.done)
    finally:
        if job.blas != NULL:
            leave_single_threaded()


cdef object run_inference(Job *job, int team):
    if job.blas != NULL:
        enter_single_threaded()
    try:
        while job.done < job.total:
            with nogil:
                infer_for_a_breath(job, team)
            PyErr_CheckSignals()
    finally:
        if job.blas != NULL:
            leave_single_threaded()


cdef void *matrix(array) except NULL:
    # The address of a C-contiguous, writable 2-D array of reals.
    cdef float[:, ::1] f4
    cdef double[:, ::1] f8
    if array.itemsize == 4:
        f4 = array
        return &f4[0, 0]
    f8 = array
    return &f8[0, 0]


cdef void *vector(array) except NULL:
    cdef float[::1] f4
    cdef double[::1] f8
    if array.itemsize == 4:
        f4 = array
        return &f4[0]
    f8 = array
    return &f8[0]
