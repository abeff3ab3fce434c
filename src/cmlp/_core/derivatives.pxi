# Derivatives of the outputs, as in inference: with respect to the inputs, and vector-Jacobian
# products with respect to the parameters. Scheduled by rows. Backward, one pass for each output, or
# forward, one for each input (Griewank and Walther, "Evaluating derivatives", 2008, chapter 3).

ctypedef fused real:
    float
    double


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


cdef void differentiate_activation(const Job *job, const Layer *layer, int64_t row, int64_t m,
                                   void *tangents) noexcept nogil:
    # Multiply m tangents of one sample's pre-activations by the derivatives of normalization by
    # running statistics, and activation. The Jacobian of softmax is symmetric.
    if layer.normalization != NOT_NORMALIZED:
        job.kernels.multiply(m, layer.n, layer.inverse, 0, tangents, layer.n)
    if layer.slope != NULL:
        job.kernels.multiply(m, layer.n, element(job, layer.slope, layer, row, 0), 0, tangents,
                             layer.n)
    else:
        job.kernels.activate_backward(&layer.activation, m, layer.n,
                                      element(job, layer.output, layer, row, 0), 0, tangents,
                                      layer.n)


cdef void *forward_tangents(const Job *job, int64_t first, int64_t m, const void *zeros, void *t,
                            void *u) noexcept nogil:
    # Compute the tangents of the outputs of m samples, (m * inputs, n), in the two buffers t and u;
    # return the buffer with the result. The inputs have unit vectors as tangents, so that the first
    # product is a copy of the weights. `zeros`: (n,) of the widest layer.
    cdef int64_t inputs = job.layers[0].inputs, size, i
    cdef Layer *layer
    cdef int l
    for l in range(job.depth):
        layer = &job.layers[l]
        size = inputs * layer.n
        if l == 0:
            for i in range(m):
                memcpy(at(u, i * size, job.itemsize), layer.tensors[WEIGHT].value,
                       size * job.itemsize)
        else:
            job.kernels.affine(m * inputs, layer.outputs, layer.inputs, t, job.layers[l - 1].n,
                               layer.tensors[WEIGHT].value, layer.n, zeros, NULL, u, layer.n)
        for i in range(m):
            differentiate_activation(job, layer, first + i, inputs, at(u, i * size, job.itemsize))
        t, u = u, t
    return t


cdef void store_tangents(const DerivativeJob *d, int64_t first, int64_t m,
                         const real *t) noexcept nogil:
    # Store the transposes of the tangents (inputs, n) of rows first .. first + m of the batch.
    cdef const Job *job = &d.training.job
    cdef int64_t n = job.layers[job.depth - 1].n, inputs = job.layers[0].inputs, i, j, k
    cdef real *to
    for i in range(m):
        to = <real *> d.inputs + (job.done + first + i) * d.count * d.ld
        for j in range(d.count):
            for k in range(inputs):
                to[j * d.ld + k] = t[(i * inputs + k) * n + j]


cdef void differentiate_forward(DerivativeJob *d, int64_t first, int64_t m) noexcept nogil:
    # Compute the derivatives of rows first .. first + m of the batch in forward mode.
    cdef Job *job = &d.training.job
    cdef int64_t inputs = job.layers[0].inputs, widest = 0, samples, size
    cdef int64_t end = first + m
    cdef void *memory = NULL
    cdef char *zeros
    cdef void *found
    cdef int l
    for l in range(job.depth):
        widest = max(widest, job.layers[l].n)
    samples = min(m, max(1, CMLP_TANGENT_ROWS // inputs))
    size = samples * inputs * widest * job.itemsize
    if posix_memalign(&memory, CMLP_PAD, 2 * size + widest * job.itemsize):
        d.lacks_memory = True
        return
    zeros = <char *> memory + 2 * size
    memset(zeros, 0, widest * job.itemsize)
    while first < end:
        m = min(samples, end - first)
        found = forward_tangents(job, first, m, zeros, memory, <char *> memory + size)
        if job.itemsize == 4:
            store_tangents(d, first, m, <const float *> found)
        else:
            store_tangents(d, first, m, <const double *> found)
        first += m
    free(memory)


cdef bint prefers_forward(const DerivativeJob *d) noexcept nogil:
    # Return whether forward mode needs fewer multiply-adds for the derivatives of all outputs with
    # respect to the inputs. It does not support normalization over the layer, and bfloat16.
    cdef const Job *job = &d.training.job
    cdef const Layer *layer
    cdef double first = 0, others = 0
    cdef int l
    if d.seed != NULL or d.updates or d.count < job.layers[job.depth - 1].outputs or job.encoders:
        return False
    for l in range(job.depth):
        layer = &job.layers[l]
        if layer.normalization == OVER_LAYER or layer.rounds:
            return False
        if l == 0:
            first = <double> layer.inputs * layer.n
        else:
            others += <double> layer.inputs * layer.n
    return job.layers[0].inputs * others < d.count * (first + others)


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
    if prefers_forward(d):
        differentiate_forward(d, rows.first, rows.size)
        return
    for i in range(d.count):
        begin_output_delta(d, rows.first, rows.size, d.first_output + i)
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
