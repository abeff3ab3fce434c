# Storage of the first layer's weights by column blocks during a call.
#
# If the threads of small steps divide the columns of a matrix with short rows, prefetching brings
# the columns of one core into the cache of another, which then both write to. For the duration
# of a call the weights of the first layer are therefore stored block by block: block b, with the
# columns of `split_columns`, is a contiguous matrix (inputs, columns). No other function than those
# of the forward product and the update reads or writes the first layer's weights then.

cdef inline char *locate_weights(const Job *job, const Layer *layer, const void *array,
                                 int64_t row, int64_t column, int64_t n,
                                 int64_t *ld) noexcept nogil:
    # Return the address of the first element, and the leading dimension, of n columns, from
    # (row, column) on, of an array that is stored like the weights.
    if layer.column_blocks:
        ld[0] = n
        return at(array, layer.inputs * column + row * n, job.itemsize)
    ld[0] = layer.n
    return at(array, row * layer.n + column, job.itemsize)


cdef void copy_columns(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: copy the first layer's weights to blocks or, if they are stored in blocks, back.
    cdef Job *job = &(<TrainingJob *> arg).job
    cdef Layer *layer = &job.layers[0]
    cdef int s = job.itemsize
    cdef Range columns = split_columns(job, layer.n, block, blocks)
    cdef size_t bytes = columns.size * s
    cdef char *in_rows = at(layer.tensors[WEIGHT].value, columns.first, s)
    cdef char *in_blocks = at(layer.by_columns, layer.inputs * columns.first, s)
    cdef int64_t i
    if layer.column_blocks:
        in_rows = at(layer.by_rows, columns.first, s)
    for i in range(layer.inputs):
        if layer.column_blocks:
            memcpy(in_rows, in_blocks, bytes)
        else:
            memcpy(in_blocks, in_rows, bytes)
        in_rows += layer.n * s
        in_blocks += bytes


cdef int64_t choose_column_storage(const TrainingJob *training) noexcept nogil:
    # Return the number of blocks in which the first layer's weights are stored during the call, or
    # 0 for rows. A call with few steps does not pay for copying them.
    cdef const Job *job = &training.job
    cdef const Layer *layer = &job.layers[0]
    cdef int64_t steps = (training.limit - job.done) // job.batch, blocks
    if job.divides_all:
        steps = CMLP_COLUMN_STORAGE_STEPS
    if (layer.by_columns == NULL or job.encoders or layer.rounds or job.team == NULL
            or training.column_layers == 0
            or training.optimizer.groups != NULL or training.limits_norms
            or layer.tensors[WEIGHT].into != layer.tensors[WEIGHT].value
            or training.part != WHOLE_STEP or steps < CMLP_COLUMN_STORAGE_STEPS
            or (job.input.entries.marks != NULL and job.batch > CMLP_MARKS)):
        return 0
    blocks = count_column_blocks(job, get_layer_work(job, 0, job.batch), layer.n)
    return blocks if 1 < blocks <= job.threads else 0


cdef void begin_column_storage(TrainingJob *training) noexcept nogil:
    cdef Job *job = &training.job
    cdef Layer *layer = &job.layers[0]
    cdef Tensor *weight = &layer.tensors[WEIGHT]
    cdef int64_t blocks = choose_column_storage(training)
    if blocks:
        run_phase(job.team, copy_columns, training, blocks)
        layer.by_rows = weight.value
        weight.value = weight.into = layer.by_columns
        layer.column_blocks = blocks


cdef void end_column_storage(TrainingJob *training) noexcept nogil:
    cdef Job *job = &training.job
    cdef Layer *layer = &job.layers[0]
    cdef Tensor *weight = &layer.tensors[WEIGHT]
    if layer.column_blocks:
        run_phase(job.team, copy_columns, training, layer.column_blocks)
        weight.value = weight.into = layer.by_rows
        layer.column_blocks = 0
