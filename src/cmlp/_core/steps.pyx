"""The loop: gather a batch, go forward, go back, update, without the GIL.

A step has two phases.  In the first, each thread takes rows of the batch through
the whole network and back; nothing but the workspace is written.  In the second,
each thread takes a part of the weights and adds its update to them.  No sum is
ever split between threads.

Where a batch is so small that a step is bound by reading and writing the weights,
each update waits for the next forward product, and both share one pass over the
weights; and each thread takes a part of every layer instead of rows of the batch, as
it does where a layer is normalised over the batch.
"""
from libc.math cimport isfinite, sqrt
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memcpy

from cmlp._core.blas cimport gemm
from cmlp._core.kernels cimport (
    CMLP_F32, CMLP_F64, CMLP_MARKS, CMLP_PAD, cmlp_noise, cmlp_optimizer, cmlp_rows,
    cmlp_targets)
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

# Going through a sparse batch by column pays from so many entries a column on, among the
# samples that are marked together, and from so many bytes of a row of the weights.
cdef int64_t ENTRIES_PER_MARKS = 2
cdef int64_t MARKED_BYTES = 256

# The gradients' squares are added up in blocks of so many rows, whoever does it.
cdef int64_t SQUARED_ROWS = 64

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
    cdef char *w = at(layer.weight.value, column, s)
    cdef char *bias = at(layer.start, column, s)
    if a == NULL:
        job.kernels.sparse_affine(0, m, n, layer.inputs, &job.entries, w, layer.n, bias, c,
                                  layer.ld)
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
            memcpy(c + i * layer.ld * s, layer.start, layer.n * s)
        gemm(job.blas, s, False, False, m, layer.n, layer.inputs, a, lda,
             layer.weight.value, layer.n, 1, c, layer.ld)
    else:
        job.kernels.affine(m, layer.n, layer.inputs, a, lda, layer.weight.value, layer.n,
                           layer.start, c, layer.ld)


cdef inline char *place_in(Job *job, const void *p, Layer *layer, int64_t row,
                           int64_t column) noexcept nogil:
    # An element of one of the layer's buffers, or NULL where there is no such buffer.
    return at(p, row * layer.ld + column, job.itemsize) if p != NULL else NULL


cdef cmlp_noise noise_of(Job *job, int l) noexcept nogil:
    # Where the random numbers of layer l are; the input's are those of layer 0.
    cdef cmlp_noise noise = job.noise
    noise.layer = l
    return noise


cdef void activate(Job *job, int l, int64_t sample, int64_t row, int64_t m, int64_t column,
                   int64_t n, int64_t outputs) noexcept nogil:
    # A block of the input sums of layer l to outputs, some of which are dropped.
    cdef Layer *layer = &job.layers[l]
    cdef char *a = place_in(job, layer.output, layer, row, column)
    cdef char *slope = place_in(job, layer.slope, layer, row, column)
    cdef cmlp_noise noise
    job.kernels.activate(&layer.activation, m, n, outputs, a, layer.ld, slope)
    if job.drops and layer.dropout.dropped:
        noise = noise_of(job, l + 1)
        job.kernels.drop(&layer.activation, &layer.dropout, &noise, job.place + sample + row,
                         column, m, n, a, layer.ld, slope)


cdef void activate_backward(Job *job, Layer *layer, int64_t row, int64_t m, int64_t column,
                            int64_t n) noexcept nogil:
    # A block of the gradient with respect to the layer's outputs back through its activation.
    cdef char *d = place_in(job, layer.delta, layer, row, column)
    if layer.slope != NULL:
        job.kernels.multiply(m, n, place_in(job, layer.slope, layer, row, column), layer.ld, d,
                             layer.ld)
    else:
        job.kernels.activate_backward(&layer.activation, m, n,
                                      place_in(job, layer.output, layer, row, column), layer.ld,
                                      d, layer.ld)


