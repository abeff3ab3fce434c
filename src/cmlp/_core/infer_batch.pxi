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
    # Copy rows first .. first + m of the last computed layer's outputs, without padding, to the
    # caller.
    cdef Job *job = &inference.job
    cdef Layer *last = &job.layers[inference.layers - 1]
    cdef int64_t width = last.outputs * job.itemsize, i
    if inference.out == NULL:
        return
    for i in range(first, first + m):
        memcpy(inference.out + (job.done + i) * width, element(job, last.output, last, i, 0),
               width)


cdef void infer_rows(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: compute outputs and, with targets, losses of the next batch.
    cdef InferenceJob *inference = <InferenceJob *> arg
    cdef Job *job = &inference.job
    cdef Layer *last = &job.layers[job.depth - 1]
    cdef Range rows = split_range(min(job.batch, job.total - job.done), get_row_unit(job), block,
                                  blocks)
    if rows.size == 0:
        return
    if inference.checks_finite and not has_only_finite(job, job.done + rows.first, rows.size):
        inference.has_non_finite = True
    forward_rows(job, 0, inference.layers, rows.first, rows.size, job.done)
    if inference.layers < job.depth:
        pass  # a hidden layer is complete
    elif has_targets(job):
        compute_head(job, rows.first, rows.size, job.done, 1)
    else:
        activate(job, job.depth - 1, job.done, rows.first, rows.size, 0, last.n)
    copy_outputs(inference, rows.first, rows.size)


cdef void infer_batch(InferenceJob *inference) noexcept nogil:
    cdef Job *job = &inference.job
    cdef int64_t m = min(job.batch, job.total - job.done)
    run_phase(job.team, infer_rows, inference, choose_row_blocks(job, m, m * job.work))
