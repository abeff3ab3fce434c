# Layers that are divided by rows: each block computes all of these layers, forward and backward,
# for its rows of the batch.

cdef void forward_rows(Job *job, int first_layer, int end_layer, int64_t first, int64_t m,
                       int64_t sample) noexcept nogil:
    # Compute rows first .. first + m of the batch by layers first_layer .. end_layer; of the last
    # layer of the network, the pre-activations. The first layer reads the samples.
    cdef Matrix a
    cdef Layer *layer
    cdef const cmlp_activation *f
    cdef int l
    if first_layer == 0:
        read_rows(job, first, m, sample)
        a = get_batch_input(job, sample)
    else:
        a = get_output(&job.layers[first_layer - 1])
    for l in range(first_layer, end_layer):
        layer = &job.layers[l]
        f = get_fused_activation(job, l)
        affine_rows(job, l, a, first, m, f)
        a = get_output(layer)
        if l < job.depth - 1:
            normalize_rows(job, layer, first, m)
            finish_outputs(job, l, sample, first, m, 0, layer.n, f)


cdef int get_lowest_row_layer(const TrainingJob *training) noexcept nogil:
    # Return the lowest layer that run_row_layers backpropagates. That is the lowest layer that
    # it computes, unless the layer below needs all samples.
    cdef int lowest = training.column_layers
    if lowest == 0 or training.job.layers[lowest - 1].normalization == OVER_BATCH:
        lowest += 1
    return min(lowest, training.job.depth)


cdef void backward_rows(Job *job, int lowest, int64_t first, int64_t m) noexcept nogil:
    # Backpropagate rows first .. first + m of the last layer's delta through layer `lowest`.
    cdef Layer *below
    cdef const cmlp_activation *f
    cdef int l
    for l in range(job.depth - 1, lowest - 1, -1):
        below = &job.layers[l - 1]
        f = get_fused_derivative(job, below)
        affine_backward_rows(job, &job.layers[l], below, first, m, f)
        if f == NULL:
            activate_backward(job, below, first, m, 0, below.n)
        normalize_rows_backward(job, below, first, m)


cdef void forward_backward_rows(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: run rows of the batch forward, through the head, and backward.
    cdef TrainingJob *training = <TrainingJob *> arg
    cdef Job *job = &training.job
    cdef Range rows = split_range(training.m, get_row_unit(job), block, blocks)
    cdef int64_t sample = training.sample, next = sample + training.m + rows.first
    cdef bint prefetches = training.column_layers == 0
    if rows.size == 0:
        return
    if prefetches:
        prefetch_rows(job, next, next + rows.size // 2)
    if training.part != BACKWARD:
        forward_rows(job, training.column_layers, job.depth, rows.first, rows.size, sample)
    run_head(training, rows.first, rows.size, sample,
             compute_gradient_scale(training, sample, training.m))
    if training.part != FORWARD:
        backward_rows(job, max(get_lowest_row_layer(training), training.first_trained + 1),
                      rows.first, rows.size)
        if training.column_layers == 0 and training.first_trained < 0:
            backward_encoders(training, rows.first, rows.size)
        if training.column_layers == 0:
            scale_deltas(training, rows.first, rows.size)
    if prefetches:
        prefetch_rows(job, next + rows.size // 2, next + rows.size)


cdef void run_row_layers(TrainingJob *training) noexcept nogil:
    # Run the batch through the layers that are divided by rows, and through the head.
    cdef Job *job = &training.job
    cdef double work = 0
    cdef int l
    for l in range(training.column_layers, job.depth):
        work += get_layer_work(job, l, training.m)
    run_phase(job.team, forward_backward_rows, training,
              choose_row_blocks(job, training.m, work))
