# The calls of the training loop: with a team of threads, and without the GIL.

cdef object run_shard_gradient(TrainingJob *training):
    cdef Job *job = &training.job
    with nogil:
        job.team = begin_team(job.threads)
        compute_shard_gradient(training)
        end_team(job.team)
    check_columns(job)


cdef object run_training(TrainingJob *training):
    cdef Job *job = &training.job
    cdef bint uses_blas = job.blas != NULL
    if uses_blas:
        enter_single_threaded()
    try:
        with nogil:
            job.team = begin_team(job.threads)
            train(training)
            end_team(job.team)
    finally:
        if uses_blas:
            leave_single_threaded()
    check_columns(job)