cdef void normalize_rows(Job *job, Layer *layer, int64_t row, int64_t m) noexcept nogil:
    # Rows of the input sums, each by itself: over the layer, or by the running statistics.
    cdef char *z = place_in(job, layer.output, layer, row, 0)
    if layer.normalization == OVER_LAYER:
        job.kernels.normalize_layer(
            m, layer.n, layer.outputs, layer.epsilon, layer.scale.value, layer.bias.value, z,
            layer.ld, place_in(job, layer.normal, layer, row, 0),
            at(layer.inverse, row, job.itemsize))
    elif layer.normalization == OVER_BATCH:
        job.kernels.normalize_by_running(
            m, layer.n, layer.epsilon, layer.scale.value, layer.bias.value, layer.running_mean,
            layer.running_variance, z, layer.ld)


cdef void normalize_rows_backward(Job *job, Layer *layer, int64_t row, int64_t m) noexcept nogil:
    if layer.normalization == OVER_LAYER:
        job.kernels.normalize_layer_backward(
            m, layer.n, layer.outputs, layer.scale.value,
            place_in(job, layer.normal, layer, row, 0), at(layer.inverse, row, job.itemsize),
            place_in(job, layer.delta, layer, row, 0), layer.ld,
            place_in(job, layer.shift_delta, layer, row, 0))


cdef void normalize_columns(Job *job, Layer *layer, int64_t m, int64_t column,
                            int64_t n) noexcept nogil:
    # Columns of the input sums over the batch, which whoever has them knows as a whole.
    cdef int s = job.itemsize
    if layer.normalization == OVER_BATCH:
        job.kernels.normalize_batch(
            m, n, layer.epsilon, layer.momentum, at(layer.scale.value, column, s),
            at(layer.bias.value, column, s), at(layer.running_mean, column, s),
            at(layer.running_variance, column, s), at(layer.output, column, s), layer.ld,
            at(layer.normal, column, s), at(layer.inverse, column, s))


cdef void normalize_columns_backward(Job *job, Layer *layer, int64_t m, int64_t column,
                                     int64_t n) noexcept nogil:
    cdef int s = job.itemsize
    if layer.normalization == OVER_BATCH:
        job.kernels.normalize_batch_backward(
            m, n, at(layer.scale.value, column, s), at(layer.normal, column, s),
            at(layer.inverse, column, s), at(layer.delta, column, s), layer.ld,
            at(layer.shift_delta, column, s))


cdef void backward_layer(Job *job, Layer *layer, Layer *below,
                         int64_t first, int64_t m) noexcept nogil:
    # Rows of the delta below: through the weights, then through its activation.
    cdef int s = job.itemsize
    cdef char *d = at(layer.delta, first * layer.ld, s)
    cdef char *c = at(below.delta, first * below.ld, s)
    if use_blas(job, m, layer.n, layer.inputs):
        gemm(job.blas, s, False, True, m, layer.inputs, layer.outputs, d, layer.ld,
             layer.weight.value, layer.n, 0, c, below.ld)
    else:
        job.kernels.affine_backward(m, layer.outputs, layer.inputs, d, layer.ld,
                                    layer.weight.value, layer.n, c, below.ld)
    activate_backward(job, below, first, m, 0, below.n)
    normalize_rows_backward(job, below, first, m)


cdef void update_rows(Job *job, Layer *layer, const void *a, int64_t lda,
                      int64_t first, int64_t rows, int64_t m) noexcept nogil:
    # Rows first .. first + rows of the weights, by the input a and the delta of all samples.
    cdef int s = job.itemsize
    cdef char *w = at(layer.weight.into, first * layer.n, s)
    a = at(a, first, s)
    if use_blas(job, m, layer.n, rows):
        gemm(job.blas, s, True, False, rows, layer.n, m, a, lda, layer.delta, layer.ld, 1,
             w, layer.n)
    else:
        job.kernels.accumulate(m, layer.n, rows, a, lda, layer.delta, layer.ld, w, layer.n)


