# Stage 3 of a step, the head: outputs, losses and their gradient; metrics; sums of the losses.

cdef bint has_targets(const Job *job) noexcept nogil:
    return job.targets.labels != NULL or job.targets.values != NULL


cdef double sum_weights(const Job *job, int64_t sample, int64_t m) noexcept nogil:
    cdef double weight = 0
    cdef int64_t i
    if job.targets.weights == NULL:
        return m
    for i in range(sample, sample + m):
        weight += job.targets.weights[job.input.order[i] if job.input.order != NULL else i]
    return weight


cdef int64_t get_step_number(const TrainingJob *training, int64_t sample) noexcept nogil:
    # Return the number, within the epoch, of the step whose batch begins with `sample`.
    return training.first_step + sample // training.job.batch


cdef double compute_update_factor(const TrainingJob *training, int64_t sample) noexcept nogil:
    cdef int64_t accumulate = training.optimizer.accumulate, first
    if training.optimizer.groups == NULL:
        if training.rates == NULL:
            return training.update_factor
        return -training.rates[sample // training.job.batch]
    if accumulate == 1:
        return training.update_factor
    # With gradient accumulation, every batch of a group has equal weight.
    first = get_step_number(training, sample) // accumulate * accumulate
    return training.update_factor / min(accumulate, training.steps - first)


cdef double compute_delta_factor(const TrainingJob *training, int64_t sample) noexcept nogil:
    return 1 if training.scales_late else compute_update_factor(training, sample)


cdef double compute_gradient_scale(const TrainingJob *training, int64_t sample,
                                   int64_t m) noexcept nogil:
    # Return the factor of the samples' gradients in the deltas.
    cdef double weight = training.whole_weight or sum_weights(&training.job, sample, m)
    return compute_delta_factor(training, sample) / weight if weight > 0 else 0


cdef const uint32_t *locate_targets(const Job *job, int64_t sample,
                                    cmlp_targets *targets) noexcept nogil:
    # Fill in the targets of the samples from `sample` on. Return the indices of their rows in
    # `targets`, or NULL if the rows are consecutive.
    targets[0] = job.targets
    if job.input.order != NULL:
        return job.input.order + sample
    if targets.labels != NULL:
        targets.labels += sample
    else:
        targets.values = at(targets.values, sample * targets.ld, job.itemsize)
    if targets.weights != NULL:
        targets.weights += sample
    return NULL


cdef void compute_head(Job *job, int64_t first, int64_t m, int64_t sample,
                       double scale) noexcept nogil:
    # Turn rows first .. first + m of the last layer's pre-activations into outputs and
    # losses, and write `scale` times the gradient of the loss to its delta.
    cdef Layer *last = &job.layers[job.depth - 1]
    cdef cmlp_targets targets
    cdef const uint32_t *index = locate_targets(job, sample + first, &targets)
    job.kernels.head(&job.head, &targets, index, m, scale,
                     element(job, last.output, last, first, 0),
                     element(job, last.slope, last, first, 0),
                     element(job, last.delta, last, first, 0), last.ld, job.losses + first)


cdef void run_head(TrainingJob *training, int64_t first, int64_t m, int64_t sample,
                   double scale) noexcept nogil:
    # The head of a training step. If the loss is in Python, FORWARD ends with the outputs, Python
    # computes the gradient with respect to them, and BACKWARD begins with that gradient.
    cdef Job *job = &training.job
    cdef Layer *last = &job.layers[job.depth - 1]
    if training.part == WHOLE_STEP:
        compute_head(job, first, m, sample, scale)
    elif training.part == FORWARD:
        activate(job, job.depth - 1, sample, first, m, 0, last.n)
    else:
        activate_backward(job, last, first, m, 0, last.n)
    if training.part != FORWARD:
        round_delta(job, last, first, m, 0, last.n)


cdef void scale_deltas(TrainingJob *training, int64_t first, int64_t m) noexcept nogil:
    # Multiply rows first .. first + m of all deltas by the factor of the update, after they have
    # been rounded and backpropagated.
    cdef Job *job = &training.job
    cdef double factor
    cdef Layer *layer
    cdef int l
    if not training.scales_late or m == 0:
        return
    factor = compute_update_factor(training, training.sample)
    for l in range(-job.encoders, job.depth):
        layer = &job.layers[l]
        job.kernels.scale(m, layer.n, factor, element(job, layer.delta, layer, first, 0), layer.ld)
        if layer.normalization != NOT_NORMALIZED:
            job.kernels.scale(m, layer.n, factor,
                              element(job, layer.shift_delta, layer, first, 0), layer.ld)
        if layer.activation.parametric:
            job.kernels.scale(m, layer.n, factor,
                              element(job, layer.alpha_delta, layer, first, 0), layer.ld)


cdef void accumulate_metrics(Job *job, int64_t sample, int64_t m) noexcept nogil:
    cdef Layer *last = &job.layers[job.depth - 1]
    cdef cmlp_targets targets
    cdef const uint32_t *index = locate_targets(job, sample, &targets)
    job.kernels.accumulate_metrics(&job.head, &targets, index, m, last.output, last.ld, job.sums)


cdef void finish_step(TrainingJob *training) noexcept nogil:
    # Add the losses of the batch in order, and decide whether to stop.
    cdef Job *job = &training.job
    cdef int64_t m = training.m, i
    cdef double loss = 0, weight = sum_weights(job, job.done, m)
    if training.whole_weight:  # the sum over all parts has the order of one over the whole batch
        loss, job.loss = job.loss, 0
    for i in range(m):
        loss += job.losses[i]
    if job.sums != NULL:
        accumulate_metrics(job, job.done, m)
    training.last_loss = loss / weight if weight > 0 else 0
    if training.penalty.is_active:  # batches are then weighted by their number of samples
        training.last_loss += training.penalty.batch
        training.penalty.total += training.penalty.batch * m
        loss, weight = training.last_loss * m, m
    job.loss += loss
    job.weight += weight
    job.done += m
    training.unclocked_work += m * job.work
    training.has_diverged = not isfinite(loss)
    training.stop = (training.has_diverged or job.done >= training.limit
                     or training.part == BACKWARD or job.input.has_invalid_columns)
    if training.unclocked_work > CMLP_CLOCK_POLL_MULTIPLY_ADDS:
        training.unclocked_work = 0
        training.stop = training.stop or cmlp_now() > job.deadline
