# Stage 5 of a step: add the gradient of the batch to `Tensor.into`, which is the parameters
# themselves (plain gradient descent) or the gradient block (optimizers with state). Each element
# of a tensor belongs to one block, which sums over the samples in ascending order.

cdef void update_weight_block(TrainingJob *training, Layer *layer, int64_t first, int64_t rows,
                              int64_t column, int64_t n) noexcept nogil:
    # Take the optimizer's step for a block of weights whose gradient is complete.
    if training.optimizer.is_fused:
        optimize_block(training, &layer.tensors[WEIGHT], first, rows, column, n)


cdef void accumulate_weight_rows(TrainingJob *training, Layer *layer, Matrix a, int64_t first,
                                 int64_t rows, int64_t column, int64_t n,
                                 int64_t m) noexcept nogil:
    # Update rows first .. first + rows, columns column .. column + n of the weights by the input
    # a and the delta of all m samples.
    cdef Job *job = &training.job
    cdef int s = job.itemsize
    cdef int64_t ldw
    cdef char *w = locate_weights(job, layer, layer.tensors[WEIGHT].into, first, column, n, &ldw)
    cdef const char *x = at(a.data, first, s)
    cdef const char *d = at(layer.delta, column, s)
    if layer.rounds:
        job.kernels.bf16.accumulate(
            m, n, rows, at_unit(job, layer.input_units, layer.input_ld, 0, first), layer.input_ld,
            at_unit(job, layer.delta_units, layer.delta_ld, 0, column), layer.delta_ld,
            training.late_factor, w, ldw)
    elif not (uses_blas(job, m, n, rows)
              and gemm(job.blas, s, True, False, rows, n, m, x, a.ld, d, layer.ld, 1, w, ldw)):
        job.kernels.accumulate(m, min(n, layer.outputs - column), rows, x, a.ld, d, layer.ld, w,
                               ldw)


cdef inline bint divides_columns(const Job *job, const Layer *layer, int64_t blocks) noexcept nogil:
    # Return whether the update divides the columns of the layer's weights, as the forward product
    # may do; otherwise it divides their rows. A BLAS needs whole rows, see CMLP_BLAS_BLOCK_ROWS.
    return job.blas == NULL and layer.n * job.itemsize >= blocks * CMLP_PAD