cdef void optimize(Job *job, cmlp_optimizer *optimizer, Tensor *tensor, int64_t place,
                   int64_t rows, int64_t n, int64_t ld) noexcept nogil:
    # The optimizer's step for a block of parameters whose gradient is complete.
    cdef address[STATES] state
    cdef char *value = at(tensor.value, place, job.itemsize)
    cdef int i
    for i in range(STATES):
        state[i] = NULL
        if tensor.state[i] != NULL:
            state[i] = at(tensor.state[i], place, job.itemsize)
    job.kernels.optimize(optimizer, rows, n, ld, value, at(tensor.into, place, job.itemsize),
                         state)
    if tensor.mean != NULL:
        job.kernels.average(rows, n, ld, job.average, value, at(tensor.mean, place, job.itemsize))


cdef void follow(Job *job, Layer *layer, int64_t first, int64_t rows, int64_t column,
                 int64_t n) noexcept nogil:
    # The optimizer follows the gradient of a block of the weights, if it does so.
    if job.follows:
        optimize(job, job.optimizer, &layer.weight, first * layer.n + column, rows, n, layer.n)


cdef void update_bias(Job *job, Layer *layer, int64_t m) noexcept nogil:
    # The bias, and the scale where the layer is normalised.
    cdef const void *d = layer.shift_delta if layer.scale.value != NULL else layer.delta
    job.kernels.accumulate_bias(m, layer.n, d, layer.ld, layer.bias.into)
    if layer.scale.value != NULL:
        job.kernels.accumulate_scale(m, layer.n, layer.shift_delta, layer.normal, layer.ld,
                                     layer.scale.into)
    if job.follows:
        optimize_bias(job, layer)


cdef void optimize_bias(Job *job, Layer *layer) noexcept nogil:
    optimize(job, job.bias_optimizer, &layer.bias, 0, 1, layer.n, layer.n)
    if layer.scale.value != NULL:
        optimize(job, job.bias_optimizer, &layer.scale, 0, 1, layer.n, layer.n)


cdef int64_t squared_blocks(const Layer *layers, int depth) noexcept nogil:
    # Of each layer those of the weights, the bias's and the scale's.
    cdef int64_t blocks = 0
    cdef int l
    for l in range(depth):
        blocks += (layers[l].inputs + SQUARED_ROWS - 1) // SQUARED_ROWS + 2
    return blocks


cdef void sum_squares(Job *job, bint gradients, int thread, int threads) noexcept nogil:
    # A thread's rows of all gradients, or of the weights alone, to sums of squares, one for
    # each block.
    cdef double *squares = job.squares
    cdef Layer *layer
    cdef int64_t blocks, b, first
    cdef int l
    for l in range(job.depth):
        layer = &job.layers[l]
        blocks = (layer.inputs + SQUARED_ROWS - 1) // SQUARED_ROWS
        for b in range(share(blocks, thread, threads), share(blocks, thread + 1, threads)):
            first = b * SQUARED_ROWS
            squares[b] = job.kernels.sum_of_squares(
                min(SQUARED_ROWS, layer.inputs - first), layer.n, layer.n,
                at(layer.weight.into if gradients else layer.weight.value, first * layer.n,
                   job.itemsize))
        if thread == l % threads and not gradients:
            squares[blocks] = squares[blocks + 1] = 0
        elif thread == l % threads:
            squares[blocks] = job.kernels.sum_of_squares(1, layer.n, layer.n, layer.bias.into)
            squares[blocks + 1] = 0
            if layer.scale.value != NULL:
                squares[blocks + 1] = job.kernels.sum_of_squares(1, layer.n, layer.n,
                                                                 layer.scale.into)
        squares += blocks + 2


