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


def compute_derivatives(Program program not None, Rows rows not None, seed, inputs, out,
                        gradient_block, int threads, int64_t first_output=0, int64_t count=1):
    """Compute derivatives of the outputs, as in inference.

    Parameters
    ----------
    program : Program
        Without batch normalization if there is a `gradient_block`.
    rows : Rows
    seed : ndarray, shape (n_samples, n_outputs), or None
        The gradient of a scalar with respect to the outputs; C-contiguous. None: unit vectors, the
        gradients of outputs first_output .. first_output + count.
    inputs : ndarray, shape (n_samples, count, ld), or None
        Receives the gradients with respect to the inputs; aligned, ld padded.
    out : ndarray, shape (n_samples, n_outputs), or None
        Receives the outputs; C-contiguous.
    gradient_block : ndarray, shape of `parameters`, or None
        The gradient with respect to the parameters is added to it; with `seed` only.
    threads : int
        Upper limit.
    first_output, count : int
        See `seed`; count is 1 with it.
    """
    cdef DerivativeJob derivatives
    cdef Job *job = &derivatives.training.job
    cdef Workspace workspace
    cdef bint uses_blas
    cdef char *into = NULL
    memset(&derivatives, 0, sizeof(derivatives))
    if gradient_block is not None:
        into = program.address_block("gradient_block", gradient_block)
    workspace = program.prepare_training(
        &derivatives.training, rows, None, None, min(rows.view.n, CMLP_GRADIENT_BATCH_ROWS), False,
        False, threads)
    try:
        begin_running(job)
        derivatives.training.column_layers = 0
        derivatives.training.update_factor = derivatives.training.steps = 1
        derivatives.first_output, derivatives.count = first_output, count
        derivatives.updates = into != NULL
        if into != NULL:
            attach_gradient(job, into, 0)
        if seed is not None:
            derivatives.seed = address_array(seed, 2)
        if inputs is not None:
            derivatives.inputs, derivatives.ld = address_array(inputs, 3), inputs.shape[2]
        if out is not None:
            derivatives.out = address_array(out, 2)
        uses_blas = job.blas != NULL
        if uses_blas:
            enter_single_threaded()
        try:
            with nogil:
                job.team = begin_team(job.threads)
                differentiate(&derivatives)
                end_team(job.team)
        finally:
            if uses_blas:
                leave_single_threaded()
        check_columns(job)
    finally:
        program.release_workspace(workspace)
