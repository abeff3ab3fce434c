# Scheduling by rows: each thread computes all layers, forward and backward, for its samples of the
# batch. The threads synchronize only at the update.

cdef void forward_rows(Job *job, int64_t first, int64_t m, int64_t sample) noexcept nogil:
    # Compute rows first .. first + m of the batch up to the last layer's pre-activations.
    cdef Matrix a
    cdef Layer *layer
    cdef int l
    read_rows(job, first, m, sample)
    a = get_batch_input(job, sample)
    for l in range(job.depth):
        layer = &job.layers[l]
        affine_rows(job, l, a, first, m)
        a = get_output(layer)
        if l < job.depth - 1:
            normalize_rows(job, layer, first, m)
            activate(job, l, sample, first, m, 0, layer.n, layer.outputs)


cdef void backward_rows(Job *job, int64_t first, int64_t m) noexcept nogil:
    # Backpropagate rows first .. first + m of the last layer's delta to the first layer's.
    cdef Layer *below
    cdef int l
    for l in range(job.depth - 1, 0, -1):
        below = &job.layers[l - 1]
        affine_backward_rows(job, &job.layers[l], below, first, m)
        activate_backward(job, below, first, m, 0, below.n)
        normalize_rows_backward(job, below, first, m)


cdef inline int64_t get_row_block(const Job *job) noexcept nogil:
    # Return the granularity of the partition of a batch's rows among threads; with a BLAS, also the
    # number of rows per call. The sums of a BLAS may depend on the shape of a product: blocks of
    # fixed size make them independent of the number of threads.
    return CMLP_BLAS_BLOCK_ROWS if job.blas != NULL else 1


cdef void forward_backward_rows(TrainingJob *training, int64_t sample, int64_t m, int thread,
                                int threads) noexcept nogil:
    # Run this thread's rows of the batch forward and backward.
    cdef Job *job = &training.job
    cdef int64_t block = get_row_block(job)
    cdef Range share = split_range(m, block, thread, threads)
    cdef int64_t first = share.first, end = share.first + share.size, rows
    cdef int64_t begin = first, middle = (first + end) // 2, next = sample + m
    cdef double scale = compute_gradient_scale(training, sample, m)
    prefetch_rows(job, next + begin, next + middle)
    while first < end:
        rows = min(end - first, block) if job.blas != NULL else end - first
        if training.phase != BACKWARD:
            forward_rows(job, first, rows, sample)
        run_head(training, first, rows, sample, scale)
        if training.phase != FORWARD:
            backward_rows(job, first, rows)
            scale_deltas(training, sample, first, rows)
        first += rows
    prefetch_rows(job, next + middle, next + end)