cdef double all_squares(Job *job) noexcept nogil:
    # The sum of the blocks' sums, in order.
    cdef double sum = 0
    cdef int64_t b
    for b in range(squared_blocks(job.layers, job.depth)):
        sum += job.squares[b]
    return sum


cdef void scale_to_norm(Job *job) noexcept nogil:
    # One thread tells the optimizer what to scale the gradients by.
    cdef double norm = sqrt(all_squares(job))
    job.optimizer.scale = job.clip_norm / norm if norm > job.clip_norm else 1
    job.bias_optimizer.scale = job.optimizer.scale


cdef void optimize_all(Job *job, int thread, int threads) noexcept nogil:
    # A thread's rows of all weights, when all gradients are known.
    cdef Layer *layer
    cdef int64_t first, rows
    cdef int l
    for l in range(job.depth):
        layer = &job.layers[l]
        first = share(layer.inputs, thread, threads)
        rows = share(layer.inputs, thread + 1, threads) - first
        optimize(job, job.optimizer, &layer.weight, first * layer.n, rows, layer.n, layer.n)
        if thread == l % threads:
            optimize_bias(job, layer)


cdef void limit_norms(Job *job, int thread, int threads) noexcept nogil:
    # A thread's columns of each layer, when all are updated.
    cdef int64_t unit = CMLP_PAD // job.itemsize
    cdef int64_t first, n
    cdef Layer *layer
    cdef int l
    for l in range(job.depth):
        layer = &job.layers[l]
        first = share(layer.n // unit, thread, threads) * unit
        n = share(layer.n // unit, thread + 1, threads) * unit - first
        job.kernels.limit_norms(layer.inputs, n, job.max_norm,
                                at(layer.weight.value, first, job.itemsize), layer.n)


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
    elif job.follows:
        most = max(unit, GRADIENT_BYTES // (layer.n * job.itemsize) // unit * unit)
    while first < end:
        rows = min(end - first, most)
        update_rows(job, layer, a, lda, first, rows, m)
        follow(job, layer, first, rows, 0, layer.n)
        first += rows


cdef bint goes_by_column(Job *job, Layer *layer, int64_t m) noexcept nogil:
    # Whether the batch has so many entries a column that it pays to find them by column:
    # each row of the weights is then read and written once for many samples.
    cdef int64_t words = (m + CMLP_MARKS - 1) // CMLP_MARKS
    return (job.entries.marks != NULL
            and job.entries.spans[m - 1].end >= ENTRIES_PER_MARKS * layer.inputs * words
            and layer.n * job.itemsize >= MARKED_BYTES)


cdef void update_sparse(Job *job, Layer *layer, int64_t m, int thread, int threads) noexcept nogil:
    # A thread's rows of the weights or, as every sample meets rows of its own, its columns.
    cdef int64_t unit = CMLP_PAD // job.itemsize
    cdef int64_t first, n
    if goes_by_column(job, layer, m):
        first = share(layer.inputs, thread, threads)
        n = share(layer.inputs, thread + 1, threads) - first
        job.kernels.marked_accumulate(
            m, layer.n, first, n, &job.entries, layer.delta, layer.ld,
            at(layer.weight.into, first * layer.n, job.itemsize), layer.n)
        follow(job, layer, first, n, 0, layer.n)
        return
    first = share(layer.n // unit, thread, threads) * unit
    n = share(layer.n // unit, thread + 1, threads) * unit - first
    if n:
        job.kernels.sparse_accumulate(
            m, n, &job.entries, at(layer.delta, first, job.itemsize), layer.ld,
            at(layer.weight.into, first, job.itemsize), layer.n)
        follow(job, layer, 0, layer.inputs, first, n)


cdef bint perturbs(Job *job) noexcept nogil:
    return job.drops and (job.input_dropout.dropped != 0 or job.input_noise > 0)


cdef void perturb(Job *job, int64_t first, int64_t m, int64_t sample) noexcept nogil:
    # Noise for rows first .. first + m of the batch's input, and then dropout.
    cdef cmlp_noise noise = noise_of(job, 0)
    cdef int64_t place = job.place + sample + first, width = job.rows.width
    cdef char *x
    if is_sparse(job, 0):
        job.kernels.drop_sparse(&job.input_dropout, &noise, place, first, m, &job.entries)
        return
    x = at(job.input, first * job.input_ld, job.itemsize)
    if job.input_noise > 0:
        job.kernels.add_noise(job.input_noise, &noise, place, m, width, x, job.input_ld)
    if job.input_dropout.dropped:
        job.kernels.drop_input(&job.input_dropout, &noise, place, m, width, x, job.input_ld)


cdef bint reads_rows_in_place(Job *job) noexcept nogil:
    # Rows in order and in our real type that nothing perturbs are their own converted batch.
    return (job.order == NULL and not perturbs(job)
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
    if perturbs(job):
        perturb(job, first, m, sample)


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
            job.kernels.sparse_affine(first, m, layer.n, layer.inputs, &job.entries,
                                      layer.weight.value, layer.n, layer.start, layer.output,
                                      layer.ld)
        else:
            forward_layer(job, layer, at(a, first * lda, job.itemsize), lda, first, m)
        a, lda = layer.output, layer.ld
        if l < job.depth - 1:
            normalize_rows(job, layer, first, m)
            activate(job, l, sample, first, m, 0, layer.n, layer.outputs)


cdef double batch_weight(Job *job, int64_t sample, int64_t m) noexcept nogil:
    cdef double weight = 0
    cdef int64_t i
    if job.targets.weights == NULL:
        return m
    for i in range(sample, sample + m):
        weight += job.targets.weights[job.order[i] if job.order != NULL else i]
    return weight


cdef int64_t step_number(Job *job, int64_t sample) noexcept nogil:
    # In the epoch, of the step whose batch begins with this sample.
    return job.first_step + sample // job.batch


cdef double step_of(Job *job, int64_t sample) noexcept nogil:
    # Of a group of steps that share one of the optimizer each counts alike.
    cdef int64_t first
    if job.optimizer == NULL:
        return job.step if job.rates == NULL else -job.rates[sample // job.batch]
    if job.accumulate == 1:
        return job.step
    first = step_number(job, sample) // job.accumulate * job.accumulate
    return job.step / min(job.accumulate, job.steps - first)


cdef double step_scale(Job *job, int64_t sample, int64_t m) noexcept nogil:
    # What makes the sum of a batch's gradients a step by their mean.
    cdef double weight = batch_weight(job, sample, m)
    return step_of(job, sample) / weight if weight > 0 else 0


cdef const uint32_t *targets_from(Job *job, int64_t sample,
                                  cmlp_targets *targets) noexcept nogil:
    # The targets and the index of the samples from this one on, as the kernels take them.
    targets[0] = job.targets
    if job.order != NULL:
        return job.order + sample
    if targets.labels != NULL:
        targets.labels += sample
    else:
        targets.values = at(targets.values, sample * targets.ld, job.itemsize)
    if targets.weights != NULL:
        targets.weights += sample
    return NULL


cdef void head_rows(Job *job, int64_t first, int64_t m, int64_t sample,
                    double scale) noexcept nogil:
    cdef Layer *last = &job.layers[job.depth - 1]
    cdef cmlp_targets targets
    cdef const uint32_t *index = targets_from(job, sample + first, &targets)
    job.kernels.head(&job.head, &targets, index, m, scale,
                     at(last.output, first * last.ld, job.itemsize),
                     place_in(job, last.slope, last, first, 0),
                     at(last.delta, first * last.ld, job.itemsize), last.ld, job.losses + first)


cdef void end_rows(Job *job, int64_t first, int64_t m, int64_t sample,
                   double scale) noexcept nogil:
    # The last layer's input sums to outputs, and to deltas: by the head, or, where the
    # loss is Python's, in two parts, between which it turns outputs into their gradient.
    cdef Layer *last = &job.layers[job.depth - 1]
    if job.phase == WHOLE:
        head_rows(job, first, m, sample, scale)
    elif job.phase == FORWARD:
        activate(job, job.depth - 1, sample, first, m, 0, last.n, last.outputs)
    else:
        activate_backward(job, last, first, m, 0, last.n)


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
        if job.phase != BACKWARD:
            forward_rows(job, first, rows, sample)
        end_rows(job, first, rows, sample, scale)
        if job.phase != FORWARD:
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


cdef void forward_by_columns(Job *job, int64_t sample, int64_t m, int thread,
                             int threads) noexcept nogil:
    # The batch to the last layer's input sums, by a thread's part of each layer.
    cdef int s = job.itemsize
    cdef const void *a = NULL
    cdef int64_t lda = 0, first, n
    cdef int64_t row = share(m, thread, threads), rows = share(m, thread + 1, threads) - row
    cdef Layer *layer
    cdef int l
    if not job.small:
        if rows:
            read_rows(job, row, rows, sample)
    elif thread == 0:
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
            if l < job.depth - 1 and layer.normalization != OVER_LAYER:
                normalize_columns(job, layer, m, first, n)
                activate(job, l, sample, 0, m, first, n, n)
        cmlp_barrier(threads)
        if l < job.depth - 1 and layer.normalization == OVER_LAYER:
            if rows:
                normalize_rows(job, layer, row, rows)
                activate(job, l, sample, row, rows, 0, layer.n, layer.outputs)
            cmlp_barrier(threads)
        if thread == 0:
            layer.a, layer.lda = a, lda
        a, lda = layer.output, layer.ld


cdef void backward_by_columns(Job *job, int64_t m, int thread, int threads) noexcept nogil:
    cdef int s = job.itemsize
    cdef int64_t first, n
    cdef int64_t row = share(m, thread, threads), rows = share(m, thread + 1, threads) - row
    cdef Layer *layer
    cdef Layer *below
    cdef int l
    for l in range(job.depth - 1, 0, -1):
        layer, below = &job.layers[l], &job.layers[l - 1]
        part(layer.inputs, s, CMLP_PAD, thread, threads, &first, &n)
        if n > 0:
            job.kernels.affine_backward(
                m, layer.outputs, n, layer.delta, layer.ld,
                at(layer.weight.value, first * layer.n, s), layer.n, at(below.delta, first, s),
                below.ld)
            n = (n + CMLP_PAD // s - 1) // (CMLP_PAD // s) * (CMLP_PAD // s)
            activate_backward(job, below, 0, m, first, n)
            normalize_columns_backward(job, below, m, first, n)
        cmlp_barrier(threads)
        if below.normalization == OVER_LAYER:
            if rows:
                normalize_rows_backward(job, below, row, rows)
            cmlp_barrier(threads)


cdef void through_by_columns(Job *job, int64_t sample, int64_t m, int thread,
                             int threads) noexcept nogil:
    # Phase one where the rows of the batch are not shared out: a thread's part of each
    # layer.  The layers wait for one another.
    if job.phase != BACKWARD:
        forward_by_columns(job, sample, m, thread, threads)
    if thread == 0:
        end_rows(job, 0, m, sample, step_scale(job, sample, m))
    cmlp_barrier(threads)
    if job.phase != FORWARD:
        backward_by_columns(job, m, thread, threads)


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


cdef void tally_outputs(Job *job, int64_t sample, int64_t m) noexcept nogil:
    # The outputs of the m samples from this one on into the sums of metrics.
    cdef Layer *last = &job.layers[job.depth - 1]
    cdef cmlp_targets targets
    cdef const uint32_t *index = targets_from(job, sample, &targets)
    job.kernels.tally(&job.head, &targets, index, m, last.output, last.ld, job.tally)


cdef void penalize(Job *job, int64_t sample, int64_t m, int thread, int threads) noexcept nogil:
    # Before the update, what the penalty of the weights adds to the loss and to gradients.
    cdef double weight
    if not job.penalized:
        return
    sum_squares(job, False, thread, threads)
    cmlp_barrier(threads)
    if thread == 0:
        weight = batch_weight(job, sample, m)
        job.optimizer.l2 = job.penalty / weight if weight > 0 else 0
        job.penalty_loss = all_squares(job) * job.optimizer.l2 / 2


cdef void finish_step(Job *job, int64_t m) noexcept nogil:
    # One thread adds up the losses, in order, and looks at the clock now and then.
    cdef double loss = 0, weight = batch_weight(job, job.done, m)
    cdef int64_t i
    for i in range(m):
        loss += job.losses[i]
    if job.tally != NULL:
        tally_outputs(job, job.done, m)
    job.last_loss = loss / weight if weight > 0 else 0
    if job.penalized:  # batches then count by their samples
        job.last_loss += job.penalty_loss
        job.penalties += job.penalty_loss * m
        loss, weight = job.last_loss * m, m
    job.loss += loss
    job.weight += weight
    job.done += m
    job.work_done += m * job.work
    job.diverged = not isfinite(loss)
    job.stop = job.diverged or job.done >= job.limit or job.phase == BACKWARD
    if job.work_done > WORK_PER_LOOK:
        job.work_done = 0
        job.stop = job.stop or cmlp_now() > job.deadline


cdef void begin_update(Job *job, int64_t sample) noexcept nogil:
    # Before the update by the batch that begins with this sample: whether it ends in a step
    # of the optimizer, and whether that waits for the norm of all gradients.
    cdef int64_t step
    if job.optimizer == NULL:
        return
    step = step_number(job, sample) + 1
    job.optimizes = step % job.accumulate == 0 or step == job.steps
    job.follows = job.optimizes and job.clip_norm == 0
    if not job.optimizes:
        return
    if job.rates != NULL:
        job.optimizer.rate = job.bias_optimizer.rate = job.rates[sample // job.batch]
    job.kernels.begin_step(job.optimizer)
    if job.bias_optimizer != job.optimizer:
        job.kernels.begin_step(job.bias_optimizer)


cdef void end_update(Job *job, int thread, int threads) noexcept nogil:
    # What has to see all gradients, or all weights, together.
    if job.optimizes and not job.follows:
        sum_squares(job, True, thread, threads)
        cmlp_barrier(threads)
        if thread == 0:
            scale_to_norm(job)
        cmlp_barrier(threads)
        optimize_all(job, thread, threads)
        cmlp_barrier(threads)
    if job.max_norm > 0 and (job.optimizer == NULL or job.optimizes):
        limit_norms(job, thread, threads)
        cmlp_barrier(threads)


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
    penalize(job, sample, m, thread, threads)
    if thread == 0:
        job.waiting = 0
        finish_step(job, m)
        begin_update(job, sample)
    cmlp_barrier(threads)
    waits = job.waits and not job.stop and job.total - job.done >= m
    if not waits:
        update(job, sample, m, thread, threads)
        cmlp_barrier(threads)
        end_update(job, thread, threads)
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
        if job.by_columns:
            through_by_columns(job, sample, m, thread, threads)
        else:
            through(job, sample, m, thread, threads)
        if job.phase == FORWARD:
            return
        penalize(job, sample, m, thread, threads)
        if thread == 0:
            begin_update(job, sample)
        cmlp_barrier(threads)
        update(job, sample, m, thread, threads)
        cmlp_barrier(threads)
        end_update(job, thread, threads)
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
            activate(job, job.depth - 1, job.done, first, rows, 0, last.n, last.outputs)
        for i in range(rows if job.out != NULL else 0):
            memcpy(job.out + (job.done + first + i) * width, a + i * last.ld * job.itemsize, width)
        first += rows
