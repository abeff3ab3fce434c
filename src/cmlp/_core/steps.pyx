"""The loop: gather a batch, go forward, go back, update, without the GIL.

A step has two phases.  In the first, each thread takes rows of the batch through
the whole network and back; nothing but the workspace is written.  In the second,
each thread takes a part of the weights and adds its update to them.  No sum is
ever split between threads.

Where a batch is so small that a step is bound by reading and writing the weights,
each update waits for the next forward product, and both share one pass over the
weights; and each thread takes a part of every layer instead of rows of the batch.
"""
from libc.math cimport isfinite
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memcpy

from cmlp._core.blas cimport gemm
from cmlp._core.kernels cimport CMLP_F32, CMLP_F64, cmlp_rows
from cmlp._core.team cimport cmlp_barrier, share

cdef extern from "clock.h" nogil:
    double cmlp_now()

# The clock is read when so many multiply-adds are done.
cdef double WORK_PER_LOOK = 2e6

# A BLAS is worth its call from this many multiply-adds on.
cdef double BLAS_WORK = 2e6

# A BLAS may sum differently for different shapes: it gets fixed blocks of rows,
# so that the number of threads does not change what it is asked for.
cdef int64_t BLAS_ROWS = 64
cdef int64_t KERNEL_ROWS = 16

# An optimizer follows the gradient in blocks of so many bytes, while the cache has them.
cdef int64_t GRADIENT_BYTES = 1 << 16

# Sorting a sparse batch by column pays from so many entries a column on, and so many bytes
# of a row of the weights.
cdef int64_t ENTRIES_PER_COLUMN = 8
cdef int64_t TURNED_BYTES = 256


# Threads that share a layer's columns take whole pairs of lines.
cdef int64_t COLUMN_BYTES = 128


cdef bint suits_blas(int64_t m, int64_t n, int64_t k) noexcept nogil:
    return m >= 8 and <double> m * n * k >= BLAS_WORK


cdef inline bint use_blas(Job *job, int64_t m, int64_t n, int64_t k) noexcept nogil:
    return job.blas != NULL and suits_blas(m, n, k)


cdef inline bint is_sparse(Job *job, int l) noexcept nogil:
    # Whether layer l reads the batch's sparse rows.
    return l == 0 and job.rows.start != NULL


cdef void forward_columns(Job *job, Layer *layer, const void *a, int64_t lda,
                          int64_t m, int64_t column, int64_t n) noexcept nogil:
    # Columns column .. column + n of the first m rows of the layer's output.
    cdef int s = job.itemsize
    cdef char *c = at(layer.output, column, s)
    cdef char *d = at(layer.delta, column, s)
    cdef char *w = at(layer.weight, column, s)
    cdef char *bias = at(layer.bias, column, s)
    if a == NULL:
        job.kernels.sparse_affine(0, m, n, &job.entries, w, layer.n, bias, c, layer.ld)
    elif job.waiting:
        # The update that waits goes first, its deltas being of the batch before.
        job.kernels.accumulate_bias(m, n, d, layer.ld, bias)
        job.kernels.accumulate_affine(m, n, layer.inputs, layer.a, layer.lda, d, layer.ld,
                                      w, layer.n, a, lda, bias, c, layer.ld)
    else:
        job.kernels.affine(m, n, layer.inputs, a, lda, w, layer.n, bias, c, layer.ld)


cdef void forward_layer(Job *job, Layer *layer, const void *a, int64_t lda,
                        int64_t first, int64_t m) noexcept nogil:
    # Rows first .. first + m of the layer's output from those of its input a.
    cdef int s = job.itemsize
    cdef char *c = at(layer.output, first * layer.ld, s)
    cdef int64_t i
    if use_blas(job, m, layer.n, layer.inputs):
        for i in range(m):
            memcpy(c + i * layer.ld * s, layer.bias, layer.n * s)
        gemm(job.blas, s, False, False, m, layer.n, layer.inputs, a, lda,
             layer.weight, layer.n, 1, c, layer.ld)
    else:
        job.kernels.affine(m, layer.n, layer.inputs, a, lda, layer.weight, layer.n,
                           layer.bias, c, layer.ld)


