# Derivatives of the outputs, as in inference: with respect to the inputs, and vector-Jacobian
# products with respect to the parameters. Scheduled by rows.

cdef void begin_output_delta(const DerivativeJob *d, int64_t first, int64_t m,
                             int64_t number) noexcept nogil:
    # Let the last layer's delta be gradient `number` with respect to rows first .. first + m of the
    # batch's outputs: the given one, or the unit vector of an output.
    cdef const Job *job = &d.training.job
    cdef Layer *last = &job.layers[job.depth - 1]
    cdef int64_t width = last.outputs * job.itemsize, i
    cdef char *row
    for i in range(first, first + m):
        row = element(job, last.delta, last, i, 0)
        memset(row, 0, last.n * job.itemsize)
        if d.seed != NULL:
            memcpy(row, d.seed + (job.done + i) * width, width)
        elif job.itemsize == 4:
            (<float *> row)[number] = 1
        else:
            (<double *> row)[number] = 1


cdef void backward_inputs(const DerivativeJob *d, int64_t first, int64_t m,
                          int64_t number) noexcept nogil:
    # Backpropagate rows first .. first + m of the first layer's delta to the inputs.
    cdef const Job *job = &d.training.job
    cdef Layer *layer = &job.layers[0]
    cdef int64_t ld = d.count * d.ld
    cdef void *c = at(d.inputs, (job.done + first) * ld + number * d.ld, job.itemsize)
    cdef const void *w = layer.tensors[WEIGHT].value
    if layer.rounds:
        job.kernels.bf16.affine_backward(
            m, layer.outputs, layer.inputs,
            at_unit(job, layer.delta_units, layer.delta_ld, first, 0), layer.delta_ld, w, layer.n,
            NULL, NULL, c, ld)
    else:
        job.kernels.affine_backward(m, layer.outputs, layer.inputs,
                                    element(job, layer.delta, layer, first, 0), layer.ld, w,
                                    layer.n, NULL, NULL, c, ld)


cdef void differentiate_rows(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: rows of the batch forward, and backward for each gradient.
    cdef DerivativeJob *d = <DerivativeJob *> arg
    cdef Job *job = &d.training.job
    cdef Layer *last = &job.layers[job.depth - 1]
    cdef Range rows = split_range(d.training.m, get_row_unit(job), block, blocks)
    cdef int64_t width = last.outputs * job.itemsize, i
    if rows.size == 0:
        return
    forward_rows(job, 0, job.depth, rows.first, rows.size, d.training.sample)
    activate(job, job.depth - 1, d.training.sample, rows.first, rows.size, 0, last.n)
    if d.out != NULL:
        for i in range(rows.first, rows.first + rows.size):
            memcpy(d.out + (job.done + i) * width, element(job, last.output, last, i, 0), width)
    for i in range(d.count):
        begin_output_delta(d, rows.first, rows.size, i)
        activate_backward(job, last, rows.first, rows.size, 0, last.n)
        round_delta(job, last, rows.first, rows.size, 0, last.n)
        backward_rows(job, 1, rows.first, rows.size)
        if d.inputs != NULL:
            backward_inputs(d, rows.first, rows.size, i)
    if d.updates:
        if d.training.first_trained < 0:
            backward_encoders(&d.training, rows.first, rows.size)
        scale_deltas(&d.training, rows.first, rows.size)


cdef void differentiate(DerivativeJob *d) noexcept nogil:
    cdef TrainingJob *training = &d.training
    cdef Job *job = &training.job
    while job.done < job.total:
        training.sample, training.m = job.done, min(job.batch, job.total - job.done)
        run_phase(job.team, differentiate_rows, d,
                  choose_row_blocks(job, training.m, training.m * job.work * (1 + d.count)))
        if d.updates:
            begin_update(training)
            training.read_ahead = -1
            run_phase(job.team, update_and_read_ahead, training, count_update_blocks(training))
        job.done += training.m
