# Scheduling by columns: each thread computes its columns of every layer for all samples of
# the batch, and the threads synchronize after each layer. Used for small batches, which have too
# few samples to divide, and for batch normalization, which needs all samples of a column.

cdef void read_batch(TrainingJob *training, int64_t sample, int64_t m, Range rows,
                     int thread) noexcept nogil:
    # Read the batch: thread 0 reads a small one; of others, each thread reads its rows.
    cdef Job *job = &training.job
    if not training.is_small:
        if rows.size:
            read_rows(job, rows.first, rows.size, sample)
    elif thread == 0:
        read_rows(job, 0, m, sample)
        prefetch_rows(job, sample + m, sample + 2 * m)


cdef void forward_columns(TrainingJob *training, int64_t sample, int64_t m, int thread,
                          int threads) noexcept nogil:
    # Compute all layers up to the last layer's pre-activations.
    cdef Job *job = &training.job
    cdef int64_t unit = CMLP_COLUMN_BLOCK_BYTES // job.itemsize
    cdef Range rows = split_range(m, 1, thread, threads), columns
    cdef Matrix a
    cdef Layer *layer
    cdef bint is_hidden
    cdef int l
    read_batch(training, sample, m, rows, thread)
    cmlp_barrier(threads)
    a = get_batch_input(job, sample)
    for l in range(job.depth):
        layer = &job.layers[l]
        is_hidden = l < job.depth - 1
        columns = split_range(layer.n, unit, thread, threads)
        if columns.size > 0:
            affine_columns(training, l, a, m, columns.first, columns.size)
            if is_hidden and layer.normalization != OVER_LAYER:
                normalize_columns(job, layer, m, columns.first, columns.size)
                activate(job, l, sample, 0, m, columns.first, columns.size, columns.size)
        cmlp_barrier(threads)
        if is_hidden and layer.normalization == OVER_LAYER:
            if rows.size:
                normalize_rows(job, layer, rows.first, rows.size)
                activate(job, l, sample, rows.first, rows.size, 0, layer.n, layer.outputs)
            cmlp_barrier(threads)
        if thread == 0:
            layer.previous_input = a
        a = get_output(layer)


cdef void backward_columns(TrainingJob *training, int64_t m, int thread,
                           int threads) noexcept nogil:
    # Backpropagate the last layer's delta to the first layer's.
    cdef Job *job = &training.job
    cdef int64_t unit = CMLP_PAD // job.itemsize, n
    cdef Range rows = split_range(m, 1, thread, threads), columns
    cdef Layer *layer
    cdef Layer *below
    cdef int l
    for l in range(job.depth - 1, 0, -1):
        layer, below = &job.layers[l], &job.layers[l - 1]
        columns = split_range(layer.inputs, unit, thread, threads)
        if columns.size > 0:
            affine_backward_columns(job, layer, below, m, columns.first, columns.size)
            n = (columns.size + unit - 1) // unit * unit  # these kernels need padded columns
            activate_backward(job, below, 0, m, columns.first, n)
            normalize_columns_backward(job, below, m, columns.first, n)
        cmlp_barrier(threads)
        if below.normalization == OVER_LAYER:
            if rows.size:
                normalize_rows_backward(job, below, rows.first, rows.size)
            cmlp_barrier(threads)


cdef void forward_backward_columns(TrainingJob *training, int64_t sample, int64_t m, int thread,
                                   int threads) noexcept nogil:
    # Run the batch forward and backward, layer by layer.
    cdef Range rows
    if training.phase != BACKWARD:
        forward_columns(training, sample, m, thread, threads)
    if thread == 0:
        run_head(training, 0, m, sample, compute_gradient_scale(training, sample, m))
    cmlp_barrier(threads)
    if training.phase == FORWARD:
        return
    backward_columns(training, m, thread, threads)
    if training.scales_late:
        rows = split_range(m, 1, thread, threads)
        scale_deltas(training, sample, rows.first, rows.size)
        cmlp_barrier(threads)


cdef void defer_update(TrainingJob *training, int64_t m) noexcept nogil:
    # Defer the update by this batch of m samples to the next forward product. The buffers of all
    # layers are exchanged, so that the next batch does not overwrite their inputs. Called by one
    # thread.
    cdef Job *job = &training.job
    cdef Layer *layer
    cdef int l
    for l in range(job.depth):
        layer = &job.layers[l]
        layer.output, layer.previous_output = layer.previous_output, layer.output
    job.input.converted, job.input.previous = job.input.previous, job.input.converted
    training.deferred = m
