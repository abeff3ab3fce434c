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
    # Prepare the backward pass through normalizations by running statistics.
    cdef int l
    for l in range(job.depth):
        if job.layers[l].running_mean == NULL:
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
    if derivatives.lacks_memory:
        raise MemoryError("cannot allocate the memory of the derivatives")


cdef object run_few(Program program, const cmlp_rows *rows, int64_t longest, int64_t first_output,
                    int64_t count, const void *seed, char *into, bint wants_inputs):
    # Return `count` gradients with respect to the inputs of each of a few samples, or True if they
    # are not wanted, and add that with respect to the parameters to `into` unless it is NULL; or
    # return None if there is work for several threads.
    cdef DerivativeJob derivatives
    cdef Workspace workspace = prepare_derivatives(program, &derivatives, rows, longest, 2)
    cdef int64_t width = program.inputs * program.itemsize, gradients = rows.n * count, i
    cdef void *memory = NULL
    cdef char *to
    try:
        if derivatives.training.job.threads > 1:
            return None
        derivatives.first_output, derivatives.count = first_output, count
        derivatives.seed = <const char *> seed
        derivatives.updates = into != NULL
        if into != NULL:
            attach_gradient(&derivatives.training.job, into, 0)
        if not wants_inputs:
            run_derivatives(&derivatives)
            return True
        derivatives.ld = (width + CMLP_PAD - 1) // CMLP_PAD * CMLP_PAD // program.itemsize
        if posix_memalign(&memory, CMLP_PAD, gradients * derivatives.ld * program.itemsize):
            raise MemoryError
        derivatives.inputs = <char *> memory
        run_derivatives(&derivatives)
        out = np.empty((rows.n, count, program.inputs), program.dtype)
        to = address_array(out, 3)
        for i in range(gradients):
            memcpy(to + i * width, at(memory, i * derivatives.ld, program.itemsize), width)
        return out
    finally:
        free(memory)
        program.release_workspace(workspace)


def differentiate_few(Program program not None, array, int64_t output=-1):
    """Return the derivatives of outputs of a few samples with little overhead, or None.

    Parameters
    ----------
    program : Program
    array : object
        As for `Program.predict_few`.
    output : int, default -1
        The output; -1: all.

    Returns
    -------
    ndarray of shape (n_samples, 1 or n_outputs, n_inputs), or None
        None if the caller must call `compute_derivatives`, or if a derivative is not finite.
    """
    cdef Py_buffer buffer
    cdef cmlp_rows rows
    cdef int64_t count = program.head.outputs if output < 0 else 1
    if program.encoders or not hold_rows(array, program.inputs, &buffer, &rows):
        return None
    try:
        if rows.n > CMLP_INFERENCE_BATCH_ROWS:
            return None
        out = run_few(program, &rows, 0, max(output, 0), count, NULL, NULL, True)
        if out is None or not program.are_finite(address_array(out, 3), out.size):
            return None
        return out
    finally:
        PyBuffer_Release(&buffer)


cdef int64_t compress_few(Program program, cmlp_rows *rows, void **memory) except -1:
    # If it is faster, replace dense rows by sparse ones, in memory that the caller frees. Return
    # the number of entries of the longest row, 0 for dense rows.
    cdef int64_t limit = <int64_t> (CMLP_SPARSE_MAX_DENSITY * rows.n * rows.width), longest = 0, i
    cdef int64_t count
    cdef int element_bytes = 1 if rows.kind == CMLP_U8 else 4 if rows.kind == CMLP_F32 else 8
    cdef cmlp_rows sparse = rows[0]
    cdef int64_t *start
    if program.rounds or not CMLP_SPARSE_MIN_COLUMNS <= rows.width <= 1 << 16:
        return 0
    start = <int64_t *> malloc(
        (rows.n + 1) * sizeof(int64_t)
        + (limit + 1 + CMLP_COMPRESS_OVERRUN_ELEMENTS) * (element_bytes + 2))
    if start == NULL:
        raise MemoryError
    memory[0], start[0] = start, 0
    program.kernels.count_nonzeros(rows, 0, rows.n, start + 1)
    for i in range(rows.n):
        longest = max(longest, start[i + 1])
        start[i + 1] += start[i]
    if start[rows.n] > limit:
        return 0
    sparse.start, sparse.data, sparse.column_bytes = start, start + rows.n + 1, 2
    count = (start[rows.n] + 1) // 2 * 2  # an even number of bytes aligns the columns
    sparse.column = at(sparse.data, count + CMLP_COMPRESS_OVERRUN_ELEMENTS, element_bytes)
    if not program.kernels.compress(rows, 0, rows.n, &sparse, CMLP_COMPRESS_OVERRUN_ELEMENTS):
        raise ValueError("X must not change while it is converted to sparse rows")
    rows[0] = sparse
    return longest


