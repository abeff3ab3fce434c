# Phases: how the work of a step is divided into blocks. A phase has one block per thread or, if it
# is large, several, so that other threads can claim the blocks of a worker that does not run. The
# division follows from shapes and the number of threads.

cdef int64_t choose_blocks(const Job *job, double work, int64_t most) noexcept nogil:
    # Return the number of blocks of a phase of `work` multiply-adds that divides into at most
    # `most` blocks.
    cdef int64_t blocks = job.threads
    if job.threads == 1 or (work < CMLP_PHASE_MULTIPLY_ADDS and not job.divides_all):
        return 1
    if work >= CMLP_LARGE_PHASE_MULTIPLY_ADDS * job.threads:
        blocks *= CMLP_LARGE_PHASE_BLOCKS
    return max(1, min(blocks, most))


cdef inline int64_t get_row_unit(const Job *job) noexcept nogil:
    # Return the granularity of the division of a batch's rows.
    return CMLP_BLAS_BLOCK_ROWS if job.blas != NULL else 1


cdef int64_t count_row_blocks(const Job *job, int64_t m) noexcept nogil:
    return (m + get_row_unit(job) - 1) // get_row_unit(job)


cdef int64_t choose_row_blocks(const Job *job, int64_t m, double work) noexcept nogil:
    # Return the number of blocks of a phase that divides m rows of a batch. The sums of a BLAS may
    # depend on the shape of a product: blocks of fixed size make them independent of the number of
    # threads.
    cdef int64_t least = m // job.threads  # rows of a block if there is one for each thread
    if job.blas != NULL:
        return count_row_blocks(job, m)
    return choose_blocks(job, work, m // max(1, min(least, CMLP_ROW_BLOCK_ROWS)))


cdef inline int64_t count_column_blocks(const Job *job, double work, int64_t n) noexcept nogil:
    # Return the number of blocks of a phase that divides the columns of a matrix with n columns.
    return choose_blocks(job, work, (n * job.itemsize + CMLP_PAD - 1) // CMLP_PAD)


cdef inline Range split_columns(const Job *job, int64_t n, int64_t block,
                                int64_t blocks) noexcept nogil:
    # Return the columns that belong to a block. Narrow matrices are divided by cache lines.
    cdef int64_t unit = CMLP_COLUMN_BLOCK_BYTES // job.itemsize
    if n < unit * blocks:
        unit = CMLP_PAD // job.itemsize
    return split_range(n, unit, block, blocks)


cdef inline double get_layer_work(const Job *job, int l, int64_t m) noexcept nogil:
    # Return the multiply-adds of the forward product of layer l for m samples.
    if l == 0:
        return m * job.first_work
    return <double> m * job.layers[l].inputs * job.layers[l].n


cdef int64_t count_layer_blocks(const Job *job, int l, int64_t m) noexcept nogil:
    # Return the number of blocks of the phase that divides the columns of layer l.
    cdef const Layer *layer = &job.layers[l]
    if layer.column_blocks:
        return layer.column_blocks
    return count_column_blocks(job, get_layer_work(job, l, m), layer.n)


cdef int64_t count_update_blocks(const TrainingJob *training) noexcept nogil:
    # Return the number of blocks of the phases that divide the parameters.
    cdef const Job *job = &training.job
    if job.layers[0].column_blocks:
        return job.layers[0].column_blocks
    return choose_blocks(job, training.m * job.work, job.threads * CMLP_LARGE_PHASE_BLOCKS)


cdef int64_t count_parameter_blocks(const Job *job) noexcept nogil:
    # Return the number of blocks of the phases that read or write every parameter once.
    return choose_blocks(job, job.work, job.threads)


cdef bint suits_columns(const Job *job, int l) noexcept nogil:
    # Return whether several threads divide the columns of layer l instead of the rows of the
    # batch, because its weights are more data than its inputs and outputs. Each core then has its
    # columns of W in its own cache, and packs panels of these columns only.
    cdef const Layer *layer = &job.layers[l]
    cdef double inputs = job.first_work / layer.n if l == 0 else layer.inputs
    return <double> layer.inputs * layer.n > job.batch * (inputs + layer.n)


cdef int count_column_layers(const TrainingJob *training) noexcept nogil:
    cdef const Job *job = &training.job
    cdef int l, count = 0
    if training.is_small:
        return job.depth
    for l in range(job.depth):
        if job.layers[l].normalization == OVER_BATCH:  # needs all samples of a column
            count = l + 1
        elif job.threads > 1 and job.blas == NULL and suits_columns(job, l):
            count = l + 1
    return count
