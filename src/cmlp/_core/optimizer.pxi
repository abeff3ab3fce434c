# Stage 6 of a step: the optimizer, clipping, penalty and weight norms. All except weight
# norms iterate over tensors and are independent of the kinds of layers.

cdef void optimize_block(TrainingJob *training, Tensor *tensor, int64_t first, int64_t rows,
                         int64_t column, int64_t n) noexcept nogil:
    # Take the optimizer's step for rows first .. first + rows, columns column .. column + n of
    # a tensor whose gradient is complete. Zeroes the gradient.
    cdef Job *job = &training.job
    cdef int s = job.itemsize
    cdef int64_t ld = tensor.columns, element = first * ld + column
    cdef char *value = at(tensor.value, element, s)
    cdef address[MAX_STATES] state
    cdef int i
    for i in range(MAX_STATES):
        state[i] = at(tensor.state[i], element, s) if tensor.state[i] != NULL else NULL
    job.kernels.optimize(&training.optimizer.optimizers[tensor.group], rows, n, ld, value,
                         at(tensor.into, element, s), state)
    if tensor.mean != NULL:
        job.kernels.average(rows, n, ld, training.optimizer.mean_rate, value,
                            at(tensor.mean, element, s))


cdef Range split_tensor(const Tensor *tensor, int64_t block, int l, int thread,
                        int threads) noexcept nogil:
    # Return this thread's rows of a tensor of layer l. A single row goes to a different thread
    # in each layer.
    if tensor.rows == 1:
        return Range(0, thread == l % threads)
    return split_range(tensor.rows, block, thread, threads)


cdef void optimize_tensors(TrainingJob *training, int thread, int threads) noexcept nogil:
    # Take the optimizer's step for this thread's share of all parameters.
    cdef Tensor *tensor
    cdef Range share
    cdef int l, t
    for l in range(training.job.depth):
        for t in range(training.job.layers[l].tensor_count):
            tensor = &training.job.layers[l].tensors[t]
            share = split_tensor(tensor, 1, l, thread, threads)
            if share.size:
                optimize_block(training, tensor, share.first, share.size, 0, tensor.columns)


cdef inline int64_t count_tensor_blocks(const Tensor *tensor) noexcept nogil:
    return (tensor.rows + CMLP_SQUARES_BLOCK_ROWS - 1) // CMLP_SQUARES_BLOCK_ROWS


cdef int64_t count_square_blocks(const Layer *layers, int depth) noexcept nogil:
    cdef int64_t blocks = 0
    cdef int l, t
    for l in range(depth):
        for t in range(layers[l].tensor_count):
            blocks += count_tensor_blocks(&layers[l].tensors[t])
    return blocks


cdef void sum_tensor_squares(TrainingJob *training, const Tensor *tensor, const void *array,
                             Range share, double *squares) noexcept nogil:
    # Sum the squares of the rows `share` of an array laid out like the tensor; if it is NULL, the
    # sums are 0. Each block of CMLP_SQUARES_BLOCK_ROWS rows has its own sum, so that the
    # sums do not depend on the number of threads.
    cdef int64_t row = share.first, columns = tensor.columns, rows, block
    while row < share.first + share.size:
        rows = min(CMLP_SQUARES_BLOCK_ROWS, tensor.rows - row)
        block = row // CMLP_SQUARES_BLOCK_ROWS
        squares[block] = 0
        if array != NULL:
            squares[block] = training.job.kernels.sum_of_squares(
                rows, columns, columns, at(array, row * columns, training.job.itemsize))
        row += rows


cdef void sum_squares(TrainingJob *training, bint of_gradients, int thread,
                      int threads) noexcept nogil:
    # Fill in this thread's share of `squares`: of all gradients, or of the values of the
    # weights, with 0 for biases and scales.
    cdef double *squares = training.squares
    cdef void *array
    cdef Tensor *tensor
    cdef Range share
    cdef int l, t
    for l in range(training.job.depth):
        for t in range(training.job.layers[l].tensor_count):
            tensor = &training.job.layers[l].tensors[t]
            array = tensor.value if tensor.group == WEIGHTS else NULL
            share = split_tensor(tensor, CMLP_SQUARES_BLOCK_ROWS, l, thread, threads)
            sum_tensor_squares(training, tensor, tensor.into if of_gradients else array, share,
                               squares)
            squares += count_tensor_blocks(tensor)