def multiply_few(Program program not None, array, seed, gradient_block, bint wants_inputs=True):
    """Compute the vector-Jacobian products of a few samples with little overhead.

    Parameters
    ----------
    program : Program
    array : object
        As for `Program.predict_few`.
    seed : object
        A C-contiguous 2-D buffer of the network's dtype, as `seed` of `compute_derivatives`.
    gradient_block : ndarray, shape of `parameters`
        The gradient with respect to the parameters is added to it.
    wants_inputs : bool, default True

    Returns
    -------
    ndarray of shape (n_samples, 1, n_inputs), True or None
        The gradients with respect to the inputs; True if they are not wanted. None if the caller
        must call `compute_derivatives`; the block is unchanged.
    """
    cdef Py_buffer buffer, seeds
    cdef cmlp_rows rows, given
    cdef void *memory = NULL
    cdef int64_t longest
    cdef char *into = program.address_block("gradient_block", gradient_block)
    if program.encoders or not hold_rows(array, program.inputs, &buffer, &rows):
        return None
    try:
        if not hold_rows(seed, program.head.outputs, &seeds, &given):
            return None
        try:
            if (rows.n > CMLP_INFERENCE_BATCH_ROWS or given.n != rows.n
                    or seeds.itemsize != program.itemsize
                    or given.n > 1 and given.stride != given.width * program.itemsize):
                return None
            longest = compress_few(program, &rows, &memory)
            return run_few(program, &rows, longest, 0, 1, given.data, into, wants_inputs)
        finally:
            PyBuffer_Release(&seeds)
    finally:
        free(memory)
        PyBuffer_Release(&buffer)


def descend(Program program not None, gradient_block, double rate):
    """Take one step of plain gradient descent, if norms are not limited; return whether it did.

    Parameters
    ----------
    program : Program
    gradient_block : ndarray, shape of `parameters`
        Is multiplied by `rate` and subtracted from the parameters.
    rate : float
        Learning rate.

    Returns
    -------
    bool
    """
    cdef cmlp_optimizer optimizer
    cdef void *states[3]
    cdef char *gradient = program.address_block("gradient_block", gradient_block)
    cdef char *parameters = address_array(program.parameters, 1)
    cdef int64_t size = program.parameters.size
    if program.limits_norms:
        return False
    memset(&optimizer, 0, sizeof(optimizer))
    memset(states, 0, sizeof(states))
    optimizer.kind, optimizer.rate, optimizer.scale = OPTIMIZERS["descent"].code, rate, 1
    with nogil:
        program.kernels.begin_step(&optimizer)
        program.kernels.optimize(&optimizer, 1, size, size, parameters, gradient, states)
    return True


def compute_derivatives(Program program not None, Rows rows not None, seed, inputs, out,
                        gradient_block, int threads, int64_t count=1, int64_t first_output=0):
    """Compute derivatives of the outputs, as in inference.

    Parameters
    ----------
    program : Program
    rows : Rows
    seed : ndarray, shape (n_samples, n_outputs), or None
        The gradient of a scalar with respect to the outputs; C-contiguous. None: unit vectors, the
        gradients of `count` outputs from `first_output` on.
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
    first_output : int, default 0
    """
    cdef DerivativeJob derivatives
    cdef Workspace workspace
    cdef char *into = NULL
    if gradient_block is not None:
        into = program.address_block("gradient_block", gradient_block)
    workspace = prepare_derivatives(program, &derivatives, &rows.view, rows.longest, threads)
    try:
        derivatives.first_output, derivatives.count = first_output, count
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
