# Gradients of a program: where they are summed, and derivatives of the outputs.

ctypedef fused real:
    float
    double

cdef void attach_gradient(Job *job, char *into, double momentum) noexcept:
    # Let the updates of all tensors be summed into a block.
    cdef Layer *layer
    cdef int l, t
    for l in range(-job.encoders, job.depth):
        layer = &job.layers[l]
        layer.momentum = momentum
        for t in range(MAX_TENSORS):
            layer.tensors[t].into = at(into, layer.tensors[t].offset, job.itemsize)


cdef void compute_running_factors(const Layer *layer, real *_) noexcept:
    # Store the derivatives of a layer's normalization by running statistics.
    cdef const real *scale = <const real *> layer.tensors[SCALE].value
    cdef const real *variance = <const real *> layer.running_variance
    cdef real *factor = <real *> layer.inverse
    cdef int64_t j
    for j in range(layer.outputs):
        factor[j] = <real> (scale[j] / sqrt(variance[j] + layer.epsilon))
    for j in range(layer.outputs, layer.n):
        factor[j] = 0


cdef void begin_running(const Job *job) noexcept:
    # Prepare the backward pass through batch normalizations in inference.
    cdef int l
    for l in range(job.depth):
        if job.layers[l].normalization != OVER_BATCH:
            continue
        if job.itemsize == 4:
            compute_running_factors(&job.layers[l], <float *> NULL)
        else:
            compute_running_factors(&job.layers[l], <double *> NULL)


cdef Workspace prepare_derivatives(Program program, DerivativeJob *derivatives,
                                   const cmlp_rows *rows, int64_t longest, int threads):
    # Fill in a job for these samples; the caller adds the seed and the memory of the results.
    cdef TrainingJob *training = &derivatives.training
    cdef Workspace workspace
    memset(derivatives, 0, sizeof(DerivativeJob))
    workspace = program.prepare_job(&training.job, rows, None, None,
                                    min(rows.n, CMLP_GRADIENT_BATCH_ROWS), longest, False, threads,
                                    True)
    training.scales_late = program.rounds
    training.first_trained = find_lowest_tensor(program)
    training.optimizer.accumulate = 1
    training.update_factor = training.steps = 1
    begin_running(&training.job)
    return workspace


cdef object run_derivatives(DerivativeJob *derivatives):
    cdef Job *job = &derivatives.training.job
    cdef bint uses_blas = job.blas != NULL
    if uses_blas:
        enter_single_threaded()
    try:
        with nogil:
            job.team = begin_team(job.threads)
            differentiate(derivatives)
            end_team(job.team)
    finally:
        if uses_blas:
            leave_single_threaded()
    check_columns(job)


def differentiate_few(Program program not None, array):
    """Return the derivatives of all outputs of a few samples with little overhead, or None.

    Parameters
    ----------
    program : Program
    array : object
        As for `Program.predict_few`.

    Returns
    -------
    ndarray of shape (n_samples, n_outputs, n_inputs), or None
        None if the caller must call `compute_derivatives`, or if a derivative is not finite.
    """
    cdef Py_buffer buffer
    cdef cmlp_rows rows
    if program.reads_codes or program.encoders or not hold_rows(
            array, program.inputs, &buffer, &rows):
        return None
    try:
        return compute_jacobians(program, &rows)
    finally:
        PyBuffer_Release(&buffer)


cdef object compute_jacobians(Program program, const cmlp_rows *rows):
    cdef DerivativeJob derivatives
    cdef Workspace workspace
    cdef int64_t width = program.inputs * program.itemsize, i
    cdef void *memory = NULL
    cdef char *to
    if rows.n > CMLP_INFERENCE_BATCH_ROWS:
        return None
    workspace = prepare_derivatives(program, &derivatives, rows, 0, 2)
    try:
        if derivatives.training.job.threads > 1:
            return None
        derivatives.count = program.head.outputs
        derivatives.ld = (width + CMLP_PAD - 1) // CMLP_PAD * CMLP_PAD // program.itemsize
        if posix_memalign(&memory, CMLP_PAD,
                          rows.n * derivatives.count * derivatives.ld * program.itemsize):
            raise MemoryError
        derivatives.inputs = <char *> memory
        run_derivatives(&derivatives)
        out = np.empty((rows.n, derivatives.count, program.inputs), program.dtype)
        to = address_array(out, 3)
        for i in range(rows.n * derivatives.count):
            memcpy(to + i * width, at(derivatives.inputs, i * derivatives.ld, program.itemsize),
                   width)
        return out if program.are_finite(to, rows.n * derivatives.count * program.inputs) else None
    finally:
        free(memory)
        program.release_workspace(workspace)


def compute_derivatives(Program program not None, Rows rows not None, seed, inputs, out,
                        gradient_block, int threads, int64_t count=1):
    """Compute derivatives of the outputs, as in inference.

    Parameters
    ----------
    program : Program
        Without batch normalization if there is a `gradient_block`.
    rows : Rows
    seed : ndarray, shape (n_samples, n_outputs), or None
        The gradient of a scalar with respect to the outputs; C-contiguous. None: unit vectors, the
        gradients of the first `count` outputs.
    inputs : ndarray, shape (n_samples, count, ld), or None
        Receives the gradients with respect to the inputs; aligned, ld padded.
    out : ndarray, shape (n_samples, n_outputs), or None
        Receives the outputs; C-contiguous.
    gradient_block : ndarray, shape of `parameters`, or None
        The gradient with respect to the parameters is added to it; with `seed` only.
    threads : int
        Upper limit.
    count : int, default 1
        Number of gradients for each sample.
    """
    cdef DerivativeJob derivatives
    cdef Workspace workspace
    cdef char *into = NULL
    if gradient_block is not None:
        into = program.address_block("gradient_block", gradient_block)
    workspace = prepare_derivatives(program, &derivatives, &rows.view, rows.longest, threads)
    try:
        derivatives.count = count
        derivatives.updates = into != NULL
        if into != NULL:
            attach_gradient(&derivatives.training.job, into, 0)
        if seed is not None:
            derivatives.seed = address_array(seed, 2)
        if inputs is not None:
            derivatives.inputs, derivatives.ld = address_array(inputs, 3), inputs.shape[2]
        if out is not None:
            derivatives.out = address_array(out, 2)
        run_derivatives(&derivatives)
    finally:
        program.release_workspace(workspace)
