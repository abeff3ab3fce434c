# Inference: batch after batch, returning to Python after each time slice.

cdef double compute_mean_loss(const Job *job) noexcept:
    return job.loss / job.weight if job.weight > 0 else 0


cdef int check_columns(const Job *job) except -1:
    if job.input.has_invalid_columns:
        raise_changed_columns(job.input.rows.width)
    return 0


cdef void begin_checks(InferenceJob *inference) noexcept:
    # Let a job check its samples and, if these are fewer than the weights, its pre-activations. A
    # parameter that is not finite makes them NaN or infinite; outputs of a saturated activation
    # do not show it. The caller checks the parameters if the job does not check pre-activations.
    cdef Job *job = &inference.job
    cdef int64_t sums = 0, weights = 0
    cdef int l
    for l in range(job.depth):
        sums += job.total * job.layers[l].outputs
        weights += job.layers[l].inputs * job.layers[l].outputs
    inference.checks_finite = True
    job.checks_sums = sums < weights


cdef void infer_time_slice(InferenceJob *inference) noexcept nogil:
    # The clock is first read after the first batch: most calls have only one batch.
    cdef Job *job = &inference.job
    cdef int64_t i, m
    while True:
        m = min(job.batch, job.total - job.done)
        infer_batch(inference)
        if has_targets(job):
            for i in range(m):
                job.loss += job.losses[i]
            job.weight += sum_weights(job, job.done, m)
        if job.sums != NULL:
            accumulate_metrics(job, job.done, m)
        job.done += m
        if job.done >= job.total or inference.has_non_finite:
            return
        if job.deadline == 0:
            job.deadline = cmlp_now() + CMLP_TIME_SLICE_SECONDS
        elif cmlp_now() > job.deadline:
            job.deadline = 0
            return


cdef object run_inference(InferenceJob *inference, tick):
    cdef Job *job = &inference.job
    if job.blas != NULL:
        enter_single_threaded()
    try:
        while True:
            with nogil:
                job.team = begin_team(job.threads)
                infer_time_slice(inference)
                end_team(job.team)
            check_columns(job)
            if tick is not None:
                tick(job.done)
            if job.done >= job.total or inference.has_non_finite:
                return
            PyErr_CheckSignals()
    finally:
        if job.blas != NULL:
            leave_single_threaded()