cdef void *slopes(Job *job, Layer *layer, int64_t row, int64_t column) noexcept nogil:
    # Where an element's slope is kept, or NULL where the activation keeps none.
    if layer.slope == NULL:
        return NULL
    return at(layer.slope, row * layer.ld + column, job.itemsize)


cdef void activate(Job *job, Layer *layer, int64_t row, int64_t m, int64_t column, int64_t n,
                   int64_t outputs) noexcept nogil:
    # The activation of a block of the layer's input sums.
    job.kernels.activate(layer.activation, m, n, outputs,
                         at(layer.output, row * layer.ld + column, job.itemsize), layer.ld,
                         slopes(job, layer, row, column))


cdef void activate_backward(Job *job, Layer *layer, int64_t row, int64_t m, int64_t column,
                            int64_t n) noexcept nogil:
    # A block of the layer's deltas back through its activation.
    cdef const void *a = layer.slope if layer.slope != NULL else layer.output
    cdef int64_t place = row * layer.ld + column
    job.kernels.activate_backward(layer.activation, m, n, at(a, place, job.itemsize), layer.ld,
                                  at(layer.delta, place, job.itemsize), layer.ld)


cdef void backward_layer(Job *job, Layer *layer, Layer *below,
                         int64_t first, int64_t m) noexcept nogil:
    # Rows of the delta below: through the weights, then through its activation.
    cdef int s = job.itemsize
    cdef char *d = at(layer.delta, first * layer.ld, s)
    cdef char *c = at(below.delta, first * below.ld, s)
    if use_blas(job, m, layer.n, layer.inputs):
        gemm(job.blas, s, False, True, m, layer.inputs, layer.n, d, layer.ld,
             layer.weight, layer.n, 0, c, below.ld)
    else:
        job.kernels.affine_backward(m, layer.n, layer.inputs, d, layer.ld,
                                    layer.weight, layer.n, c, below.ld)
    activate_backward(job, below, first, m, 0, below.n)


cdef void update_rows(Job *job, Layer *layer, const void *a, int64_t lda,
                      int64_t first, int64_t rows, int64_t m) noexcept nogil:
    # Rows first .. first + rows of the weights, by the input a and the delta of all samples.
    cdef int s = job.itemsize
    cdef char *w = at(layer.weight_into, first * layer.n, s)
    a = at(a, first, s)
    if use_blas(job, m, layer.n, rows):
        gemm(job.blas, s, True, False, rows, layer.n, m, a, lda, layer.delta, layer.ld, 1,
             w, layer.n)
    else:
        job.kernels.accumulate(m, layer.n, rows, a, lda, layer.delta, layer.ld, w, layer.n)


cdef void optimize(Job *job, Layer *layer, int64_t first, int64_t rows, int64_t column,
                   int64_t n) noexcept nogil:
    # The optimizer's step for a block of the weights whose gradient is complete.
    cdef address[STATES] state
    cdef int64_t place = first * layer.n + column
    cdef int i
    if job.optimizer == NULL:
        return
    for i in range(STATES):
        state[i] = NULL
        if layer.weight_state[i] != NULL:
            state[i] = at(layer.weight_state[i], place, job.itemsize)
    job.kernels.optimize(job.optimizer, rows, n, layer.n, at(layer.weight, place, job.itemsize),
                         at(layer.weight_into, place, job.itemsize), state)


cdef void update_bias(Job *job, Layer *layer, int64_t m) noexcept nogil:
    job.kernels.accumulate_bias(m, layer.n, layer.delta, layer.ld, layer.bias_into)
    if job.optimizer != NULL:
        job.kernels.optimize(job.optimizer, 1, layer.n, layer.n, layer.bias, layer.bias_into,
                             layer.bias_state)


