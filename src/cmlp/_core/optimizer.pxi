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
    job.kernels.optimize(&training.optimizer.groups[tensor.group].optimizer, rows, n, ld, value,
                         at(tensor.into, element, s), state)
    if tensor.mean != NULL:
        job.kernels.average(rows, n, ld, training.optimizer.mean_rate, value,
                            at(tensor.mean, element, s))


cdef Range split_tensor(const Tensor *tensor, int64_t unit, int l, int64_t block,
                        int64_t blocks) noexcept nogil:
    # Return the rows of a tensor of layer l that belong to a block. A single row belongs to a
    # different block in each layer.
    if tensor.rows == 1:
        return Range(0, block == (l + CMLP_MAX_ENCODERS) % blocks)
    return split_range(tensor.rows, unit, block, blocks)


cdef void optimize_tensors(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: take the optimizer's step for all parameters.
    cdef TrainingJob *training = <TrainingJob *> arg
    cdef Tensor *tensor
    cdef Range share
    cdef int l, t
    for l in range(-training.job.encoders, training.job.depth):
        for t in range(MAX_TENSORS):
            tensor = &training.job.layers[l].tensors[t]
            share = split_tensor(tensor, 1, l, block, blocks)
            if share.size and not tensor.is_frozen:
                optimize_block(training, tensor, share.first, share.size, 0, tensor.columns)


cdef inline int64_t count_tensor_blocks(const Tensor *tensor) noexcept nogil:
    return (tensor.rows + CMLP_SQUARES_BLOCK_ROWS - 1) // CMLP_SQUARES_BLOCK_ROWS


cdef int64_t count_square_blocks(const Job *job) noexcept nogil:
    cdef int64_t blocks = 0
    cdef int l, t
    for l in range(-job.encoders, job.depth):
        for t in range(MAX_TENSORS):
            blocks += count_tensor_blocks(&job.layers[l].tensors[t])
    return blocks


cdef void sum_tensor_squares(TrainingJob *training, const Tensor *tensor, const void *array,
                             Range share, double *squares) noexcept nogil:
    # Sum the squares of the rows `share` of an array laid out like the tensor; if it is NULL, the
    # sums are 0. Each block of CMLP_SQUARES_BLOCK_ROWS rows has its own sum, so that the
    # sums do not depend on the number of threads.
    cdef int64_t row = share.first, columns = tensor.columns, rows, number
    while row < share.first + share.size:
        rows = min(CMLP_SQUARES_BLOCK_ROWS, tensor.rows - row)
        number = row // CMLP_SQUARES_BLOCK_ROWS
        squares[number] = 0
        if array != NULL:
            squares[number] = training.job.kernels.sum_of_squares(
                rows, columns, columns, at(array, row * columns, training.job.itemsize))
        row += rows


cdef void sum_squares(TrainingJob *training, bint of_gradients, int64_t block,
                      int64_t blocks) noexcept nogil:
    # Fill in a block of `squares`: of all gradients, with 0 for frozen tensors, or of the values of
    # the weights, with 0 for other tensors.
    cdef double *squares = training.squares
    cdef void *array
    cdef Tensor *tensor
    cdef Range share
    cdef int l, t
    for l in range(-training.job.encoders, training.job.depth):
        for t in range(MAX_TENSORS):
            tensor = &training.job.layers[l].tensors[t]
            if of_gradients:
                array = NULL if tensor.is_frozen else tensor.into
            else:
                array = tensor.value if tensor.is_weight else NULL
            share = split_tensor(tensor, CMLP_SQUARES_BLOCK_ROWS, l, block, blocks)
            sum_tensor_squares(training, tensor, array, share, squares)
            squares += count_tensor_blocks(tensor)


cdef void sum_gradient_squares(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase.
    sum_squares(<TrainingJob *> arg, True, block, blocks)


cdef void sum_weight_squares(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase.
    sum_squares(<TrainingJob *> arg, False, block, blocks)


cdef double sum_blocks(const TrainingJob *training) noexcept nogil:
    # Add the sums of all blocks, in order.
    cdef double sum = 0
    cdef int64_t b
    for b in range(count_square_blocks(&training.job)):
        sum += training.squares[b]
    return sum


cdef void clip_gradient_norm(TrainingJob *training) noexcept nogil:
    # Let the optimizer scale the gradients to the largest norm. If the norm
    # overflows, the gradients become NaN, so that training reports it, instead of 0.
    cdef double norm = sqrt(sum_blocks(training)), limit = training.clipping.max_norm
    cdef double scale = limit / norm if norm > limit else 1
    cdef int group
    if not isfinite(norm):
        scale = NAN
    for group in range(training.optimizer.group_count):
        training.optimizer.groups[group].optimizer.scale = scale


cdef void compute_penalty(TrainingJob *training) noexcept nogil:
    # Before the update: compute the L2 penalty of the weights and its factor in the gradients.
    cdef Job *job = &training.job
    cdef double weight, l2
    cdef int group
    if not training.penalty.is_active:
        return
    run_phase(job.team, sum_weight_squares, training, count_parameter_blocks(job))
    weight = training.whole_weight or sum_weights(job, training.sample, training.m)
    l2 = training.penalty.factor / weight if weight > 0 else 0
    for group in range(training.optimizer.group_count):
        if training.optimizer.groups[group].is_penalized:
            training.optimizer.groups[group].optimizer.l2 = l2
    training.penalty.batch = sum_blocks(training) * l2 / 2


cdef void limit_weight_norms(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: scale down the weights into each unit whose norm exceeds the layer's limit, by columns
    # of each layer.
    cdef TrainingJob *training = <TrainingJob *> arg
    cdef Job *job = &training.job
    cdef Layer *layer
    cdef Range columns
    cdef int l
    for l in range(job.depth):
        layer = &job.layers[l]
        if layer.max_norm > 0 and not layer.tensors[WEIGHT].is_frozen:
            columns = split_columns(job, layer.n, block, blocks)
            job.kernels.limit_norms(
                layer.inputs, columns.size, layer.max_norm,
                at(layer.tensors[WEIGHT].value, columns.first, job.itemsize), layer.n)


cdef void begin_optimizer_step(TrainingJob *training) noexcept nogil:
    # Begin the optimizer's next step, with the current learning rate and factor of weight decay.
    cdef ParameterGroup *group
    cdef int g
    for g in range(training.optimizer.group_count):
        group = &training.optimizer.groups[g]
        group.optimizer.decay_rate = training.rate * group.rate_factor
        group.optimizer.rate = group.optimizer.decay_rate * group.step_factor
        group.optimizer.decay = group.decay * training.decay_factor
        if not group.is_penalized:
            group.optimizer.l2 = group.l2 * training.decay_factor
        training.job.kernels.begin_step(&group.optimizer)


cdef void begin_update(TrainingJob *training) noexcept nogil:
    # Before the update by the current batch: decide whether the batch completes an optimizer step,
    # and whether the step is taken block by block or, because it needs the norm of all gradients,
    # after the update.
    cdef OptimizerPlan *plan = &training.optimizer
    cdef int64_t sample = training.sample, step
    training.late_factor = 1
    if training.scales_late:
        training.late_factor = compute_update_factor(training, sample)
    if plan.groups == NULL:
        return
    step = get_step_number(training, sample) + 1
    plan.is_due = step % plan.accumulate == 0 or step == training.steps
    plan.is_fused = plan.is_due and training.clipping.max_norm == 0
    if not plan.is_due:
        return
    if training.rates != NULL:
        training.rate = training.rates[sample // training.job.batch]
    if training.decays != NULL:
        training.decay_factor = training.decays[sample // training.job.batch]
    begin_optimizer_step(training)


cdef void end_update(TrainingJob *training) noexcept nogil:
    # After the update: take a step that needs the norm of all gradients, and limit weight norms.
    cdef OptimizerPlan *plan = &training.optimizer
    cdef Job *job = &training.job
    cdef int64_t blocks
    if plan.is_due and not plan.is_fused:
        blocks = count_parameter_blocks(job)
        if training.clipping.max_norm > 0:
            run_phase(job.team, sum_gradient_squares, training, blocks)
            clip_gradient_norm(training)
        run_phase(job.team, optimize_tensors, training, blocks)
    if training.limits_norms and (plan.groups == NULL or plan.is_due):
        run_phase(job.team, limit_weight_norms, training, count_parameter_blocks(job))