cdef void update_dense_weights(TrainingJob *training, Layer *layer, Matrix a, int64_t m,
                               int64_t block, int64_t blocks) noexcept nogil:
    # Update a block of the weights. If the optimizer is fused, some rows at a time, whose gradient
    # stays in the cache; with a BLAS, whose sums may depend on the shape, a fixed number of rows.
    cdef Job *job = &training.job
    cdef int64_t unit = 2 * CMLP_BLAS_BLOCK_ROWS if job.blas != NULL else CMLP_UPDATE_BLOCK_ROWS
    cdef Range columns = Range(0, layer.n), share = Range(0, layer.inputs)
    cdef int64_t first, end, step = layer.inputs, rows
    if divides_columns(job, layer, blocks):
        columns = split_columns(job, layer.n, block, blocks)
    else:
        share = split_range(layer.inputs, unit, block, blocks)
    if columns.size == 0:
        return
    first, end = share.first, share.first + share.size
    if job.blas != NULL:
        step = unit
    elif training.optimizer.is_fused:
        rows = CMLP_GRADIENT_BLOCK_BYTES // (columns.size * job.itemsize)
        step = max(unit, rows // unit * unit)
    while first < end:
        rows = min(end - first, step)
        accumulate_weight_rows(training, layer, a, first, rows, columns.first, columns.size, m)
        update_weight_block(training, layer, first, rows, columns.first, columns.size)
        first += rows


cdef void update_sparse_weights(TrainingJob *training, Layer *layer, int64_t m, int64_t block,
                                int64_t blocks) noexcept nogil:
    # Update a block of the weights by a sparse batch: rows of W if the update goes by column of the
    # input; otherwise columns of W, because each sample updates other rows. If W is stored by
    # column blocks, columns of W in both cases; the forward product has marked the batch.
    cdef Job *job = &training.job
    cdef int s = job.itemsize
    cdef void *into = layer.tensors[WEIGHT].into
    cdef Range share
    cdef int64_t ldw
    cdef char *w
    if layer.rounds:
        share = split_range(layer.inputs, CMLP_UPDATE_BLOCK_ROWS, block, blocks)
        if share.size:
            job.kernels.bf16.sparse_accumulate(
                m, layer.n, share.first, share.size, &job.input.entries, layer.delta_units,
                layer.delta_ld, training.late_factor, at(into, share.first * layer.n, s), layer.n)
            update_weight_block(training, layer, share.first, share.size, 0, layer.n)
        return
    if has_dense_columns(job, layer, m) and not layer.column_blocks:
        share = split_range(layer.inputs, 1, block, blocks)
        job.kernels.marked_accumulate(
            m, layer.n, share.first, share.size, &job.input.entries, layer.delta, layer.ld,
            at(into, share.first * layer.n, s), layer.n)
        update_weight_block(training, layer, share.first, share.size, 0, layer.n)
        return
    share = split_columns(job, layer.n, block, blocks)
    if share.size:
        w = locate_weights(job, layer, into, 0, share.first, share.size, &ldw)
        if has_dense_columns(job, layer, m):
            job.kernels.accumulate_marked(m, share.size, layer.inputs, &job.input.entries,
                                          at(layer.delta, share.first, s), layer.ld, w, ldw)
        else:
            job.kernels.sparse_accumulate(m, share.size, &job.input.entries,
                                          at(layer.delta, share.first, s), layer.ld, w, ldw)
        update_weight_block(training, layer, 0, layer.inputs, share.first, share.size)


cdef void accumulate_vector(const Job *job, const Layer *layer, int tensor, int64_t row, int64_t m,
                            int64_t column, int64_t n, char *into) noexcept nogil:
    # Add the gradient of m samples with respect to columns column .. column + n of a tensor with
    # one row: BIAS, SCALE or ALPHA.
    cdef const void *delta = layer.delta
    if layer.normalization != NOT_NORMALIZED:
        delta = layer.shift_delta
    if tensor == ALPHA:
        delta = layer.alpha_delta
    if tensor == SCALE:
        job.kernels.accumulate_scale(m, n, element(job, delta, layer, row, column),
                                     element(job, layer.normal, layer, row, column), layer.ld, into)
    else:
        job.kernels.accumulate_bias(m, n, element(job, delta, layer, row, column), layer.ld, into)


cdef void update_vectors(TrainingJob *training, Layer *layer, int64_t m, int64_t column,
                         int64_t n) noexcept nogil:
    # Update columns column .. column + n of the tensors with one row.
    cdef Job *job = &training.job
    cdef Tensor *tensor
    cdef int t
    for t in range(BIAS, MAX_TENSORS):
        tensor = &layer.tensors[t]
        if tensor.rows == 0 or tensor.is_frozen:
            continue
        accumulate_vector(job, layer, t, 0, m, column, n, at(tensor.into, column, job.itemsize))
        if training.optimizer.is_fused:
            optimize_block(training, tensor, 0, 1, column, n)


cdef void update_layer(TrainingJob *training, int l, Matrix a, int64_t block,
                       int64_t blocks) noexcept nogil:
    # Update a block of the parameters of layer l, whose input is a.
    cdef Job *job = &training.job
    cdef Layer *layer = &job.layers[l]
    cdef Range columns = Range(0, layer.n if block == l % blocks else 0)
    if layer.tensors[WEIGHT].is_frozen:
        pass
    elif reads_sparse_rows(job, l):
        update_sparse_weights(training, layer, training.m, block, blocks)
    else:
        update_dense_weights(training, layer, a, training.m, block, blocks)
    if divides_columns(job, layer, blocks):
        columns = split_columns(job, layer.n, block, blocks)
    if columns.size:
        update_vectors(training, layer, training.m, columns.first, columns.size)


cdef void update_first_layer(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: update the parameters of the first layer.
    cdef TrainingJob *training = <TrainingJob *> arg
    update_layer(training, 0, get_batch_input(&training.job, training.sample), block, blocks)


cdef void update_and_read_ahead(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: update the parameters of all layers, and read the next batch.
    cdef TrainingJob *training = <TrainingJob *> arg
    cdef Job *job = &training.job
    cdef Matrix a = get_batch_input(job, training.sample)
    cdef int l
    for l in range(-job.encoders, 0):
        update_encoder(training, l, block, blocks)
    for l in range(job.depth):
        update_layer(training, l, a, block, blocks)
        a = get_output(&job.layers[l])
    if training.read_ahead >= 0:
        read_rows_ahead(training, block, blocks)
