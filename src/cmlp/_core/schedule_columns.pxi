# Layers that are divided by columns: each block computes its columns of one layer for all samples
# of the batch. Used for small batches, which have too few samples to divide, for layers with more
# weights than inputs and outputs, and for batch normalization, which needs all samples of a column.

cdef void read_batch_rows(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: read the current batch.
    cdef TrainingJob *training = <TrainingJob *> arg
    cdef Range rows = split_range(training.m, 1, block, blocks)
    if rows.size:
        read_rows(&training.job, rows.first, rows.size, training.sample)


cdef void read_batch(TrainingJob *training) noexcept nogil:
    # Read the current batch unless the previous step has read it ahead.
    cdef Job *job = &training.job
    cdef int64_t end = training.sample + training.m
    if training.read_ahead == training.sample:
        return
    run_phase(job.team, read_batch_rows, training,
              choose_blocks(job, <double> training.m * job.input.rows.width, training.m))
    if training.is_small:
        prefetch_rows(job, end, end + training.m)


cdef void read_rows_ahead(TrainingJob *training, int64_t block, int64_t blocks) noexcept nogil:
    # Read a block of the next batch, and prefetch the same rows of the batch after it.
    cdef Job *job = &training.job
    cdef int64_t m = min(job.batch, job.total - training.read_ahead)
    cdef Range rows = split_range(m, 1, block, blocks)
    cdef int64_t second = training.read_ahead + m + rows.first
    if rows.size:
        read_rows_into(job, job.input.next, &job.input.next_entries, rows.first, rows.size,
                       training.read_ahead)
        prefetch_rows(job, second, second + rows.size)


cdef void begin_reading_ahead(TrainingJob *training) noexcept nogil:
    # Decide whether the update of this step also reads the next batch.
    cdef Job *job = &training.job
    training.read_ahead = -1
    if (job.threads > 1 and training.column_layers and training.part == WHOLE_STEP
            and not training.stop and not job.layers[0].rounds and job.encoders == 0):
        training.read_ahead = job.done


cdef void finish_reading_ahead(TrainingJob *training) noexcept nogil:
    # Make the batch that was read ahead the current one.
    cdef BatchInput *input = &training.job.input
    if training.read_ahead >= 0:
        input.converted, input.next = input.next, input.converted
        input.entries, input.next_entries = input.next_entries, input.entries


cdef void forward_columns(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: one layer forward. Of the last layer, only the pre-activations.
    cdef TrainingJob *training = <TrainingJob *> arg
    cdef Job *job = &training.job
    cdef int l = training.layer
    cdef int64_t m = training.m
    cdef Layer *layer = &job.layers[l]
    cdef Range columns = split_columns(job, layer.n, block, blocks)
    cdef const cmlp_activation *f = NULL
    if columns.size == 0:
        return
    if not training.deferred:
        f = get_fused_activation(job, l)
    affine_columns(training, l, training.input, m, columns.first, columns.size, f)
    if reads_sparse_rows(job, l):
        mark_columns(job, layer, m, block, blocks)
    if l < job.depth - 1 and layer.normalization != OVER_LAYER:
        normalize_columns(job, layer, m, columns.first, columns.size)
        finish_outputs(job, l, training.sample, 0, m, columns.first, columns.size, f)


cdef void normalize_layer_rows(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: normalize one layer over its units.
    cdef TrainingJob *training = <TrainingJob *> arg
    cdef Job *job = &training.job
    cdef Layer *layer = &job.layers[training.layer]
    cdef Range rows = split_range(training.m, 1, block, blocks)
    if rows.size:
        normalize_rows(job, layer, rows.first, rows.size)
        finish_outputs(job, training.layer, training.sample, rows.first, rows.size, 0, layer.n,
                       NULL)


cdef void forward_column_layers(TrainingJob *training) noexcept nogil:
    # Read the batch and compute the layers whose columns are divided.
    cdef Job *job = &training.job
    cdef Layer *layer
    cdef double work
    cdef int l
    if training.column_layers == 0:
        return
    read_batch(training)
    training.input = get_batch_input(job, training.sample)
    for l in range(training.column_layers):
        layer = &job.layers[l]
        training.layer = l
        work = get_layer_work(job, l, training.m)
        run_phase(job.team, forward_columns, training, count_layer_blocks(job, l, training.m))
        if l < job.depth - 1 and layer.normalization == OVER_LAYER:
            run_phase(job.team, normalize_layer_rows, training,
                      choose_blocks(job, work, training.m))
        training.input = get_output(layer)


cdef void backward_columns(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: one layer backward, from its delta to the columns of the delta of the layer below.
    cdef TrainingJob *training = <TrainingJob *> arg
    cdef Job *job = &training.job
    cdef Layer *layer = &job.layers[training.layer]
    cdef Layer *below = &job.layers[training.layer - 1]
    cdef int64_t unit = CMLP_PAD // job.itemsize, m = training.m, n
    cdef Range columns = split_columns(job, layer.inputs, block, blocks)
    cdef const cmlp_activation *f = get_fused_derivative(job, below)
    if columns.size == 0:
        return
    affine_backward_columns(job, layer, below, m, columns.first, columns.size, f)
    n = (columns.size + unit - 1) // unit * unit  # these kernels need padded columns
    if f == NULL:
        activate_backward(job, below, 0, m, columns.first, n)
    normalize_columns_backward(job, below, m, columns.first, n)


cdef void normalize_layer_rows_backward(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: the normalization of the layer below backward.
    cdef TrainingJob *training = <TrainingJob *> arg
    cdef Range rows = split_range(training.m, 1, block, blocks)
    if rows.size:
        normalize_rows_backward(&training.job, &training.job.layers[training.layer - 1],
                                rows.first, rows.size)


cdef void backward_column_layers(TrainingJob *training) noexcept nogil:
    # Backpropagate from where run_row_layers ended to the delta of the lowest trained layer.
    cdef Job *job = &training.job
    cdef double work
    cdef int l
    for l in range(get_lowest_row_layer(training) - 1, max(training.first_trained, 0), -1):
        training.layer = l
        work = get_layer_work(job, l, training.m)
        run_phase(job.team, backward_columns, training,
                  count_column_blocks(job, work, job.layers[l].inputs))
        if job.layers[l - 1].normalization == OVER_LAYER:
            run_phase(job.team, normalize_layer_rows_backward, training,
                      choose_blocks(job, work, training.m))
    if training.column_layers and training.first_trained < 0:
        run_phase(job.team, backward_encoder_rows, training,
                  choose_row_blocks(job, training.m, get_layer_work(job, 0, training.m)))


cdef void scale_delta_rows(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: multiply the deltas by the factor of the update.
    cdef TrainingJob *training = <TrainingJob *> arg
    cdef Range rows = split_range(training.m, 1, block, blocks)
    scale_deltas(training, rows.first, rows.size)


cdef void scale_column_deltas(TrainingJob *training) noexcept nogil:
    # After backward_column_layers: multiply all deltas by the factor of the update.
    cdef Job *job = &training.job
    if training.scales_late and training.column_layers:
        run_phase(job.team, scale_delta_rows, training,
                  choose_blocks(job, training.m * job.work, training.m))


cdef void defer_update(TrainingJob *training) noexcept nogil:
    # Defer the update by this batch to the next forward product. The buffers of all layers are
    # exchanged, so that the next batch does not overwrite their inputs.
    cdef Job *job = &training.job
    cdef Matrix a = get_batch_input(job, training.sample)
    cdef Layer *layer
    cdef int l
    for l in range(job.depth):
        layer = &job.layers[l]
        layer.previous_input = a
        a = get_output(layer)
        layer.output, layer.previous_output = layer.previous_output, layer.output
    job.input.converted, job.input.previous = job.input.previous, job.input.converted
    training.deferred = training.m
