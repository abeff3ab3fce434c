# Inference of one batch, scheduled by rows.

cdef bint has_only_finite(const Job *job, int64_t first, int64_t m) noexcept nogil:
    # Return whether rows first .. first + m of the samples, in their stored order, are finite.
    cdef cmlp_rows rows = job.input.rows
    rows.n = m
    if rows.start != NULL:
        rows.start += first
    else:
        rows.data = <const char *> rows.data + first * rows.stride
    return job.kernels.find_not_finite(&rows) < 0


cdef void copy_outputs(InferenceJob *inference, int64_t first, int64_t m) noexcept nogil:
    # Copy rows first .. first + m of the batch's outputs, without padding, to the caller.
    cdef Job *job = &inference.job
    cdef Layer *last = &job.layers[job.depth - 1]
    cdef int64_t width = last.outputs * job.itemsize, i
    if inference.out == NULL:
        return
    for i in range(first, first + m):
        memcpy(inference.out + (job.done + i) * width, element(job, last.output, last, i, 0),
               width)


cdef void infer_threads(void *arg, int thread, int threads) noexcept nogil:
    # Compute outputs and, with targets, losses of this thread's rows of the next batch.
    cdef InferenceJob *inference = <InferenceJob *> arg
    cdef Job *job = &inference.job
    cdef Layer *last = &job.layers[job.depth - 1]
    cdef int64_t block = get_row_block(job)
    cdef Range share = split_range(min(job.batch, job.total - job.done), block, thread, threads)
    cdef int64_t first = share.first, end = share.first + share.size, rows
    if (inference.checks_finite and first < end
            and not has_only_finite(job, job.done + first, end - first)):
        inference.has_non_finite = True
    while first < end:
        rows = min(end - first, block) if job.blas != NULL else end - first
        forward_rows(job, first, rows, job.done)
        if has_targets(job):
            compute_head(job, first, rows, job.done, 1)
        else:
            activate(job, job.depth - 1, job.done, first, rows, 0, last.n, last.outputs)
        copy_outputs(inference, first, rows)
        first += rows