cdef void update_dense(Job *job, Layer *layer, const void *a, int64_t lda, int64_t m,
                       int thread, int threads) noexcept nogil:
    # A thread's rows of the weights, in blocks where something asks for blocks.
    cdef int64_t unit = 2 * BLAS_ROWS if job.blas != NULL else KERNEL_ROWS
    cdef int64_t blocks = (layer.inputs + unit - 1) // unit
    cdef int64_t first = share(blocks, thread, threads) * unit
    cdef int64_t end = min(share(blocks, thread + 1, threads) * unit, layer.inputs)
    cdef int64_t most = layer.inputs, rows
    if job.blas != NULL:
        most = unit
    elif job.optimizer != NULL:
        most = max(unit, GRADIENT_BYTES // (layer.n * job.itemsize) // unit * unit)
    while first < end:
        rows = min(end - first, most)
        update_rows(job, layer, a, lda, first, rows, m)
        optimize(job, layer, first, rows, 0, layer.n)
        first += rows


cdef bint turns(Job *job, Layer *layer, int64_t m) noexcept nogil:
    # Whether the batch has so many entries a column that sorting them by column pays:
    # each row of the weights is then read and written once.
    return (job.entries.column_end != NULL
            and job.entries.spans[m - 1].end >= ENTRIES_PER_COLUMN * layer.inputs
            and layer.n * job.itemsize >= TURNED_BYTES)


cdef void update_sparse(Job *job, Layer *layer, int64_t m, int thread, int threads) noexcept nogil:
    # A thread's rows of the weights or, as every sample meets rows of its own, its columns.
    cdef int64_t unit = CMLP_PAD // job.itemsize
    cdef int64_t first, n
    if turns(job, layer, m):
        first = share(layer.inputs, thread, threads)
        n = share(layer.inputs, thread + 1, threads) - first
        job.kernels.turned_accumulate(
            m, layer.n, first, n, &job.entries, layer.delta, layer.ld,
            at(layer.weight_into, first * layer.n, job.itemsize), layer.n)
        optimize(job, layer, first, n, 0, layer.n)
        return
    first = share(layer.n // unit, thread, threads) * unit
    n = share(layer.n // unit, thread + 1, threads) * unit - first
    if n:
        job.kernels.sparse_accumulate(
            m, n, &job.entries, at(layer.delta, first, job.itemsize), layer.ld,
            at(layer.weight_into, first, job.itemsize), layer.n)
        optimize(job, layer, 0, layer.inputs, first, n)


cdef bint reads_rows_in_place(Job *job) noexcept nogil:
    # Rows in order and in our real type are their own converted batch.
    return (job.order == NULL
            and job.rows.kind == <int32_t> (CMLP_F32 if job.itemsize == 4 else CMLP_F64)
            and job.rows.stride % job.itemsize == 0 and job.rows.stride >= 0)


cdef const void *batch_input(Job *job, int64_t sample, int64_t *lda) noexcept nogil:
    # Where the dense batch that begins with this sample lies when it has been read.
    if reads_rows_in_place(job):
        lda[0] = job.rows.stride // job.itemsize
        return <const char *> job.rows.data + sample * job.rows.stride
    lda[0] = job.input_ld
    return job.input


cdef void read_rows(Job *job, int64_t first, int64_t m, int64_t sample) noexcept nogil:
    # Rows first .. first + m of the batch that begins with this sample.
    cdef cmlp_rows rows = job.rows
    cdef const uint32_t *order = job.order + sample if job.order != NULL else NULL
    if rows.start != NULL:
        if order == NULL:
            rows.start += sample
        job.kernels.gather_sparse(&rows, order, first, m, &job.entries)
    elif not reads_rows_in_place(job):
        if order == NULL:
            rows.data = <const char *> rows.data + (sample + first) * rows.stride
        else:
            order += first
        job.kernels.gather(&rows, order, m, at(job.input, first * job.input_ld, job.itemsize),
                           job.input_ld)


cdef void prefetch(Job *job, int64_t first, int64_t end) noexcept nogil:
    # Asks for samples that a later batch will read.
    end = min(end, job.total)
    if job.prefetches and first < end:
        job.kernels.prefetch(&job.rows, job.order + first, end - first)


cdef void forward_rows(Job *job, int64_t first, int64_t m, int64_t sample) noexcept nogil:
    # Rows first .. first + m of the batch to the last layer's input sums, which
    # wait for the head or the activation.
    cdef const void *a = NULL
    cdef int64_t lda = 0
    cdef Layer *layer
    cdef int l
    read_rows(job, first, m, sample)
    if not is_sparse(job, 0):
        a = batch_input(job, sample, &lda)
    for l in range(job.depth):
        layer = &job.layers[l]
        if is_sparse(job, l):
            job.kernels.sparse_affine(first, m, layer.n, &job.entries, layer.weight, layer.n,
                                      layer.bias, layer.output, layer.ld)
        else:
            forward_layer(job, layer, at(a, first * lda, job.itemsize), lda, first, m)
        a, lda = layer.output, layer.ld
        if l < job.depth - 1:
            activate(job, layer, first, m, 0, layer.n, layer.outputs)


cdef double batch_weight(Job *job, int64_t sample, int64_t m) noexcept nogil:
    cdef double weight = 0
    cdef int64_t i
    if job.targets.weights == NULL:
        return m
    for i in range(sample, sample + m):
        weight += job.targets.weights[job.order[i] if job.order != NULL else i]
    return weight


cdef double step_scale(Job *job, int64_t sample, int64_t m) noexcept nogil:
    # What makes the sum of a batch's gradients a step by their mean.
    cdef double weight = batch_weight(job, sample, m)
    cdef double step = job.step
    if job.rates != NULL and job.optimizer == NULL:
        step = -job.rates[sample // job.batch]
    return step / weight if weight > 0 else 0


cdef void head_rows(Job *job, int64_t first, int64_t m, int64_t sample,
                    double scale) noexcept nogil:
    cdef Layer *last = &job.layers[job.depth - 1]
    cdef cmlp_targets targets = job.targets
    cdef const uint32_t *index = NULL
    sample += first
    if job.order != NULL:
        index = job.order + sample
    else:
        if targets.labels != NULL:
            targets.labels += sample
        else:
            targets.values = at(targets.values, sample * targets.ld, job.itemsize)
        if targets.weights != NULL:
            targets.weights += sample
    job.kernels.head(&job.head, &targets, index, m, scale,
                     at(last.output, first * last.ld, job.itemsize),
                     slopes(job, last, first, 0),
                     at(last.delta, first * last.ld, job.itemsize), last.ld, job.losses + first)


cdef void through(Job *job, int64_t sample, int64_t m, int thread, int threads) noexcept nogil:
    # Phase one of a step: a thread's rows of the batch forward and back.
    cdef int64_t size = BLAS_ROWS if job.blas != NULL else 1
    cdef int64_t blocks = (m + size - 1) // size
    cdef int64_t first = share(blocks, thread, threads) * size
    cdef int64_t end = min(share(blocks, thread + 1, threads) * size, m)
    cdef int64_t next = sample + m, begin = first, middle = (first + end) // 2, rows
    cdef double scale = step_scale(job, sample, m)
    cdef int l
    prefetch(job, next + begin, next + middle)
    while first < end:
        rows = min(end - first, size) if job.blas != NULL else end - first
        forward_rows(job, first, rows, sample)
        head_rows(job, first, rows, sample, scale)
        for l in range(job.depth - 1, 0, -1):
            backward_layer(job, &job.layers[l], &job.layers[l - 1], first, rows)
        first += rows
    prefetch(job, next + middle, next + end)


cdef void part(int64_t n, int itemsize, int64_t unit, int thread, int threads,
               int64_t *first, int64_t *size) noexcept nogil:
    # A thread's part of n reals, in units of so many bytes.
    cdef int64_t each = unit // itemsize
    cdef int64_t blocks = (n + each - 1) // each
    first[0] = share(blocks, thread, threads) * each
    size[0] = min(share(blocks, thread + 1, threads) * each, n) - first[0]


cdef void through_by_columns(Job *job, int64_t sample, int64_t m, int thread,
                             int threads) noexcept nogil:
    # Phase one where the batch is too small to be shared out: a thread's part of each
    # layer.  The layers wait for one another.
    cdef int s = job.itemsize
    cdef const void *a = NULL
    cdef int64_t lda = 0, first, n
    cdef Layer *layer
    cdef Layer *below
    cdef int l
    if thread == 0:
        read_rows(job, 0, m, sample)
        prefetch(job, sample + m, sample + 2 * m)
    cmlp_barrier(threads)
    if not is_sparse(job, 0):
        a = batch_input(job, sample, &lda)
    for l in range(job.depth):
        layer = &job.layers[l]
        part(layer.n, s, COLUMN_BYTES, thread, threads, &first, &n)
        if n > 0:
            forward_columns(job, layer, a, lda, m, first, n)
            if l < job.depth - 1:
                activate(job, layer, 0, m, first, n, n)
        cmlp_barrier(threads)
        if thread == 0:
            layer.a, layer.lda = a, lda
        a, lda = layer.output, layer.ld
    if thread == 0:
        head_rows(job, 0, m, sample, step_scale(job, sample, m))
    cmlp_barrier(threads)
    for l in range(job.depth - 1, 0, -1):
        layer, below = &job.layers[l], &job.layers[l - 1]
        part(layer.inputs, s, CMLP_PAD, thread, threads, &first, &n)
        if n > 0:
            job.kernels.affine_backward(
                m, layer.n, n, layer.delta, layer.ld, at(layer.weight, first * layer.n, s),
                layer.n, at(below.delta, first, s), below.ld)
            n = (n + CMLP_PAD // s - 1) // (CMLP_PAD // s) * (CMLP_PAD // s)
            activate_backward(job, below, 0, m, first, n)
        cmlp_barrier(threads)


cdef void update(Job *job, int64_t sample, int64_t m, int thread, int threads) noexcept nogil:
    # Phase two: a thread's part of the weights, layer by layer.
    cdef const void *a = NULL
    cdef int64_t lda = 0
    cdef int l
    if not is_sparse(job, 0):
        a = batch_input(job, sample, &lda)
    for l in range(job.depth):
        if is_sparse(job, l):
            update_sparse(job, &job.layers[l], m, thread, threads)
        else:
            update_dense(job, &job.layers[l], a, lda, m, thread, threads)
        if thread == l % threads:
            update_bias(job, &job.layers[l], m)
        a, lda = job.layers[l].output, job.layers[l].ld


cdef void finish_step(Job *job, int64_t m) noexcept nogil:
    # One thread adds up the losses, in order, and looks at the clock now and then.
    cdef double loss = 0, weight = batch_weight(job, job.done, m)
    cdef int64_t i
    for i in range(m):
        loss += job.losses[i]
    job.loss += loss
    job.weight += weight
    job.last_loss = loss / weight if weight > 0 else 0
    job.done += m
    job.work_done += m * job.work
    job.diverged = not isfinite(loss)
    job.stop = job.diverged or job.done >= job.total
    if job.work_done > WORK_PER_LOOK:
        job.work_done = 0
        job.stop = job.stop or cmlp_now() > job.deadline


cdef void begin_update(Job *job, int64_t sample) noexcept nogil:
    # Before the update by the batch that begins with this sample.
    if job.optimizer == NULL:
        return
    if job.rates != NULL:
        job.optimizer.rate = job.rates[sample // job.batch]
    job.kernels.begin_step(job.optimizer)


cdef void let_wait(Job *job, int64_t m) noexcept nogil:
    # The update by these samples is for the next forward product; its buffers are kept.
    cdef Layer *layer
    cdef int l
    for l in range(job.depth):
        layer = &job.layers[l]
        layer.output, layer.spare = layer.spare, layer.output
    job.input, job.spare_input = job.spare_input, job.input
    job.waiting = m


cdef void small_step(Job *job, int64_t sample, int64_t m, int thread, int threads) noexcept nogil:
    # A step whose update, unless it is the last, waits.  A sparse layer has no pass over
    # its weights to share.
    cdef bint waits
    through_by_columns(job, sample, m, thread, threads)
    if thread == 0:
        job.waiting = 0
        finish_step(job, m)
        begin_update(job, sample)
    cmlp_barrier(threads)
    waits = job.waits and not job.stop and job.total - job.done >= m
    if not waits:
        update(job, sample, m, thread, threads)
    elif is_sparse(job, 0):
        update_sparse(job, job.layers, m, thread, threads)
        if thread == 0:
            update_bias(job, job.layers, m)
    cmlp_barrier(threads)
    if waits and thread == 0:
        let_wait(job, m)
    cmlp_barrier(threads)


cdef void train_team(void *arg, int thread, int threads) noexcept nogil:
    cdef Job *job = <Job *> arg
    cdef int64_t sample, m
    while not job.stop:
        sample = job.done
        m = min(job.batch, job.total - sample)
        if job.small:
            small_step(job, sample, m, thread, threads)
            continue
        through(job, sample, m, thread, threads)
        if thread == 0:
            begin_update(job, sample)
        cmlp_barrier(threads)
        update(job, sample, m, thread, threads)
        cmlp_barrier(threads)
        if thread == 0:
            finish_step(job, m)
        cmlp_barrier(threads)


cdef bint has_targets(Job *job) noexcept nogil:
    return job.targets.labels != NULL or job.targets.values != NULL


cdef bint is_finite(Job *job, int64_t first, int64_t m) noexcept nogil:
    # Whether the samples first .. first + m, in the rows' own order, are.
    cdef cmlp_rows rows = job.rows
    rows.n = m
    if rows.start != NULL:
        rows.start += first
    else:
        rows.data = <const char *> rows.data + first * rows.stride
    return job.kernels.first_not_finite(&rows) < 0


cdef void infer_team(void *arg, int thread, int threads) noexcept nogil:
    # A thread's rows of the next batch to outputs, and to losses where there are targets.
    cdef Job *job = <Job *> arg
    cdef Layer *last = &job.layers[job.depth - 1]
    cdef int64_t m = min(job.batch, job.total - job.done)
    cdef int64_t size = BLAS_ROWS if job.blas != NULL else 1
    cdef int64_t blocks = (m + size - 1) // size
    cdef int64_t first = share(blocks, thread, threads) * size
    cdef int64_t end = min(share(blocks, thread + 1, threads) * size, m)
    cdef int64_t rows, i, width = last.outputs * job.itemsize
    cdef char *a
    if job.checks and first < end and not is_finite(job, job.done + first, end - first):
        job.not_finite = True
    while first < end:
        rows = min(end - first, size) if job.blas != NULL else end - first
        forward_rows(job, first, rows, job.done)
        a = at(last.output, first * last.ld, job.itemsize)
        if has_targets(job):
            head_rows(job, first, rows, job.done, 1)
        else:
            activate(job, last, first, rows, 0, last.n, last.outputs)
        for i in range(rows):
            memcpy(job.out + (job.done + first + i) * width, a + i * last.ld * job.itemsize, width)
        first += rows
