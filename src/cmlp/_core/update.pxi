# Stage 5 of a step: add the gradient of the batch to `Tensor.into`, which is the parameters
# themselves (plain gradient descent) or the gradient block (optimizers with state). Each
# element of a tensor has one owner thread, which sums over the samples in ascending order.

cdef void update_weight_block(TrainingJob *training, Layer *layer, int64_t first, int64_t rows,
                              int64_t column, int64_t n) noexcept nogil:
    # Take the optimizer's step for a block of weights whose gradient is complete.
    if training.optimizer.is_fused:
        optimize_block(training, &layer.tensors[WEIGHT], first, rows, column, n)


cdef void accumulate_weight_rows(TrainingJob *training, Layer *layer, Matrix a, int64_t first,
                                 int64_t rows, int64_t m) noexcept nogil:
    # Update rows first .. first + rows of the weights by the input a and the delta of all
    # m samples.
    cdef Job *job = &training.job
    cdef int s = job.itemsize
    cdef char *w = at(layer.tensors[WEIGHT].into, first * layer.n, s)
    cdef const char *x = at(a.data, first, s)
    if layer.rounds:
        job.kernels.bf16_accumulate(
            m, layer.n, rows, at_unit(job, layer.input_units, layer.input_ld, 0, first),
            layer.input_ld, layer.delta_units, layer.delta_ld, training.late_factor, w, layer.n)
    elif not (uses_blas(job, m, layer.n, rows)
            and gemm(job.blas, s, True, False, rows, layer.n, m, x, a.ld, layer.delta, layer.ld,
                     1, w, layer.n)):
        job.kernels.accumulate(m, layer.outputs, rows, x, a.ld, layer.delta, layer.ld, w, layer.n)


cdef void update_dense_weights(TrainingJob *training, Layer *layer, Matrix a, int64_t m,
                               int thread, int threads) noexcept nogil:
    # Update this thread's rows of the weights. If the optimizer is fused, in blocks whose gradient
    # stays in the cache; with a BLAS, whose sums may depend on the shape, in blocks of fixed size.
    cdef Job *job = &training.job
    cdef int64_t unit = 2 * CMLP_BLAS_BLOCK_ROWS if job.blas != NULL else CMLP_UPDATE_BLOCK_ROWS
    cdef Range share = split_range(layer.inputs, unit, thread, threads)
    cdef int64_t first = share.first, end = share.first + share.size
    cdef int64_t block = layer.inputs, rows
    if job.blas != NULL:
        block = unit
    elif training.optimizer.is_fused:
        block = max(unit, CMLP_GRADIENT_BLOCK_BYTES // (layer.n * job.itemsize) // unit * unit)
    while first < end:
        rows = min(end - first, block)
        accumulate_weight_rows(training, layer, a, first, rows, m)
        update_weight_block(training, layer, first, rows, 0, layer.n)
        first += rows


cdef bint has_dense_columns(const Job *job, const Layer *layer, int64_t m) noexcept nogil:
    # Return whether the update goes by column instead of by sample. By column, each row of the
    # weights is read and written once for many samples, which pays for enough entries per column.
    cdef int64_t words = (m + CMLP_MARKS - 1) // CMLP_MARKS
    cdef int64_t least = CMLP_MARKED_ENTRIES_PER_WORD * layer.inputs * words
    return (job.input.entries.marks != NULL and job.input.entries.spans[m - 1].end >= least
            and layer.n * job.itemsize >= CMLP_MARKED_ROW_BYTES)


cdef void update_sparse_weights(TrainingJob *training, Layer *layer, int64_t m, int thread,
                                int threads) noexcept nogil:
    # Update this thread's share of the weights by a sparse batch: rows of W if the update goes by
    # column of the input; otherwise columns of W, because each sample updates other rows.
    cdef Job *job = &training.job
    cdef int s = job.itemsize
    cdef void *into = layer.tensors[WEIGHT].into
    cdef Range share
    if layer.rounds:
        share = split_range(layer.inputs, CMLP_UPDATE_BLOCK_ROWS, thread, threads)
        if share.size:
            job.kernels.bf16_sparse_accumulate(
                m, layer.n, share.first, share.size, &job.input.entries, layer.delta_units,
                layer.delta_ld, training.late_factor, at(into, share.first * layer.n, s), layer.n)
            update_weight_block(training, layer, share.first, share.size, 0, layer.n)
        return
    if has_dense_columns(job, layer, m):
        share = split_range(layer.inputs, 1, thread, threads)
        job.kernels.marked_accumulate(
            m, layer.n, share.first, share.size, &job.input.entries, layer.delta, layer.ld,
            at(into, share.first * layer.n, s), layer.n)
        update_weight_block(training, layer, share.first, share.size, 0, layer.n)
        return
    share = split_range(layer.n, CMLP_PAD // s, thread, threads)
    if share.size:
        job.kernels.sparse_accumulate(
            m, share.size, &job.input.entries, at(layer.delta, share.first, s), layer.ld,
            at(into, share.first, s), layer.n)
        update_weight_block(training, layer, 0, layer.inputs, share.first, share.size)


cdef void update_weights(TrainingJob *training, int l, Matrix a, int64_t m, int thread,
                         int threads) noexcept nogil:
    if reads_sparse_rows(&training.job, l):
        update_sparse_weights(training, &training.job.layers[l], m, thread, threads)
    else:
        update_dense_weights(training, &training.job.layers[l], a, m, thread, threads)


cdef void update_bias(TrainingJob *training, Layer *layer, int64_t m) noexcept nogil:
    # Update the bias and, if the layer is normalized, the scale. Called by one thread.
    cdef Job *job = &training.job
    cdef bint is_normalized = layer.normalization != NOT_NORMALIZED
    job.kernels.accumulate_bias(m, layer.n, layer.shift_delta if is_normalized else layer.delta,
                                layer.ld, layer.tensors[BIAS].into)
    if is_normalized:
        job.kernels.accumulate_scale(m, layer.n, layer.shift_delta, layer.normal, layer.ld,
                                     layer.tensors[SCALE].into)
    if training.optimizer.is_fused:
        optimize_block(training, &layer.tensors[BIAS], 0, 1, 0, layer.n)
        if is_normalized:
            optimize_block(training, &layer.tensors[SCALE], 0, 1, 0, layer.n)


cdef void update_layers(TrainingJob *training, int64_t sample, int64_t m, int thread,
                        int threads) noexcept nogil:
    # Update this thread's share of all parameters, layer by layer.
    cdef Job *job = &training.job
    cdef Matrix a = get_batch_input(job, sample)
    cdef int l
    for l in range(job.depth):
        update_weights(training, l, a, m, thread, threads)
        if thread == l % threads:
            update_bias(training, &job.layers[l], m)
        a = get_output(&job.layers[l])