cdef double sum_blocks(const TrainingJob *training) noexcept nogil:
    # Add the sums of all blocks, in order.
    cdef double sum = 0
    cdef int64_t b
    for b in range(count_square_blocks(training.job.layers, training.job.depth)):
        sum += training.squares[b]
    return sum


cdef void clip_gradient_norm(TrainingJob *training) noexcept nogil:
    # Let the optimizer scale the gradients to the largest norm. Called by one thread. If the norm
    # overflows, the gradients become NaN, so that training reports it, instead of 0.
    cdef double norm = sqrt(sum_blocks(training)), limit = training.clipping.max_norm
    cdef double scale = limit / norm if norm > limit else 1
    cdef int group
    if not isfinite(norm):
        scale = NAN
    for group in range(GROUPS):
        training.optimizer.optimizers[group].scale = scale


cdef void compute_penalty(TrainingJob *training, int64_t sample, int64_t m, int thread,
                          int threads) noexcept nogil:
    # Before the update: compute the L2 penalty of the weights and its factor in the gradients.
    cdef cmlp_optimizer *optimizer
    cdef double weight
    if not training.penalty.is_active:
        return
    sum_squares(training, False, thread, threads)
    cmlp_barrier(threads)
    if thread == 0:
        optimizer = &training.optimizer.optimizers[WEIGHTS]
        weight = sum_weights(&training.job, sample, m)
        optimizer.l2 = training.penalty.factor / weight if weight > 0 else 0
        training.penalty.batch = sum_blocks(training) * optimizer.l2 / 2


cdef void limit_weight_norms(TrainingJob *training, int thread, int threads) noexcept nogil:
    # Scale down the weights into each unit whose norm exceeds the layer's limit: this thread's
    # columns of each layer.
    cdef Job *job = &training.job
    cdef Layer *layer
    cdef Range columns
    cdef int l
    for l in range(job.depth):
        layer = &job.layers[l]
        if layer.max_norm > 0:
            columns = split_range(layer.n, CMLP_PAD // job.itemsize, thread, threads)
            job.kernels.limit_norms(
                layer.inputs, columns.size, layer.max_norm,
                at(layer.tensors[WEIGHT].value, columns.first, job.itemsize), layer.n)


cdef void begin_update(TrainingJob *training, int64_t sample) noexcept nogil:
    # Before the update by the batch that begins with `sample`: decide whether the batch completes
    # an optimizer step, and whether the step is taken block by block or, because it needs the
    # norm of all gradients, after the update. Called by one thread.
    cdef OptimizerPlan *plan = &training.optimizer
    cdef int64_t step
    cdef int group
    training.late_factor = 1
    if training.scales_late:
        training.late_factor = compute_update_factor(training, sample)
    if plan.optimizers == NULL:
        return
    step = get_step_number(training, sample) + 1
    plan.is_due = step % plan.accumulate == 0 or step == training.steps
    plan.is_fused = plan.is_due and training.clipping.max_norm == 0
    if not plan.is_due:
        return
    for group in range(GROUPS):
        if training.rates != NULL:
            plan.optimizers[group].rate = training.rates[sample // training.job.batch]
        training.job.kernels.begin_step(&plan.optimizers[group])


cdef void end_update(TrainingJob *training, int thread, int threads) noexcept nogil:
    # After the update: take a step that needs the norm of all gradients, and limit weight norms.
    cdef OptimizerPlan *plan = &training.optimizer
    if plan.is_due and not plan.is_fused:
        sum_squares(training, True, thread, threads)
        cmlp_barrier(threads)
        if thread == 0:
            clip_gradient_norm(training)
        cmlp_barrier(threads)
        optimize_tensors(training, thread, threads)
        cmlp_barrier(threads)
    if training.limits_norms and (plan.optimizers == NULL or plan.is_due):
        limit_weight_norms(training, thread, threads)
        cmlp_barrier(threads)
